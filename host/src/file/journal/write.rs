//! Writes the entries of a journal on a thread of its own, in batches if several are queued.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, TryRecvError};

use super::Counts;
use super::files::Files;
use crate::file;
use crate::file::queue::Message;

/// The bytes after which a batch is written, even if more entries are queued.
const BATCH: usize = 64 << 10;

pub(super) struct Writer {
    files: Arc<Files>,
    counts: Arc<Counts>,
    /// Absent after a failure, until it can be opened again.
    file: Option<File>,
    waiting: Vec<u8>,
    /// The number of entries in `waiting`.
    entries: u64,
    /// It was logged that the files cannot be rotated.
    stuck: bool,
}

impl Writer {
    pub(super) fn open(files: Arc<Files>, counts: Arc<Counts>) -> std::io::Result<Self> {
        let file = files.open_newest()?;
        Ok(Self {
            files,
            counts,
            file: Some(file),
            waiting: Vec::new(),
            entries: 0,
            stuck: false,
        })
    }

    /// Runs until [`Message::End`], or until the sender is dropped. `line` makes the line of an entry.
    pub(super) fn run<T>(
        mut self,
        messages: &Receiver<Message<T>>,
        mut line: impl FnMut(T) -> Option<Vec<u8>>,
    ) {
        while let Ok(message) = messages.recv() {
            let mut next = Ok(message);
            loop {
                match next {
                    Ok(Message::Entry(entry)) => {
                        if let Some(line) = line(entry) {
                            self.push(line);
                        }
                    }
                    Ok(Message::Flush(done)) => {
                        self.flush();
                        // The receiver may have given up.
                        let _ = done.send(());
                    }
                    Ok(Message::End) => return self.flush(),
                    Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
                }
                next = messages.try_recv();
            }
            self.flush();
        }
    }

    fn push(&mut self, mut line: Vec<u8>) {
        line.push(b'\n');
        let most = usize::try_from(self.files.max_bytes()).unwrap_or(usize::MAX);
        if line.len() > most {
            return self
                .counts
                .dropped(&"the line is longer than a file may be");
        }
        if self.waiting.len() + line.len() > BATCH.min(most) {
            self.flush();
        }
        self.waiting.extend_from_slice(&line);
        self.entries += 1;
    }

    fn flush(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        let entries = std::mem::take(&mut self.entries);
        match self.write() {
            Ok(()) => {
                self.counts.written.fetch_add(entries, Ordering::Relaxed);
            }
            Err(error) => {
                self.file = None;
                for _ in 0..entries {
                    self.counts.dropped(&file::explained(&error));
                }
            }
        }
        self.waiting.clear();
    }

    /// Writes the batch. The file is locked meanwhile and its name is checked again: while one gateway replaces another, both
    /// write.
    fn write(&mut self) -> std::io::Result<()> {
        let waiting = self.waiting.len() as u64;
        loop {
            let mut file = match self.file.take() {
                Some(file) => file,
                None => self.files.reopen_newest()?,
            };
            lock(&file)?;
            if !self.files.is_newest(&file)? {
                continue;
            }
            let size = file.metadata()?.len();
            let most = self.files.max_bytes();
            if size > 0 && size.saturating_add(waiting) > most {
                if self.rotate() {
                    continue;
                }
                if size.saturating_add(waiting) > most.saturating_mul(2) {
                    return Err(std::io::Error::other(
                        "the file has twice its largest size, as it cannot be rotated",
                    ));
                }
            }
            end_line(&mut file, size)?;
            file.write_all(&self.waiting)?;
            file.unlock()?;
            self.file = Some(file);
            return Ok(());
        }
    }

    /// Rotates the files. Returns whether there is a new one; if not, the old one is continued up to twice its largest size.
    fn rotate(&mut self) -> bool {
        let rotated = self.files.rotate();
        let stuck = std::mem::replace(&mut self.stuck, rotated.is_err());
        if let Err(error) = &rotated
            && !stuck
        {
            tracing::error!(%error, "{} cannot be rotated", self.counts.subject.name);
        }
        rotated.is_ok()
    }
}

/// Locks the file. A file system without locks is accepted.
fn lock(file: &File) -> std::io::Result<()> {
    match file.lock() {
        Err(error) if error.kind() == ErrorKind::Unsupported => Ok(()),
        locked => locked,
    }
}

/// Ends a line that was cut off, by a full disk or by the end of a process.
fn end_line(file: &mut File, size: u64) -> std::io::Result<()> {
    if size == 0 {
        return Ok(());
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    match last {
        [b'\n'] => Ok(()),
        _ => file.write_all(b"\n"),
    }
}
