//! One turn on a worker: a thread of its own, the history, the turn, and giving everything back.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::de::IgnoredAny;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio_util::sync::CancellationToken;

use super::decode::Decoder;
use super::protocol::{
    self, InjectItems, Params, Thread, ThreadStart, ThreadStarted, TurnInterrupt, TurnStart,
    TurnStarted,
};
use super::rpc::Connection;
use super::schema;
use super::workplace::{PROFILE, Workplace};
use crate::codex::mailbox::{Mailbox, Pushed};
use crate::codex::{Error, Event, Outcome, Plan};

/// How long an interrupted turn may take to end before it is interrupted again.
const INTERRUPT_PATIENCE: Duration = Duration::from_millis(200);

/// How long a turn may resist before it is left to itself.
const INTERRUPT_LIMIT: Duration = Duration::from_secs(3);

/// Where the connection delivers one turn's notifications.
#[derive(Debug)]
pub(super) struct Route {
    decoder: Mutex<Decoder>,
    mailbox: Mailbox,
    /// The turn is unwanted: its reader asked for the end, has gone, or is too slow.
    stop: CancellationToken,
    /// Codex ended the turn, or can no longer.
    ended: CancellationToken,
}

impl Route {
    fn new(decoder: Decoder, buffer_bytes: usize) -> Self {
        Self {
            decoder: Mutex::new(decoder),
            mailbox: Mailbox::new(buffer_bytes),
            stop: CancellationToken::new(),
            ended: CancellationToken::new(),
        }
    }

    /// Takes one notification about the thread. Never waits.
    pub(super) fn accept(&self, method: &str, params: Params<'_>) {
        let mut decoder = self.decoder.lock().unwrap_or_else(PoisonError::into_inner);
        decoder.accept(method, params, &mut |event| self.deliver(event));
        if decoder.is_over() {
            self.ended.cancel();
        } else if decoder.is_given_up() {
            self.stop.cancel();
        }
    }

    /// Ends the turn from outside.
    pub(super) fn fail(&self, error: Error) {
        self.deliver(Event::Ended(Outcome::Failed(error)));
        self.ended.cancel();
    }

    fn deliver(&self, event: Event) {
        if self.mailbox.push(event) == Pushed::Overflowed {
            self.stop.cancel();
        }
    }

    fn turn_id(&self) -> Option<String> {
        let decoder = self.decoder.lock().unwrap_or_else(PoisonError::into_inner);
        decoder.turn_id().map(str::to_owned)
    }
}

/// The reader's end of a turn. Dropping it stops the turn; its task then cleans up.
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

/// The worker's end of a turn: lives until thread and lease are given back, whoever drops what.
#[derive(Debug)]
pub(super) struct Task {
    connection: Arc<Connection>,
    route: Arc<Route>,
    /// An agent's.
    workplace: Option<Workplace>,
    _lease: OwnedSemaphorePermit,
}

/// A turn to be: its reader's end, and the task to spawn for it.
pub(super) fn prepare(
    connection: Arc<Connection>,
    lease: OwnedSemaphorePermit,
    (plan, workplace): (&Plan, Option<Workplace>),
    buffer_bytes: usize,
) -> (Exchange, Task) {
    let decoder = match workplace {
        Some(_) => Decoder::agent(&plan.tools),
        None => Decoder::default(),
    };
    let route = Arc::new(Route::new(decoder, buffer_bytes));
    (
        Exchange {
            route: Arc::clone(&route),
        },
        Task {
            connection,
            route,
            workplace,
            _lease: lease,
        },
    )
}

impl Task {
    /// Runs the turn, from the birth of its thread to its end. `started` hears when Codex has begun.
    pub(super) async fn run(mut self, plan: Plan, started: oneshot::Sender<Result<(), Error>>) {
        match self.open(&plan).await {
            Ok(thread) => self.work(&thread, plan, started).await,
            Err(error) => {
                let _ = started.send(Err(schema::blame(error)));
            }
        }
        // The thread is closed, and its commands with it.
        if let Some(workplace) = self.workplace.take() {
            workplace.clear().await;
        }
    }

    /// A thread of its own: its id.
    async fn open(&self, plan: &Plan) -> Result<String, Error> {
        let workplace = self.workplace.as_ref();
        let params = ThreadStart::new(plan, workplace);
        let opened: ThreadStarted = self
            .connection
            .call(protocol::THREAD_START, &params)
            .await?;
        let profile = opened.active_permission_profile;
        if workplace.is_some_and(Workplace::is_sandboxed)
            && profile.is_none_or(|profile| profile.id != PROFILE)
        {
            self.close(&opened.thread.id).await;
            return Err(Error::Unavailable(
                "this version of Codex does not restrict an agent's commands as it is told"
                    .to_owned(),
            ));
        }
        Ok(opened.thread.id)
    }

    async fn work(&self, thread: &str, plan: Plan, started: oneshot::Sender<Result<(), Error>>) {
        let begun = self.begin(thread, &plan).await;
        drop(plan);
        if begun.is_err() {
            self.route.stop.cancel();
        }
        let turn = begun.as_ref().ok().cloned();
        let _ = started.send(begun.map(drop));
        self.follow(thread, turn).await;
        self.connection.unregister(thread);
        self.close(thread).await;
    }

    /// Injects the history and starts the turn, whose id it returns.
    async fn begin(&self, thread: &str, plan: &Plan) -> Result<String, Error> {
        self.connection.register(thread, Arc::clone(&self.route))?;
        if !plan.history.is_empty() {
            let items = InjectItems::new(thread, &plan.history);
            self.connection
                .call::<_, IgnoredAny>(protocol::INJECT_ITEMS, &items)
                .await?;
        }
        if self.route.stop.is_cancelled() {
            return Err(Error::Unavailable(
                "the turn was given up before it began".to_owned(),
            ));
        }
        let started: TurnStarted = self
            .connection
            .call(protocol::TURN_START, &TurnStart::new(thread, plan))
            .await?;
        Ok(started.turn.id)
    }

    /// Waits for the turn's end; brings it about if the turn is unwanted.
    async fn follow(&self, thread: &str, turn: Option<String>) {
        tokio::select! {
            () = self.route.ended.cancelled() => return,
            () = self.route.stop.cancelled() => {}
        }
        let Some(turn) = turn.or_else(|| self.route.turn_id()) else {
            return;
        };
        if tokio::time::timeout(INTERRUPT_LIMIT, self.interrupt(thread, &turn))
            .await
            .is_err()
        {
            tracing::warn!(thread, turn, "Codex does not end an interrupted turn");
        }
        self.route.deliver(Event::Ended(Outcome::Interrupted));
    }

    /// Interrupts until the turn ends: Codex refuses while the turn is only about to begin.
    async fn interrupt(&self, thread: &str, turn: &str) {
        let params = TurnInterrupt {
            thread_id: thread,
            turn_id: turn,
        };
        while !self.route.ended.is_cancelled() {
            if let Err(error) = self
                .connection
                .call::<_, IgnoredAny>(protocol::TURN_INTERRUPT, &params)
                .await
            {
                tracing::debug!(thread, turn, %error, "not interrupted");
            }
            let _ = tokio::time::timeout(INTERRUPT_PATIENCE, self.route.ended.cancelled()).await;
        }
    }

    async fn close(&self, thread: &str) {
        let params = Thread { thread_id: thread };
        if let Err(error) = self
            .connection
            .call::<_, IgnoredAny>(protocol::UNSUBSCRIBE, &params)
            .await
        {
            tracing::debug!(thread, %error, "not unsubscribed");
        }
    }
}

#[cfg(test)]
mod tests;
