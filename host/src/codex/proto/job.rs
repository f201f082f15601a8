//! One turn as its process runs it: the plan, the channel for the events, and the lease that is released at the end.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::codex::status::InFlight;
use crate::codex::turn_channel::{TurnReceiver, TurnSender};
use crate::codex::{Error, Event, Plan, TurnOutcome};

/// Why a turn did not begin.
#[derive(Debug)]
pub(super) struct NotBegun {
    pub(super) error: Error,
    /// Whether it may begin on another process.
    pub(super) again: bool,
}

/// The process's end of a turn, with the lease and the count that are released when the process is gone.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) plan: Arc<Plan>,
    pub(super) delivery: Arc<TurnSender>,
    /// Receives the result of the start: Codex has begun, or the reason why not.
    started: Option<oneshot::Sender<Result<(), NotBegun>>>,
    _lease: OwnedSemaphorePermit,
    _in_flight: InFlight,
}

impl Job {
    /// Reports that Codex has begun, on the first call only.
    pub(super) fn begin(&mut self) {
        if let Some(started) = self.started.take() {
            // The conversation is not needed any more.
            self.plan = Arc::default();
            // A dropped receiver has cancelled the turn, too.
            let _ = started.send(Ok(()));
        }
    }

    /// Ends the turn with an error: the receiver of the start gets it, or the reader if the turn has begun.
    pub(super) fn fail(&mut self, error: Error) {
        self.end(error, false);
    }

    /// Ends the turn because the process is gone. A turn that had not begun may begin on another process.
    pub(super) fn lose(&mut self, why: &str) {
        self.end(Error::WorkerExited(why.to_owned()), true);
    }

    fn end(&mut self, error: Error, again: bool) {
        let Some(started) = self.started.take() else {
            return self
                .delivery
                .deliver(Event::Ended(TurnOutcome::Failed(error)));
        };
        // A dropped receiver has cancelled the turn, too.
        let _ = started.send(Err(NotBegun { error, again }));
    }
}

/// A new turn: its reader's end, its process's end, and the receiver for the result of its start.
pub(super) fn prepare(
    plan: Arc<Plan>,
    lease: OwnedSemaphorePermit,
    in_flight: InFlight,
    buffer_bytes: usize,
) -> (
    TurnReceiver,
    Box<Job>,
    oneshot::Receiver<Result<(), NotBegun>>,
) {
    let (exchange, delivery) = TurnReceiver::new(buffer_bytes);
    let (started, begun) = oneshot::channel();
    let job = Job {
        plan,
        delivery,
        started: Some(started),
        _lease: lease,
        _in_flight: in_flight,
    };
    (exchange, Box::new(job), begun)
}
