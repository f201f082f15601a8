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

/// Opens the folder, which is made if it is not there.
///
/// # Errors
/// One line for the operator: the folder cannot be made or written, or others could put machine code into it, which the
/// gateway would run.
pub(super) fn open(folder: &Path) -> Result<Cache, String> {
    make(folder).map_err(|error| error.to_string())?;
    let folder = folder.canonicalize().map_err(|error| error.to_string())?;
    only_ours(&folder)?;
    let mut config = CacheConfig::new();
    config
        .with_directory(folder)
        .with_files_total_size_soft_limit(MAX_BYTES)
        .with_file_count_soft_limit(MAX_FILES)
        // Compressing better what is read often costs seconds of a core, for some kilobytes.
        .with_optimized_compression_usage_counter_threshold(u64::MAX);
    Cache::new(config).map_err(|error| format!("{error:#}"))
}

/// Frozen settings are in compiled components: nobody else may read them.
fn make(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

fn only_ours(folder: &Path) -> Result<(), String> {
    let ours = tempfile::tempfile_in(folder)
        .and_then(|file| file.metadata())
        .map_err(|error| format!("it cannot be written: {error}"))?;
    let found = fs::metadata(folder).map_err(|error| error.to_string())?;
    if found.uid() != ours.uid() {
        return Err("it belongs to another user".to_owned());
    }
    if found.mode() & 0o077 != 0 {
        return Err(format!(
            "others may use it (mode {:o}): chmod 700",
            found.mode() & 0o777
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
    fn a_folder_that_others_may_use_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let refused = open(folder.path()).unwrap_err();
        assert!(refused.contains("chmod 700"), "{refused}");
    }
}
