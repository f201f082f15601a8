//! The files of a journal: their names, their rotation, and reading all lines in order.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::PathBuf;

use parking_lot::Mutex;
use rustix::fs::OFlags;

use super::Config;
use crate::file;

/// Longer lines were not written by the gateway, and are skipped.
const MAX_LINE: usize = 16 << 10;

/// The files of a journal.
#[derive(Debug)]
pub struct Files {
    config: Config,
    /// Held while files are renamed, and while a reader opens them, so that it opens each file once.
    moving: Mutex<()>,
}

impl Files {
    pub(super) fn new(config: Config) -> Self {
        Self {
            config,
            moving: Mutex::default(),
        }
    }

    pub(super) fn max_bytes(&self) -> u64 {
        self.config.max_bytes
    }

    /// The path of a file; the newest has number 0.
    fn path(&self, number: u32) -> PathBuf {
        if number == 0 {
            return self.config.path.clone();
        }
        let mut name = OsString::from(&self.config.path);
        name.push(format!(".{number}"));
        name.into()
    }

    /// Opens the newest file for appending. Only the gateway's own user may read it: it contains what callers did.
    ///
    /// # Errors
    /// If it cannot be opened or is a pipe: a pipe can block, cannot be rotated, and cannot be read back.
    pub(super) fn open_newest(&self) -> std::io::Result<File> {
        let mut options = OpenOptions::new();
        options.create(true).append(true).read(true).mode(0o600);
        // Opening a pipe without a reader would block already here.
        options.custom_flags(OFlags::NONBLOCK.bits() as i32);
        let file = options.open(&self.config.path)?;
        let kind = file.metadata()?.file_type();
        if kind.is_fifo() || kind.is_socket() {
            return Err(std::io::Error::other("it is a pipe, not a regular file"));
        }
        Ok(file)
    }

    /// As [`Files::open_newest`], for a file that was written before: if its folder is gone, it is made again.
    ///
    /// # Errors
    /// As [`Files::open_newest`], and if the folder cannot be made.
    pub(super) fn reopen_newest(&self) -> std::io::Result<File> {
        let folder = self.config.path.parent();
        if let Some(folder) = folder.filter(|folder| !folder.as_os_str().is_empty()) {
            file::restore_folder(folder)?;
        }
        self.open_newest()
    }

    /// Whether the file still has the newest name: another gateway may have rotated it.
    pub(super) fn is_newest(&self, file: &File) -> std::io::Result<bool> {
        file::has_name(file, &self.config.path)
    }

    /// Renames each file to the next number; the oldest is overwritten.
    pub(super) fn rotate(&self) -> std::io::Result<()> {
        let _moving = self.moving.lock();
        for number in (0..self.config.max_files.saturating_sub(1)).rev() {
            match std::fs::rename(self.path(number), self.path(number + 1)) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Passes every line to `each`, oldest first, without its line end. Memory does not grow with the files.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn lines(&self, mut each: impl FnMut(&[u8])) -> std::io::Result<()> {
        for file in self.open()? {
            let mut reader = BufReader::with_capacity(64 << 10, file);
            let mut line = Vec::new();
            let mut skipping = false;
            loop {
                line.clear();
                let mut piece = reader.by_ref().take(MAX_LINE as u64);
                if piece.read_until(b'\n', &mut line)? == 0 {
                    break;
                }
                let whole = line.pop_if(|last| *last == b'\n').is_some();
                if whole && !skipping {
                    each(&line);
                }
                skipping = !whole;
            }
        }
        Ok(())
    }

    fn open(&self) -> std::io::Result<Vec<File>> {
        let _still = self.moving.lock();
        let mut files = Vec::new();
        for number in (0..self.config.max_files).rev() {
            match file::open(&self.path(number)) {
                Ok(file) => files.push(file),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(files)
    }
}
