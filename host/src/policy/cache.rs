//! The folder where compiled components outlive the process, so that a start or a way back does not compile them again.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;

use wasmtime::{Cache, CacheConfig};

/// Bytes that are kept; beyond them wasmtime deletes what was not used for longest, about once an hour.
const MAX_BYTES: u64 = 1 << 30;
/// Files that are kept: some 8 a generation.
const MAX_FILES: u64 = 4_096;

/// A folder in the folder, for us alone: frozen settings are in compiled components.
const OURS: &str = "compiled";

/// Whether a gateway has made the cache in this folder.
#[must_use]
pub fn is_there(folder: &Path) -> bool {
    folder.join(OURS).is_dir()
}

/// Opens the folder, which is made if it is not there.
///
/// # Errors
/// One line for the operator: the folder cannot be made or written, or others could put machine code into it, which the
/// gateway would run.
pub(super) fn open(folder: &Path) -> Result<Cache, String> {
    let ours = folder.join(OURS);
    make(&ours).map_err(|error| error.to_string())?;
    let ours = ours.canonicalize().map_err(|error| error.to_string())?;
    check(folder, 0o022)?;
    check(&ours, 0o077)?;
    let mut config = CacheConfig::new();
    config
        .with_directory(ours)
        .with_files_total_size_soft_limit(MAX_BYTES)
        .with_file_count_soft_limit(MAX_FILES)
        // Compressing better what is read often costs seconds of a core, for some kilobytes.
        .with_optimized_compression_usage_counter_threshold(u64::MAX);
    Cache::new(config).map_err(|error| format!("{error:#}"))
}

fn make(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// The folder is the gateway's user's, and these permissions are nobody's.
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
