//! One turn: what passes between its reader and its process.

use std::fmt;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio_util::sync::CancellationToken;

use crate::codex::backend::InFlight;
use crate::codex::mailbox::{Mailbox, Pushed};
use crate::codex::{Error, Event, Outcome, Plan};

/// Where a process delivers its turn.
#[derive(Debug)]
pub(super) struct Route {
    mailbox: Mailbox,
    /// The turn is unwanted: its reader asked for the end, has gone, or is too slow.
    pub(super) stop: CancellationToken,
}

impl Route {
    /// Passes an event on. Never waits.
    pub(super) fn deliver(&self, event: Event) {
        if self.mailbox.push(event) == Pushed::Overflowed {
            self.stop.cancel();
        }
    }
}

/// The reader's end of a turn. Dropping it stops the turn; its process then leaves.
pub(in super::super) struct Exchange {
    route: Arc<Route>,
}

impl Exchange {
    /// The next event, or `None` after the end. Cancel-safe.
    pub(in super::super) async fn next(&mut self) -> Option<Event> {
        self.route.mailbox.next().await
    }

    /// Asks Codex to stop.
    pub(in super::super) fn interrupt(&self) {
        self.route.stop.cancel();
    }
}

impl fmt::Debug for Exchange {
    /// Without what was said.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange").finish_non_exhaustive()
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.route.mailbox.close();
        self.route.stop.cancel();
    }
}

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
    pub(super) route: Arc<Route>,
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
            return self.route.deliver(Event::Ended(Outcome::Failed(error)));
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
) -> (Exchange, Box<Job>, oneshot::Receiver<Result<(), NotBegun>>) {
    let route = Arc::new(Route {
        mailbox: Mailbox::new(buffer_bytes),
        stop: CancellationToken::new(),
    });
    let (started, begun) = oneshot::channel();
    let job = Job {
        plan,
        route: Arc::clone(&route),
        started: Some(started),
        _lease: lease,
        _in_flight: in_flight,
    };
    (Exchange { route }, Box::new(job), begun)
}
