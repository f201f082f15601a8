//! Opens and reads files of other writers safely: regular files only, a limited number of bytes, never waiting for a writer.
//!
//! `write` writes the gateway's own files, `journal` appends its own records to rotating ones, `queue` has the way to such a writer.

pub mod journal;
#[cfg(test)]
pub(crate) mod kills;
pub mod queue;
mod write;

use std::fmt;
use std::fs::{File, FileType, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::io::Errno;

pub use write::{
    append, create, extend, is_older, lock, make_folder, put, remove, remove_unfinished, rename,
    replace, restore_folder, try_lock,
};

/// Whether an error means that the machine lacks a resource now (open files, memory), whatever the operation was.
#[must_use]
pub fn is_shortage(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    let short = [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::AGAIN];
    let cause = error.get_ref().and_then(|error| error.source());
    let cause = cause.and_then(|cause| cause.downcast_ref::<io::Error>());
    errno.is_some_and(|errno| short.contains(&errno)) || cause.is_some_and(is_shortage)
}

/// Whether a file that is to be written is in a wrong place, so that another try without a change cannot help.
#[must_use]
pub fn is_misplaced(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound
            | io::ErrorKind::PermissionDenied
            | io::ErrorKind::ReadOnlyFilesystem
            | io::ErrorKind::IsADirectory
            | io::ErrorKind::NotADirectory
    )
}

/// Whether an error may pass by itself: a shortage, or a file that another program has to itself for now.
#[must_use]
pub fn may_pass(error: &io::Error) -> bool {
    is_shortage(error) || error.kind() == io::ErrorKind::ResourceBusy
}

/// The remedy for a write that the limit of file sizes forbids.
pub const RAISE_FILE_LIMIT: &str = "the process may not write larger files: raise the limit (`ulimit -f`, `LimitFSIZE=` of systemd)";

/// Whether the limit of file sizes forbade a write.
#[must_use]
pub fn is_over_limit(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::FBIG.raw_os_error())
}

/// Shows an error with its remedy, where the system's message does not say what to do.
#[must_use]
pub fn explained(error: &io::Error) -> impl fmt::Display {
    fmt::from_fn(move |f| match is_over_limit(error) {
        true => write!(f, "{error}; {RAISE_FILE_LIMIT}"),
        false => write!(f, "{error}"),
    })
}

/// Whether an open file still has this name: it may have been replaced, moved or removed.
///
/// # Errors
/// If that cannot be known.
pub fn has_name(file: &File, path: &Path) -> io::Result<bool> {
    let named = match std::fs::metadata(path) {
        Ok(named) => named,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    let open = file.metadata()?;
    Ok((named.dev(), named.ino()) == (open.dev(), open.ino()))
}

/// An error with its file's path, which the system's message does not contain.
#[derive(Debug, thiserror::Error)]
#[error("{}: {}", .path.display(), explained(.error))]
struct At {
    path: PathBuf,
    #[source]
    error: io::Error,
}

/// The error with its file's path; it keeps its kind, and stays a shortage if it was one.
#[must_use]
pub fn at(path: &Path, error: io::Error) -> io::Error {
    let path = path.to_owned();
    io::Error::new(error.kind(), At { path, error })
}

/// Opens a file for reading.
///
/// # Errors
/// If it is not a regular file, or cannot be opened.
pub fn open(path: &Path) -> io::Result<File> {
    open_with(OpenOptions::new().read(true), path)
}

/// Reads a whole file.
///
/// # Errors
/// If it is not a regular file, cannot be read, or holds more than `most` bytes.
pub fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    read_from(open(path)?, most)
}

/// As [`read`], for a UTF-8 file.
///
/// # Errors
/// As [`read`], and if it is not UTF-8.
pub fn read_text(path: &Path, most: u64) -> io::Result<String> {
    let text = String::from_utf8(read(path, most)?);
    text.map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8"))
}

/// As [`read`], for a file in a folder. Links may lead anywhere within the folder, as those of a Kubernetes volume do, but not
/// out of it.
///
/// # Errors
/// As [`read`], and if the file is not in the folder.
pub fn read_within(folder: &Path, name: &str, most: u64) -> io::Result<Vec<u8>> {
    let path = folder.join(name);
    let file = open(&path)?;
    if !real(&file, &path)?.starts_with(folder.canonicalize()?) {
        return Err(io::Error::other(
            "it is a link out of the folder: copy the file into the folder",
        ));
    }
    read_from(file, most)
}

/// As [`read_within`], for an optional file. A symbolic link counts as existing even if its target does not exist.
///
/// # Errors
/// As [`read_within`].
pub fn read_if_there(folder: &Path, name: &str, most: u64) -> io::Result<Option<Vec<u8>>> {
    match read_within(folder, name, most) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            match std::fs::read_link(folder.join(name)) {
                Ok(target) => {
                    let target = target.display();
                    let found = format!(
                        "it is a symbolic link to {target}, which is not there (not mounted?)"
                    );
                    Err(io::Error::other(found))
                }
                Err(_) => Ok(None),
            }
        }
        Err(error) => Err(error),
    }
}

/// Checks the kind of file before opening, since opening a device may already have effects, and again after, since the name may
/// have been given to another file in between. Opening a pipe does not block.
fn open_with(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    match std::fs::metadata(path) {
        Ok(found) => regular(found.file_type())?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let opened = options.custom_flags(flags.bits() as i32).open(path);
    let file = opened.map_err(|error| {
        match error.raw_os_error().map(Errno::from_raw_os_error) {
            // Without O_NONBLOCK the system would wait until the lease is given up, or taken away.
            Some(Errno::AGAIN) => io::Error::new(
                io::ErrorKind::ResourceBusy,
                "another program has a lease on it (fcntl F_SETLEASE), which the system now asks it to give up",
            ),
            _ => error,
        }
    })?;
    regular(file.metadata()?.file_type())?;
    Ok(file)
}

fn regular(kind: FileType) -> io::Result<()> {
    let found = match kind {
        kind if kind.is_file() => return Ok(()),
        kind if kind.is_dir() => "a folder",
        kind if kind.is_fifo() => "a pipe",
        kind if kind.is_socket() => "a socket",
        _ => "a device",
    };
    let message = format!("it is {found}, not a regular file");
    Err(io::Error::other(message))
}

/// Reads at most one byte more than allowed, whatever size the metadata has.
fn read_from(file: File, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        let most = match most >> 20 {
            0 => format!("{} KiB", most >> 10),
            mib => format!("{mib} MiB"),
        };
        let message = format!("it is larger than {most}");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    Ok(bytes)
}

/// The path of an open file with all links resolved. Linux reports it; elsewhere the links are followed again.
fn real(file: &File, path: &Path) -> io::Result<std::path::PathBuf> {
    use std::os::fd::AsRawFd;
    let link = format!("/proc/self/fd/{}", file.as_raw_fd());
    std::fs::read_link(link).or_else(|_| path.canonicalize())
}

#[cfg(test)]
mod tests;
