//! Runs one turn on a worker: opens a thread, injects the history, follows the turn, and gives thread and lease back.

use std::sync::Arc;
use std::time::Duration;

use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use tokio::sync::oneshot;

use super::decode::Decoder;
use super::pool::Lease;
use super::protocol::{self, InjectItems, TurnInterrupt, TurnStart, TurnStarted};
use super::route::Route;
use super::rpc::Connection;
use super::threads::{self, Opened, Threads};
use super::tool_schema;
use super::workspace::{PROFILE, Workspace};
use crate::codex::turn_channel::TurnReceiver;
use crate::codex::{Error, Event, Plan, TurnOutcome};

/// How long an interrupted turn may take to end before it is interrupted again.
const INTERRUPT_PATIENCE: Duration = Duration::from_millis(200);

/// How long to wait for the end of an interrupted turn before it is abandoned.
const INTERRUPT_LIMIT: Duration = Duration::from_secs(3);

/// The id of a turn that has begun; `None` for one that was cancelled, or had failed, before it could begin.
type Begun = Result<Option<String>, Error>;

/// The worker's end of a turn: it lives until thread and lease are given back, even if the reader is dropped before.
#[derive(Debug)]
pub(super) struct Task {
    connection: Arc<Connection>,
    route: Arc<Route>,
    /// The workspace, if the turn is an agent's.
    workspace: Option<Workspace>,
    lease: Lease,
}

/// A new turn: its reader's end, and the task to spawn for it.
pub(super) fn prepare(
    lease: Lease,
    (plan, workspace): (&Plan, Option<Workspace>),
    buffer_bytes: usize,
) -> (TurnReceiver, Task) {
    let decoder = match &workspace {
        Some(workspace) => Decoder::agent(&plan.tools, workspace.cwd()),
        None => Decoder::default(),
    };
    let (exchange, delivery) = TurnReceiver::new(buffer_bytes);
    let task = Task {
        connection: Arc::clone(&lease.threads.connection),
        route: Arc::new(Route::new(decoder, delivery)),
        workspace,
        lease,
    };
    (exchange, task)
}

/// The kind of thread that a turn used, and the threads of its worker.
#[derive(Debug)]
pub(super) struct UsedThread {
    threads: Arc<Threads>,
    params: Box<RawValue>,
}

impl UsedThread {
    /// Prepares a thread of this kind for the next turn.
    pub(super) async fn prepare(self) {
        self.threads.prepare(&self.params, false).await;
    }
}

impl Task {
    /// Runs the turn, from the start of its thread to its end. `started` receives the result of the start. Returns the kind
    /// of thread it used, if the next turn may need the same; not for an agent, whose thread has its own folder.
    pub(super) async fn run(
        mut self,
        plan: Plan,
        started: oneshot::Sender<Result<(), Error>>,
    ) -> Option<UsedThread> {
        let kind = match threads::describe(&plan, self.workspace.as_ref()) {
            Ok(params) => self.work(params, plan, started).await,
            Err(error) => {
                let _ = started.send(Err(error));
                None
            }
        };
        // The thread is closed, and its commands have ended with it.
        match self.workspace.take() {
            Some(workspace) => {
                workspace.clear().await;
                None
            }
            None => kind,
        }
    }

    async fn work(
        &self,
        params: Box<RawValue>,
        plan: Plan,
        started: oneshot::Sender<Result<(), Error>>,
    ) -> Option<UsedThread> {
        let threads = Arc::clone(&self.lease.threads);
        let (thread, begun) = match self.open(&params, &plan).await {
            Ok(opened) => opened,
            Err(error) => {
                let _ = started.send(Err(tool_schema::blame(error)));
                return None;
            }
        };
        drop(plan);
        if begun.is_err() {
            self.route.delivery.stop.cancel();
        }
        let turn = begun.as_ref().ok().cloned().flatten();
        let _ = started.send(begun.map(drop));
        self.follow(&thread, turn).await;
        self.connection.unregister(&thread);
        threads.close(&thread).await;
        Some(UsedThread { threads, params })
    }

    /// Opens a thread and begins the turn on it. Returns the thread, and why the turn did not begin if it did not.
    async fn open(&self, params: &RawValue, plan: &Plan) -> Result<(String, Begun), Error> {
        let Opened { thread, was_ready } = self.open_thread(params).await?;
        let begun = self.begin(&thread, plan).await;
        if !(was_ready && matches!(begun, Err(Error::Rpc { .. }))) {
            return Ok((thread, begun));
        }
        // Nothing has been sent upstream yet: a new thread may succeed where this one failed.
        let threads = &self.lease.threads;
        self.connection.unregister(&thread);
        threads.close(&thread).await;
        let thread = threads.start(params).await?.thread.id;
        let begun = self.begin(&thread, plan).await;
        Ok((thread, begun))
    }

    async fn open_thread(&self, params: &RawValue) -> Result<Opened, Error> {
        let threads = &self.lease.threads;
        let Some(workspace) = &self.workspace else {
            return threads.open(params).await;
        };
        let started = threads.start(params).await?;
        let thread = started.thread.id;
        let profile = started.active_permission_profile;
        if workspace.is_sandboxed() && profile.is_none_or(|profile| profile.id != PROFILE) {
            threads.close(&thread).await;
            return Err(Error::Unavailable(
                "this version of Codex does not restrict an agent's commands as it is told"
                    .to_owned(),
            ));
        }
        Ok(Opened {
            thread,
            was_ready: false,
        })
    }

    /// Injects the history, starts the turn, and returns its id.
    async fn begin(&self, thread: &str, plan: &Plan) -> Begun {
        self.connection.register(thread, Arc::clone(&self.route))?;
        if !plan.history.is_empty() {
            let items = InjectItems::new(thread, &plan.history);
            self.connection
                .call::<_, IgnoredAny>(protocol::INJECT_ITEMS, &items)
                .await?;
        }
        if self.route.delivery.stop.is_cancelled() {
            // The turn was cancelled, or has failed already and its reader has the reason.
            return Ok(None);
        }
        let started: TurnStarted = self
            .connection
            .call(protocol::TURN_START, &TurnStart::new(thread, plan))
            .await?;
        Ok(Some(started.turn.id))
    }

    /// Waits for the turn's end; interrupts it if it is to stop.
    async fn follow(&self, thread: &str, turn: Option<String>) {
        loop {
            tokio::select! {
                () = self.route.ended.cancelled() => return,
                () = self.route.delivery.stop.cancelled() => break,
                calls = self.route.calls.stalled() => self.connection.give_up_calls(calls),
            }
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
        self.route
            .delivery
            .deliver(Event::Ended(TurnOutcome::Interrupted));
    }

    /// Repeats the interrupt until the turn ends: Codex refuses it while the turn is only about to begin.
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
}

#[cfg(any(test, fuzzing))]
pub(super) mod replay;
#[cfg(test)]
mod tests;
