//! A journal: lines appended to rotating files by a thread of their own, so that a full or slow disk stops nobody.
//!
//! Not `tracing-appender`: it rotates by the clock, not by size. These files are read again while they move up, and two
//! gateways may share them.

mod files;
mod write;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::oneshot;

use super::queue::{CLOSING, Queue};
pub use files::Files;
use write::Writer;

/// The most entries in the queue. Further ones are dropped: no request waits for a disk.
pub const QUEUE: usize = 4_096;

/// Where lines are written, and how many are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The file that is written; older files have `.1`, `.2`, … appended.
    pub path: PathBuf,
    /// The size in bytes after which a new file begins.
    pub max_bytes: u64,
    /// The number of files, including the one that is written.
    pub max_files: u32,
}

/// A journal's place in the log.
#[derive(Debug, Clone, Copy)]
pub struct Subject {
    /// Its name in a sentence.
    pub name: &'static str,
    /// Logs the number of lost entries, and why the last one was lost.
    pub lost: fn(u64, &dyn std::fmt::Display),
}

/// The numbers of written and of dropped entries.
#[derive(Debug)]
struct Counts {
    subject: Subject,
    written: AtomicU64,
    dropped: AtomicU64,
}

impl Counts {
    /// Counts a dropped entry, and logs at powers of two only: a full disk must not fill another one with log lines.
    fn dropped(&self, cause: &dyn std::fmt::Display) {
        let dropped = self.dropped.fetch_add(1, Ordering::Relaxed) + 1;
        if dropped.is_power_of_two() {
            (self.subject.lost)(dropped, cause);
        }
    }
}

/// A journal of entries, each of which becomes one line.
#[derive(Debug)]
pub struct Journal<T> {
    queue: Queue<T>,
    files: Arc<Files>,
    counts: Arc<Counts>,
}

impl<T: Send + 'static> Journal<T> {
    /// Opens the file and starts the writer. `line` makes the line of an entry, without its line end, on the writer's thread: an
    /// entry without a line is left out.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn open(
        subject: Subject,
        config: Config,
        line: impl FnMut(T) -> Option<Vec<u8>> + Send + 'static,
    ) -> std::io::Result<Self> {
        let files = Arc::new(Files::new(config));
        let counts = Arc::new(Counts {
            subject,
            written: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        });
        let writer = Writer::open(Arc::clone(&files), Arc::clone(&counts))?;
        let queue = Queue::start("journal", QUEUE, move |queue| writer.run(queue, line))?;
        Ok(Self {
            queue,
            files,
            counts,
        })
    }

    /// Queues an entry, without waiting. Returns whether it was queued.
    pub fn push(&self, entry: T) -> bool {
        let queued = self.queue.push(entry);
        if let Err(error) = &queued {
            self.drop_one(error);
        }
        queued.is_ok()
    }

    /// Counts an entry that is not recorded.
    pub fn drop_one(&self, cause: &dyn std::fmt::Display) {
        self.counts.dropped(cause);
    }

    /// The numbers of entries written and dropped.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        (read(&self.counts.written), read(&self.counts.dropped))
    }

    /// The files, to be read.
    #[must_use]
    pub fn files(&self) -> &Arc<Files> {
        &self.files
    }

    /// Completes when all entries queued before were written; none if the queue is full.
    #[must_use]
    pub fn flush(&self) -> Option<oneshot::Receiver<()>> {
        self.queue.flush()
    }

    /// Writes the queued entries, and ends: within a time limit, even if the disk hangs. Later entries are dropped.
    pub fn close(&self) {
        self.close_within(CLOSING);
    }

    /// As [`Journal::close`], within another time limit.
    pub fn close_within(&self, limit: Duration) {
        if !self.queue.close_within(limit) {
            let name = self.counts.subject.name;
            tracing::error!("lines are lost: {name} cannot be written in time");
        }
    }
}

#[cfg(test)]
mod tests;
