//! Writes events on a thread of its own, many at once when many wait.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, TryRecvError};

use super::files::Files;
use super::{Counts, Event, Message};

/// Bytes after which is written, also when more waits.
const BATCH: usize = 64 << 10;

pub(super) struct Writer {
    files: Arc<Files>,
    counts: Arc<Counts>,
    /// Absent after a failure, until it can be opened again.
    file: Option<File>,
    /// Of the file, what waits to be written included.
    size: u64,
    waiting: Vec<u8>,
    /// How many events that is.
    events: u64,
}

impl Writer {
    pub(super) fn open(files: Arc<Files>, counts: Arc<Counts>) -> std::io::Result<Self> {
        let mut writer = Self {
            files,
            counts,
            file: None,
            size: 0,
            waiting: Vec::new(),
            events: 0,
        };
        writer.reopen()?;
        Ok(writer)
    }

    /// Runs until told to end.
    pub(super) fn run(mut self, messages: &Receiver<Message>) {
        while let Ok(message) = messages.recv() {
            let mut next = Ok(message);
            loop {
                match next {
                    Ok(Message::Event(event)) => self.push(&event),
                    Ok(Message::Flush(done)) => {
                        self.flush();
                        // Whoever waited may have given up.
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

    fn push(&mut self, event: &Event) {
        let Ok(mut line) = serde_json::to_vec(event) else {
            return;
        };
        line.push(b'\n');
        let length = line.len() as u64;
        if self.size > 0 && self.size + length > self.files.max_bytes() {
            self.flush();
            self.rotate();
        }
        self.waiting.extend_from_slice(&line);
        self.size += length;
        self.events += 1;
        if self.waiting.len() >= BATCH {
            self.flush();
        }
    }

    /// Goes on with the old file if there can be no new one.
    fn rotate(&mut self) {
        let rotated = self.files.rotate().and_then(|()| self.reopen());
        if let Err(error) = rotated {
            tracing::error!(%error, "the usage log cannot be rotated");
            // Not tried again with every event.
            self.size = 0;
        }
    }

    /// Opens the newest file. A line that was cut by the end of an earlier process is ended.
    fn reopen(&mut self) -> std::io::Result<()> {
        let mut file = self.files.append()?;
        self.size = file.metadata()?.len();
        if self.size > 0 {
            let mut last = [0];
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
            if last != *b"\n" {
                file.write_all(b"\n")?;
                self.size += 1;
            }
        }
        self.file = Some(file);
        Ok(())
    }

    fn flush(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        let events = std::mem::take(&mut self.events);
        match self.write() {
            Ok(()) => {
                self.counts.written.fetch_add(events, Ordering::Relaxed);
            }
            Err(error) => {
                // What is on the disk may end within a line: reopening mends that.
                self.file = None;
                for _ in 0..events {
                    self.counts.dropped(&error);
                }
            }
        }
        self.waiting.clear();
    }

    fn write(&mut self) -> std::io::Result<()> {
        if self.file.is_none() {
            self.reopen()?;
            self.size += self.waiting.len() as u64;
        }
        match &mut self.file {
            Some(file) => file.write_all(&self.waiting),
            None => Ok(()),
        }
    }
}
