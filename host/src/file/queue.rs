//! A bounded queue to a thread that writes: entries are never waited for, and the end is, within a time limit.

use std::io;
use std::sync::mpsc::{
    Receiver, RecvTimeoutError, SyncSender, TrySendError, channel, sync_channel,
};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::oneshot;

/// How long the end of the process waits for a disk.
pub const CLOSING: Duration = Duration::from_secs(5);
/// The interval at which `close` tries again to get a place in a full queue.
const AGAIN: Duration = Duration::from_millis(10);

/// A message for the writer.
#[derive(Debug)]
pub enum Message<T> {
    /// An entry to write.
    Entry(T),
    /// To be answered when all entries before it were written to the file.
    Flush(oneshot::Sender<()>),
    /// No entry comes after it.
    End,
}

/// Why an entry is not in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unqueued {
    /// The disk is slower than what is to be written.
    #[error("the disk is too slow")]
    Full,
    /// The writer has ended.
    #[error("the process ends")]
    Ended,
}

/// The way to a writer.
#[derive(Debug)]
pub struct Queue<T> {
    sender: SyncSender<Message<T>>,
    /// Disconnected when the writer has ended.
    ended: Mutex<Receiver<()>>,
}

impl<T: Send + 'static> Queue<T> {
    /// Starts the writer on a thread of this name; it ends after [`Message::End`], and if there is no sender any more. At most `most`
    /// entries wait.
    ///
    /// # Errors
    /// If there can be no further thread.
    pub fn start(
        name: &str,
        most: usize,
        write: impl FnOnce(&Receiver<Message<T>>) + Send + 'static,
    ) -> io::Result<Self> {
        let (sender, receiver) = sync_channel(most);
        let (running, ended) = channel();
        std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                write(&receiver);
                // In this order, so that an entry after the end finds no receiver and is counted as dropped.
                drop(receiver);
                drop(running);
            })?;
        Ok(Self {
            sender,
            ended: Mutex::new(ended),
        })
    }

    /// Queues an entry, without waiting.
    ///
    /// # Errors
    /// If there is no place for it.
    pub fn push(&self, entry: T) -> Result<(), Unqueued> {
        self.send(Message::Entry(entry))
    }

    /// Completes when all entries queued before were written; none if the queue is full.
    #[must_use]
    pub fn flush(&self) -> Option<oneshot::Receiver<()>> {
        let (written, is_written) = oneshot::channel();
        self.send(Message::Flush(written)).ok()?;
        Some(is_written)
    }

    /// Lets the writer write what is queued, and end: within a time limit, even if the disk hangs. Returns whether it has ended. Later
    /// entries are not queued.
    #[must_use]
    pub fn close_within(&self, limit: Duration) -> bool {
        let end = Instant::now() + limit;
        // A full queue has room again when the writer takes from it; a writer that has ended takes nothing more.
        while let Err(Unqueued::Full) = self.send(Message::End) {
            if Instant::now() >= end {
                break;
            }
            std::thread::sleep(AGAIN);
        }
        let ended = self.ended.lock();
        let left = end.saturating_duration_since(Instant::now());
        !matches!(ended.recv_timeout(left), Err(RecvTimeoutError::Timeout))
    }

    fn send(&self, message: Message<T>) -> Result<(), Unqueued> {
        self.sender.try_send(message).map_err(|error| match error {
            TrySendError::Full(_) => Unqueued::Full,
            TrySendError::Disconnected(_) => Unqueued::Ended,
        })
    }
}
