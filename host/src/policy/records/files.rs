//! The files of a folder of records: their names in the order of time, their locks, and the removal of the oldest.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::fs::{FlockOperation, flock};

use crate::file;

/// The end of their names.
pub const ENDING: &str = ".ndjson.zst";
/// The most files.
pub(super) const MOST: usize = 1_000;

/// The name of a new file. Names are in the order of time.
pub(super) fn name(now: SystemTime, run: &str, number: u64) -> String {
    let time = humantime::format_rfc3339_micros(now).to_string();
    format!("{}-{run}-{number:06}{ENDING}", time.replace(':', ""))
}

/// The files of records in a folder, oldest first.
///
/// # Errors
/// If it cannot be read.
pub fn find(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let is_ours = entry.file_name().to_string_lossy().ends_with(ENDING);
        if is_ours && entry.file_type()?.is_file() {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

/// Makes a new file, for its owner alone, and locks it for as long as it is open.
pub(super) fn create(path: &Path) -> io::Result<fs::File> {
    let mut options = OpenOptions::new();
    options.append(true).create_new(true).mode(0o600);
    let file = options.open(path)?;
    // A reader of the file holds it for a moment.
    flock(&file, FlockOperation::LockExclusive)?;
    Ok(file)
}

/// Whether another process writes it still.
fn is_locked(path: &Path) -> bool {
    file::open(path).is_ok_and(|file| flock(&file, FlockOperation::NonBlockingLockShared).is_err())
}

/// The newest file with something in it that nobody writes any more.
pub(super) fn newest(folder: &Path) -> Option<PathBuf> {
    let files = find(folder).ok()?;
    let is_there = |path: &PathBuf| fs::metadata(path).is_ok_and(|found| found.len() > 0);
    files
        .into_iter()
        .rev()
        .find(|path| is_there(path) && !is_locked(path))
}

/// Removes the oldest files until those that are left have at most so many bytes, and are fewer than the most.
pub(super) fn make_room(folder: &Path, bytes: u64) -> io::Result<()> {
    let mut files = find(folder)?;
    let size = |path: &PathBuf| fs::metadata(path).map_or(0, |found| found.len());
    let mut total: u64 = files.iter().map(size).sum();
    let mut count = files.len();
    files.retain(|path| !is_locked(path));
    for path in files {
        if total <= bytes && count < MOST {
            break;
        }
        total = total.saturating_sub(size(&path));
        count -= 1;
        fs::remove_file(&path).map_err(|error| file::at(&path, error))?;
    }
    Ok(())
}
