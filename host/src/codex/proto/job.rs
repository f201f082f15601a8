//! One turn as its process has it: what was asked, where the answer goes, and what is given back.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::codex::status::InFlight;
use crate::codex::turn_channel::{TurnReceiver, TurnSender};
use crate::codex::{Error, Event, Outcome, Plan};

/// Why a turn did not begin.
#[derive(Debug)]
pub(super) struct NotBegun {
    pub(super) error: Error,
    /// What was asked, if another process may be asked the same.
    pub(super) again: Option<Box<Plan>>,
}

/// The process's end of a turn, with what is given back when the process is gone.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) plan: Plan,
    pub(super) delivery: Arc<TurnSender>,
    /// Hears whether Codex has begun.
    started: Option<oneshot::Sender<Result<(), NotBegun>>>,
    _lease: OwnedSemaphorePermit,
    _in_flight: InFlight,
}

impl Job {
    /// Codex has begun, if it was not known.
    pub(super) fn begin(&mut self) {
        if let Some(started) = self.started.take() {
            // What was said is not needed any more.
            self.plan = Plan::default();
            // Who has gone by now has cancelled the turn, too.
            let _ = started.send(Ok(()));
        }
    }

    /// The turn cannot go on: whoever waits for its beginning or for its end hears why.
    pub(super) fn fail(&mut self, error: Error) {
        self.end(error, false);
    }

    /// The process is gone. A turn that had not begun may begin elsewhere.
    pub(super) fn lose(&mut self, why: &str) {
        self.end(Error::WorkerExited(why.to_owned()), true);
    }

    fn end(&mut self, error: Error, again: bool) {
        let Some(started) = self.started.take() else {
            return self.delivery.deliver(Event::Ended(Outcome::Failed(error)));
        };
        let again = again.then(|| Box::new(std::mem::take(&mut self.plan)));
        // As above.
        let _ = started.send(Err(NotBegun { error, again }));
    }
}

/// A turn to be: its reader's end, its process's end, and what hears of its start.
pub(super) fn prepare(
    plan: Plan,
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
