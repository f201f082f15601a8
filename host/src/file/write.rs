//! Writes the gateway's own files and folders, for its owner alone, so that a kill after any step leaves files that can be read.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, DirEntry, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::NamedTempFile;

#[cfg(test)]
use super::kills::stepped;
use super::{at, open_with};

/// The begin of the name of a file that is not complete yet.
const UNFINISHED: &str = ".tmp";
/// The longest wait for another gateway that holds a lock.
const LOCKED: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_millis(10);

/// A step is done: a kill may be the next thing that happens. Tests look at the files then.
#[cfg(not(test))]
const fn stepped(_: &Path) {}

/// Makes a folder of the gateway's own that is missing, for its owner alone. Returns whether it was missing.
///
/// # Errors
/// If it cannot be made.
pub fn make_folder(path: &Path) -> io::Result<bool> {
    if path.is_dir() {
        return Ok(false);
    }
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    stepped(path);
    Ok(true)
}

/// As [`make_folder`], for a folder that was there when the process began.
///
/// # Errors
/// If it cannot be made.
pub fn restore_folder(path: &Path) -> io::Result<()> {
    if make_folder(path)? {
        tracing::warn!(folder = %path.display(), "the folder was gone, with its files; it is made again");
    }
    Ok(())
}

/// Opens a file for writing; a missing one is created, for its owner alone.
///
/// # Errors
/// If it is not a regular file, or cannot be opened.
pub fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).mode(0o600);
    let file = open_with(&mut options, path)?;
    stepped(path);
    Ok(file)
}

/// Opens a file for reading, and for writing at its end; a missing one is created, for its owner alone.
///
/// # Errors
/// If it is not a regular file, or cannot be opened.
pub fn append(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(true).mode(0o600);
    let file = open_with(&mut options, path)?;
    stepped(path);
    Ok(file)
}

/// Writes bytes to a file of [`append`] at once, and waits until the disk has them.
///
/// # Errors
/// If it cannot be written.
pub fn extend(file: &mut File, path: &Path, bytes: &[u8]) -> io::Result<()> {
    write(file, path, bytes)?;
    file.sync_data()
}

/// Writes a whole file, for its owner alone. Whenever the process or the machine ends, the file is the old one or the new one.
///
/// # Errors
/// If its folder cannot be written.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let written = || settle(begin((0o600, None), path, bytes)?, path);
    written().map_err(|error| at(path, error))
}

/// As [`replace`], of an operator's files: each keeps its permissions; a new one may be read by all whom the umask lets. All are
/// written before the first gets its name.
///
/// # Errors
/// As [`replace`]; with the files that have their new bytes nevertheless.
pub fn put<B: AsRef<[u8]>>(files: &[(PathBuf, B)]) -> io::Result<()> {
    let mut begun = Vec::new();
    for (path, bytes) in files {
        let old = fs::metadata(path).map(|found| found.permissions()).ok();
        let file = begin((0o644, old), path, bytes.as_ref());
        begun.push((path, file.map_err(|error| at(path, error))?));
    }
    let mut replaced = Vec::new();
    for (path, file) in begun {
        settle(file, path).map_err(|error| beside(&replaced, at(path, error)))?;
        replaced.push(path.display().to_string());
    }
    Ok(())
}

/// The error, with the files that were replaced before it.
fn beside(replaced: &[String], error: io::Error) -> io::Error {
    match replaced.is_empty() {
        true => error,
        false => {
            let replaced = replaced.join(", ");
            io::Error::new(
                error.kind(),
                format!("{error}; replaced before it: {replaced}"),
            )
        }
    }
}

/// Writes a whole file beside its place with this mode, as far as the umask lets it, or with these permissions.
fn begin(
    (mode, kept): (u32, Option<Permissions>),
    path: &Path,
    bytes: &[u8],
) -> io::Result<NamedTempFile> {
    let mut file = tempfile::Builder::new()
        .prefix(UNFINISHED)
        .permissions(Permissions::from_mode(mode))
        .tempfile_in(folder(path))?;
    stepped(path);
    write(file.as_file_mut(), path, bytes)?;
    if let Some(kept) = kept {
        file.as_file().set_permissions(kept)?;
    }
    file.as_file().sync_all()?;
    Ok(file)
}

/// Gives a file of [`begin`] its name.
fn settle(file: NamedTempFile, path: &Path) -> io::Result<()> {
    file.persist(path)?;
    stepped(path);
    File::open(folder(path))?.sync_all()
}

fn folder(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

fn write(file: &mut File, path: &Path, bytes: &[u8]) -> io::Result<()> {
    // A kill may cut it in the middle.
    #[cfg(test)]
    let bytes = {
        let (begin, rest) = bytes.split_at(bytes.len() / 2);
        file.write_all(begin)?;
        stepped(path);
        rest
    };
    file.write_all(bytes)?;
    stepped(path);
    Ok(())
}

/// Gives a file another name.
///
/// # Errors
/// If its folder cannot be written.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    stepped(to);
    Ok(())
}

/// Removes a file, unless it is gone already.
///
/// # Errors
/// If its folder cannot be written.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(at(path, error)),
        _ => stepped(path),
    }
    Ok(())
}

/// Removes the files in a folder that [`replace`] began so long ago that it was killed meanwhile.
///
/// # Errors
/// If the folder cannot be read or written.
pub fn remove_unfinished(folder: &Path, age: Duration) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if is_unfinished(&entry.file_name()) && is_older(&entry, age)? {
            remove(&entry.path())?;
        }
    }
    Ok(())
}

fn is_unfinished(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(UNFINISHED.as_bytes())
}

/// Whether a file was last written longer ago. One that is gone by now was not.
///
/// # Errors
/// If that cannot be known.
pub fn is_older(entry: &DirEntry, age: Duration) -> io::Result<bool> {
    match entry.metadata().and_then(|found| found.modified()) {
        Ok(modified) => Ok(modified.elapsed().unwrap_or_default() > age),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Holds a lock against other gateways until the file is dropped.
///
/// # Errors
/// If the file cannot be made, or another gateway holds it for longer than a second.
pub fn lock(path: &Path) -> io::Result<File> {
    let began = Instant::now();
    loop {
        match try_lock(path)? {
            Some(file) => return Ok(file),
            None if began.elapsed() < LOCKED => std::thread::sleep(LOOK),
            None => {
                let error = io::Error::new(io::ErrorKind::ResourceBusy, "another gateway holds it");
                return Err(at(path, error));
            }
        }
    }
}

/// As [`lock`], without waiting: `None` if another gateway holds it.
///
/// # Errors
/// If the file cannot be made.
pub fn try_lock(path: &Path) -> io::Result<Option<File>> {
    let file = create(path).map_err(|error| at(path, error))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(at(path, error)),
    }
}
