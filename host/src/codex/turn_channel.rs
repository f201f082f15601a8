//! The two ends of one turn: what Codex's side delivers, what the reader takes and no longer wants.

use std::fmt;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::Event;
use super::event_queue::{EventQueue, Pushed};

/// Codex's end: where a turn's events go, and whether they are still wanted.
#[derive(Debug)]
pub(super) struct TurnSender {
    event_queue: EventQueue,
    /// The turn is unwanted: its reader asked for the end, has gone, or is too slow.
    pub(super) stop: CancellationToken,
}

impl TurnSender {
    /// Passes an event on. Never waits.
    pub(super) fn deliver(&self, event: Event) {
        if self.event_queue.push(event) == Pushed::Overflowed {
            self.stop.cancel();
        }
    }
}

/// The reader's end. Dropping it stops the turn; whoever runs the turn then cleans up.
pub(super) struct TurnReceiver(Arc<TurnSender>);

impl TurnReceiver {
    /// The two ends of a turn to be, with at most about `buffer_bytes` between them.
    pub(super) fn new(buffer_bytes: usize) -> (Self, Arc<TurnSender>) {
        let delivery = Arc::new(TurnSender {
            event_queue: EventQueue::new(buffer_bytes),
            stop: CancellationToken::new(),
        });
        (Self(Arc::clone(&delivery)), delivery)
    }

    /// The next event, or `None` after the end. Cancel-safe.
    pub(super) async fn next(&mut self) -> Option<Event> {
        self.0.event_queue.next().await
    }

    /// Asks Codex to stop.
    pub(super) fn interrupt(&self) {
        self.0.stop.cancel();
    }
}

impl fmt::Debug for TurnReceiver {
    /// Without what was said.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TurnReceiver").finish_non_exhaustive()
    }
}

impl Drop for TurnReceiver {
    fn drop(&mut self) {
        self.0.event_queue.close();
        self.0.stop.cancel();
    }
}
