//! The protocol log: a line for each message between the gateway and a Codex child, written off the turn's path.

mod facts;
mod line;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime};

use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::start_error::StartError;
use crate::file::journal::{self, Journal, Subject};
use line::Lines;

/// The part of a message that is copied for its names and ids.
const HEAD: usize = 64 << 10;

/// The longest message whose content is written.
const BODY: usize = 1 << 20;

/// Limit in bytes of the copies in the queue.
const WAITING: usize = 16 << 20;

/// The protocol log's place in the gateway's own log.
const SUBJECT: Subject = Subject {
    name: "the protocol log",
    lost: |dropped, cause| tracing::error!(dropped, %cause, "protocol messages were not recorded"),
};

/// Where messages are recorded, and whether with their content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProtocolLogConfig {
    /// The files.
    pub journal: journal::Config,
    /// Whether the content of conversations is written, too.
    pub bodies: bool,
}

/// The direction of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
enum Direction {
    ToCodex,
    FromCodex,
}

/// An entry for the writer.
#[derive(Debug)]
struct Entry {
    /// How many turns were dropped before. Then the requests that are known may be wrong.
    turns_lost: u64,
    fact: Fact,
}

#[derive(Debug)]
enum Fact {
    Message(Message),
    /// From now on a child's thread, or with `proto` the child, works for this request.
    Turn {
        pid: Option<u32>,
        thread: Option<String>,
        request: String,
    },
}

/// One message, as far as it is kept.
#[derive(Debug)]
struct Message {
    at: Instant,
    time: SystemTime,
    pid: Option<u32>,
    direction: Direction,
    /// The size of the whole message.
    bytes: usize,
    head: Box<[u8]>,
    /// The room that `head` takes in the queue.
    _room: Option<OwnedSemaphorePermit>,
}

/// The log of all children. Clones are the same log.
#[derive(Debug, Clone)]
pub(super) struct ProtocolLog(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    journal: Journal<Entry>,
    room: Arc<Semaphore>,
    /// The number of dropped turns.
    turns_lost: AtomicU64,
    /// The most bytes of a message that are kept.
    kept: usize,
}

impl ProtocolLog {
    /// Opens the file and starts the writer.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub(super) fn open(config: ProtocolLogConfig) -> Result<Self, StartError> {
        let ProtocolLogConfig { journal, bodies } = config;
        let path = journal.path.clone();
        let mut lines = Lines::new(bodies);
        let journal = Journal::open(SUBJECT, journal, move |entry| lines.line(entry))
            .map_err(|cause| StartError::ProtocolLog { path, cause })?;
        Ok(Self(Arc::new(Inner {
            journal,
            room: Arc::new(Semaphore::new(WAITING)),
            turns_lost: AtomicU64::new(0),
            kept: if bodies { BODY } else { HEAD },
        })))
    }

    /// The numbers of messages recorded and dropped.
    pub(super) fn counts(&self) -> (u64, u64) {
        self.0.journal.counts()
    }

    /// Writes the queued lines, and ends: within some seconds, even if the disk hangs.
    pub(super) async fn close(&self) {
        let log = self.clone();
        let closed = tokio::task::spawn_blocking(move || log.0.journal.close()).await;
        if let Err(error) = closed {
            tracing::error!(%error, "the protocol log was not closed");
        }
    }

    fn record(&self, pid: Option<u32>, direction: Direction, line: &[u8]) {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let head = &line[..line.len().min(self.0.kept)];
        let size = u32::try_from(head.len()).unwrap_or(u32::MAX);
        let Ok(room) = Arc::clone(&self.0.room).try_acquire_many_owned(size) else {
            return self.0.journal.drop_one(&"too many bytes wait for the disk");
        };
        self.push(Fact::Message(Message {
            at: Instant::now(),
            time: SystemTime::now(),
            pid,
            direction,
            bytes: line.len(),
            head: head.into(),
            _room: Some(room),
        }));
    }

    /// Queues an entry. Returns whether it was queued.
    fn push(&self, fact: Fact) -> bool {
        let turns_lost = self.0.turns_lost.load(Ordering::Relaxed);
        self.0.journal.push(Entry { turns_lost, fact })
    }
}

/// The place in the log of one child's messages; none if there is no log.
#[derive(Debug, Clone, Default)]
pub(super) struct Tap(Option<(ProtocolLog, Option<u32>)>);

impl Tap {
    /// For the child with this process id.
    pub(super) fn new(log: Option<&ProtocolLog>, pid: Option<u32>) -> Self {
        Self(log.map(|log| (log.clone(), pid)))
    }

    /// Records a line that is written to the child. Never waits.
    pub(super) fn sent(&self, line: &[u8]) {
        if let Some((log, pid)) = &self.0 {
            log.record(*pid, Direction::ToCodex, line);
        }
    }

    /// Records a line that was read from the child. Never waits.
    pub(super) fn received(&self, line: &[u8]) {
        if let Some((log, pid)) = &self.0 {
            log.record(*pid, Direction::FromCodex, line);
        }
    }

    /// Notes the client's request for which a thread works from now on; with `proto` the whole child does.
    pub(super) fn works_for(&self, thread: Option<&str>, request: &str) {
        // A longer id is none of Codex's, and no line has it.
        let is_short = thread.is_none_or(|thread| thread.len() <= facts::LONGEST);
        if let Some((log, pid)) = &self.0
            && is_short
        {
            let turn = Fact::Turn {
                pid: *pid,
                thread: thread.map(str::to_owned),
                request: request.to_owned(),
            };
            if !log.push(turn) {
                log.0.turns_lost.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// The line of one message from a child, without or with its content; `kept` bytes of it are kept.
#[cfg(any(test, fuzzing))]
pub fn replay(message: &[u8], kept: usize, bodies: bool) -> Option<Vec<u8>> {
    let message = Message {
        at: Instant::now(),
        time: SystemTime::now(),
        pid: Some(1),
        direction: Direction::FromCodex,
        bytes: message.len(),
        head: message[..message.len().min(kept)].into(),
        _room: None,
    };
    Lines::new(bodies).line(Entry {
        turns_lost: 0,
        fact: Fact::Message(message),
    })
}

#[cfg(test)]
mod tests;
