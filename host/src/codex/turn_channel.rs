//! The two ends of one turn's channel: Codex's side delivers events, the reader takes them or stops the turn.

use std::fmt;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::Event;
use super::event_queue::{EventQueue, Pushed};

/// Codex's end: delivers the turn's events, and learns when the turn is to stop.
#[derive(Debug)]
pub(super) struct TurnSender {
    event_queue: EventQueue,
    /// Cancelled when the turn is to stop: its reader asked for the end, is gone, or is too slow.
    pub(super) stop: CancellationToken,
}

impl TurnSender {
    /// Delivers an event. Never waits.
    pub(super) fn deliver(&self, event: Event) {
        if self.event_queue.push(event) == Pushed::Overflowed {
            self.stop.cancel();
        }
    }
}

/// The reader's end. Dropping it stops the turn; the task that runs the turn then cleans up.
pub(super) struct TurnReceiver(Arc<TurnSender>);

impl TurnReceiver {
    /// The two ends for a new turn, with at most about `buffer_bytes` between them.
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
    /// Leaves out the events, which contain the conversation.
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
