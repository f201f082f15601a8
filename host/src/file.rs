//! Opens and reads files of other writers safely: regular files only, a limited number of bytes, never waiting for a writer.

use std::fs::{File, FileType, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::io::Errno;

/// Whether an error means that the machine lacks a resource now (open files, memory), whatever the operation was.
#[must_use]
pub fn is_shortage(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    let short = [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::AGAIN];
    let cause = error.get_ref().and_then(|error| error.source());
    let cause = cause.and_then(|cause| cause.downcast_ref::<io::Error>());
    errno.is_some_and(|errno| short.contains(&errno)) || cause.is_some_and(is_shortage)
}

/// An error with its file's path, which the system's message does not contain.
#[derive(Debug, thiserror::Error)]
#[error("{}: {error}", .path.display())]
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

/// Opens a file for writing; a missing one is created, for its owner alone.
///
/// # Errors
/// If it is not a regular file, or cannot be opened.
pub fn create(path: &Path) -> io::Result<File> {
    open_with(
        OpenOptions::new().write(true).create(true).mode(0o600),
        path,
    )
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
    let file = options.custom_flags(flags.bits() as i32).open(path)?;
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
mod tests {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use super::*;

    fn said<T: std::fmt::Debug>(result: io::Result<T>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn only_regular_files_are_opened_and_none_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let pipe = std::process::Command::new("mkfifo")
            .arg(path("pipe"))
            .status();
        assert!(pipe.unwrap().success());
        let _socket = UnixListener::bind(path("socket")).unwrap();
        symlink("/dev/zero", path("zero")).unwrap();
        for (name, kind) in [
            ("pipe", "a pipe"),
            ("socket", "a socket"),
            ("zero", "a device"),
            ("", "a folder"),
        ] {
            let expected = format!("it is {kind}, not a regular file");
            assert_eq!(said(read(&path(name), 1 << 10)), expected);
            assert_eq!(said(create(&path(name))), expected);
        }
    }

    #[test]
    fn a_file_is_read_up_to_its_bound_and_no_further() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("text");
        std::fs::write(&path, vec![b'x'; 2048]).unwrap();
        assert_eq!(read(&path, 2048).unwrap().len(), 2048);
        assert_eq!(said(read(&path, 2047)), "it is larger than 1 KiB");
        // Its metadata has size 0.
        let endless = Path::new("/proc/self/environ");
        assert_eq!(std::fs::metadata(endless).unwrap().len(), 0);
        assert_eq!(said(read(endless, 1)), "it is larger than 0 KiB");
    }

    #[test]
    fn links_may_lead_through_the_folder_and_not_out_of_it() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("policies");
        std::fs::create_dir_all(folder.join("..2026")).unwrap();
        std::fs::write(folder.join("..2026/auth.json"), "{}").unwrap();
        std::fs::write(place.path().join("secret.json"), "{}").unwrap();
        symlink("..2026", folder.join("..data")).unwrap();
        symlink("..data/auth.json", folder.join("auth.json")).unwrap();
        symlink("../secret.json", folder.join("model.json")).unwrap();
        let link = place.path().join("live");
        symlink(&folder, &link).unwrap();
        for folder in [&folder, &link] {
            assert_eq!(read_within(folder, "auth.json", 10).unwrap(), b"{}");
            let refused = said(read_within(folder, "model.json", 10));
            assert!(refused.contains("a link out of the folder"), "{refused}");
        }
    }
}
