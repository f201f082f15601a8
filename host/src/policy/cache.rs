//! The compile cache: a folder that keeps compiled components after the process ends, so that a restart does not compile them
//! again.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use wasmtime::{Cache, CacheConfig};

use crate::file;

/// The size limit in bytes; beyond it wasmtime deletes the least recently used files, about once an hour.
const MAX_BYTES: u64 = 1 << 30;
/// The limit of files; a generation has some 8.
const MAX_FILES: u64 = 4_096;

/// A subfolder for this user alone: compiled components contain frozen settings, which may be secret.
const OURS: &str = "compiled";

/// Whether a gateway has created its cache in this folder.
#[must_use]
pub fn is_there(folder: &Path) -> bool {
    folder.join(OURS).is_dir()
}

/// Opens the cache folder, and creates it if it is missing.
///
/// # Errors
/// One line for the operator: the folder cannot be created or written, or other users could put machine code into it, which the
/// gateway would run.
pub(super) fn open(folder: &Path) -> Result<Cache, String> {
    let ours = folder.join(OURS);
    file::make_folder(&ours).map_err(|error| error.to_string())?;
    let ours = ours.canonicalize().map_err(|error| error.to_string())?;
    check(folder, 0o022)?;
    check(&ours, 0o077)?;
    let mut config = CacheConfig::new();
    config
        .with_directory(ours)
        .with_files_total_size_soft_limit(MAX_BYTES)
        .with_file_count_soft_limit(MAX_FILES)
        // Recompressing files that are read often would cost seconds of a core and save some kilobytes.
        .with_optimized_compression_usage_counter_threshold(u64::MAX);
    Cache::new(config).map_err(|error| format!("{error:#}"))
}

/// Makes the folder of an open cache again if it is gone: wasmtime would make one that others may read.
pub(super) fn restore(folder: &Path) {
    if let Err(error) = file::restore_folder(&folder.join(OURS)) {
        let folder = folder.display();
        tracing::warn!(%folder, %error, "no compile cache");
    }
}

/// Checks that the folder belongs to the gateway's user and that its mode has none of the bits in `nobodys`.
fn check(folder: &Path, nobodys: u32) -> Result<(), String> {
    let ours = tempfile::tempfile_in(folder)
        .and_then(|file| file.metadata())
        .map_err(|error| format!("it cannot be written: {error}"))?;
    let found = fs::metadata(folder).map_err(|error| error.to_string())?;
    let (folder, mode) = (folder.display(), found.mode() & 0o777);
    if found.uid() != ours.uid() {
        return Err(format!("{folder} belongs to another user"));
    }
    if mode & nobodys != 0 {
        return Err(format!(
            "others may use {folder} (mode {mode:o}): chmod 700"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_folder_is_made_for_its_owner_alone() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("a/b");
        open(&folder).unwrap();
        assert_eq!(fs::metadata(&folder).unwrap().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_folder_that_is_gone_is_made_again_for_its_owner_alone() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("cache");
        open(&folder).unwrap();
        fs::remove_dir_all(&folder).unwrap();
        restore(&folder);
        let inner = fs::metadata(folder.join(OURS)).unwrap();
        assert_eq!(inner.mode() & 0o777, 0o700);
    }

    #[test]
    fn a_folder_that_others_may_read_has_one_that_they_may_not() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        open(folder.path()).unwrap();
        let inner = fs::metadata(folder.path().join(OURS)).unwrap();
        assert_eq!(inner.mode() & 0o777, 0o700);
    }

    #[test]
    fn a_folder_that_others_may_write_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let refused = open(folder.path()).unwrap_err();
        assert!(refused.contains("chmod 700"), "{refused}");
    }
}
