//! Records: every decision is a line of files in a folder, written by a thread of its own, so that no request waits for a disk.
//!
//! `line` has the lines, `chain` their hashes, `seal` those of frames, `files` the folder, `write` and `read` one file after the other.

mod chain;
mod files;
mod line;
mod read;
mod seal;
mod write;

use std::fmt::Display;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::SystemTime;

use super::event::Event;
use crate::file::queue::{CLOSING, Queue, Unqueued};
use crate::file::{at, make_folder};
pub use files::{ENDING, find as files_in};
pub(super) use line::Line;
pub use read::Damage;
pub(super) use read::{Ends, File};
use write::Writer;

/// Reads one line, for [`bytes`](super::bytes).
#[cfg(any(test, fuzzing))]
pub(super) fn read_line(bytes: &[u8]) -> Result<(), String> {
    line::read(bytes).map(drop)
}

/// The most events that wait to be written. Further ones are dropped: no request waits for a disk.
const EVENTS: usize = 16_384;
/// The most bytes of them.
const BYTES: usize = 32 << 20;

/// Where decisions are recorded, and how many are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The folder.
    pub folder: PathBuf,
    /// The most bytes of all files together.
    pub max_bytes: u64,
}

/// An event, and about the bytes that it takes in memory.
type Entry = (Arc<Event>, usize);

/// The events that wait, and the fate of the others.
#[derive(Debug, Default)]
struct Counts {
    events: AtomicUsize,
    bytes: AtomicUsize,
    written: AtomicU64,
    dropped: AtomicU64,
}

impl Counts {
    /// Counts what is not recorded, and logs when the number has doubled: a full disk must not fill another one with log lines.
    fn dropped(&self, count: u64, cause: &dyn Display) {
        let before = self.dropped.fetch_add(count, Ordering::Relaxed);
        let dropped = before + count;
        if before == 0 || before.ilog2() != dropped.ilog2() {
            tracing::warn!(dropped, "decisions are not recorded: {cause}");
        }
    }

    fn took(&self, size: usize) {
        self.events.fetch_sub(1, Ordering::Relaxed);
        self.bytes.fetch_sub(size, Ordering::Relaxed);
    }
}

/// The way to the writer.
pub(super) struct Recorder {
    queue: Queue<Entry>,
    counts: Arc<Counts>,
}

impl Recorder {
    /// Starts the writer; `began` is the time from which events count theirs.
    ///
    /// # Errors
    /// If the folder cannot be made, or there can be no further thread.
    pub(super) fn start(config: Config, began: SystemTime) -> io::Result<Self> {
        make_folder(&config.folder).map_err(|error| at(&config.folder, error))?;
        let counts = Arc::new(Counts::default());
        let writer = Writer::new(config, began, Arc::clone(&counts));
        let queue = Queue::start("policy-records", EVENTS, move |queue| writer.run(queue))?;
        Ok(Self { queue, counts })
    }

    /// Whether a request is recorded. Requests that come too fast are not recorded at all, and counted: half a request would be
    /// decided otherwise.
    pub(super) fn has_room(&self) -> bool {
        let (events, bytes) = (&self.counts.events, &self.counts.bytes);
        let has_room = events.load(Ordering::Relaxed) < EVENTS / 2
            && bytes.load(Ordering::Relaxed) < BYTES / 2;
        if !has_room {
            self.counts.dropped(1, &Unqueued::Full);
        }
        has_room
    }

    /// Queues an event of this size, without waiting.
    pub(super) fn tell(&self, event: &Arc<Event>, size: usize) {
        let counts = &self.counts;
        let is_full = counts.bytes.fetch_add(size, Ordering::Relaxed) + size > BYTES;
        counts.events.fetch_add(1, Ordering::Relaxed);
        let queued = match is_full {
            true => Err(Unqueued::Full),
            false => self.queue.push((Arc::clone(event), size)),
        };
        if let Err(error) = queued {
            counts.took(size);
            counts.dropped(1, &error);
        }
    }

    /// The numbers of events that were written, and of requests and events that were not.
    pub(super) fn counts(&self) -> (u64, u64) {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        (read(&self.counts.written), read(&self.counts.dropped))
    }

    /// Writes what is queued, and ends: within a time limit, even if the disk hangs.
    pub(super) fn close(&self) {
        if !self.queue.close_within(CLOSING) {
            tracing::error!("decisions are not recorded: they cannot be written in time");
        }
    }
}

#[cfg(test)]
mod tests;
