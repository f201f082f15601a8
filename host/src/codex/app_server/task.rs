//! Runs one turn on a worker: opens a thread, injects the history, follows the turn, and gives thread and lease back.

mod keep;

use std::sync::Arc;
use std::time::Duration;

use serde::de::IgnoredAny;
use serde_json::Value;
use tokio::sync::oneshot;

use super::conversation::{Conversation, Recorder, Rest};
use super::decode::Decoder;
use super::kept::{Announcer, OpenTurn};
use super::pool::Lease;
use super::protocol::{self, InjectItems, TurnInterrupt, TurnStart, TurnStarted};
use super::route::Route;
use super::rpc::Connection;
use super::threads::{Description, Opened, Threads};
use super::tool_schema;
use super::workspace::{PROFILE, Workspace, WorkspaceRoot};
use crate::codex::config_stamp::ConfigStamp;
use crate::codex::turn_channel::TurnReceiver;
use crate::codex::{Error, Event, Item, Plan, TurnOutcome};

/// How long an interrupted turn may take to end before it is interrupted again.
const INTERRUPT_PATIENCE: Duration = Duration::from_millis(200);

/// How long to wait for the end of an interrupted turn before it is abandoned.
const INTERRUPT_LIMIT: Duration = Duration::from_secs(3);

/// How long Codex may take to ask for the outputs of calls whose response is complete.
const CALL_PATIENCE: Duration = Duration::from_millis(250);

/// The id of a turn that has begun; `None` for one that was cancelled, or had failed, before it could begin.
type Begun = Result<Option<String>, Error>;

/// The worker's end of a turn: it lives until thread and lease are given back, even if the reader is dropped before.
#[derive(Debug)]
pub(super) struct Task {
    connection: Arc<Connection>,
    route: Arc<Route>,
    /// The root of the agents' workspaces, if the turn is an agent's.
    site: Option<Arc<WorkspaceRoot>>,
    /// An agent's workspace, once the turn has a thread.
    workspace: Option<Workspace>,
    /// The conversation, if the next turn may go on in the same thread.
    conversation: Option<Conversation>,
    /// Whether the turn runs in the thread where the conversation was before.
    went_on: bool,
    /// See [`Kept::forked_with`].
    ///
    /// [`Kept::forked_with`]: super::kept::Kept::forked_with
    forked_with: Option<String>,
    lease: Lease,
}

/// The place where a turn runs: where its conversation was before, or anew.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) conversation: Option<Conversation>,
    /// The root of the agents' workspaces, if the turn is an agent's.
    pub(super) site: Option<Arc<WorkspaceRoot>>,
}

/// A new turn: its reader's end, and the task to spawn for it.
pub(super) fn prepare(
    lease: Lease,
    plan: &Plan,
    place: Place,
    buffer_bytes: usize,
) -> (TurnReceiver, Task) {
    let Place { conversation, site } = place;
    let decoder = match &site {
        Some(_) => Decoder::agent(&plan.tools),
        None => Decoder::default(),
    };
    let (exchange, delivery) = TurnReceiver::new(buffer_bytes);
    let recorder = conversation.as_ref();
    let recorder = recorder.and_then(|conversation| Recorder::new(conversation, &plan.tools));
    let kept = &lease.threads.kept;
    let announcer = recorder.map(|recorder| Announcer::new(recorder, Arc::clone(kept)));
    let task = Task {
        connection: Arc::clone(&lease.threads.connection),
        route: Arc::new(Route::new(decoder, delivery, announcer)),
        site,
        workspace: None,
        conversation,
        went_on: false,
        forked_with: None,
        lease,
    };
    (exchange, task)
}

/// How a turn left its thread.
#[derive(Debug)]
enum Left {
    /// Codex has ended it, or was told to.
    Over,
    /// Codex waits for the outputs of its calls.
    Open(OpenTurn),
}

/// The kind of thread that a turn used, and the threads of its worker.
#[derive(Debug)]
pub(super) struct UsedThread {
    threads: Arc<Threads>,
    description: Description,
}

impl UsedThread {
    /// Prepares a thread of this kind for the next turn.
    pub(super) async fn prepare(self) {
        self.threads.prepare(&self.description, false).await;
    }
}

impl Task {
    /// Runs the turn, from the start of its thread to its end. `started` receives the result of the start. Returns the kind
    /// of thread it used, if the next turn may need the same; not for an agent, whose thread has its own folder.
    pub(super) async fn run(
        mut self,
        plan: Arc<Plan>,
        started: oneshot::Sender<Result<(), Error>>,
    ) -> Option<UsedThread> {
        let kind = self.work(plan, started).await;
        self.settle(None);
        // The thread of an agent is closed, and its commands have ended with it.
        if let Some(mut workspace) = self.workspace.take() {
            workspace.clear().await;
        }
        kind
    }

    async fn work(
        &mut self,
        plan: Arc<Plan>,
        started: oneshot::Sender<Result<(), Error>>,
    ) -> Option<UsedThread> {
        let threads = Arc::clone(&self.lease.threads);
        let stamp = threads.stamp();
        let opened = async {
            let usual = match &self.site {
                None => Some(Description::new(&plan, None)?),
                Some(_) => None,
            };
            let (thread, begun) = self.open(usual.as_ref(), &plan, stamp).await?;
            Ok((usual, thread, begun))
        };
        let (usual, thread, begun) = match opened.await {
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
        let left = self.follow(&thread, turn).await;
        match self.leave(&thread, left, stamp).await {
            Some(kept) => self.settle(Some(kept)),
            None => self.give_up(&thread).await,
        }
        usual.map(|usual| UsedThread {
            threads,
            description: match self.forked_with.take() {
                Some(key) => usual.with_key(key),
                None => usual,
            },
        })
    }

    /// Opens a thread and begins the turn on it. Returns the thread, and why the turn did not begin if it did not. `usual` is
    /// the kind of thread, if other turns may need the same.
    async fn open(
        &mut self,
        usual: Option<&Description>,
        plan: &Plan,
        stamp: ConfigStamp,
    ) -> Result<(String, Begun), Error> {
        // A thread that was kept or ready may be lost. As long as nothing has been sent upstream, another may succeed.
        let is_lost = |begun: &Begun| matches!(begun, Err(Error::Rpc { .. }));
        if let Some(found) = self.find(plan, stamp).await {
            let thread = found.kept.thread.clone();
            let begun = self.go_on(found, plan).await;
            if !is_lost(&begun) {
                self.lease.went_on();
                self.went_on = true;
                return Ok((thread, begun));
            }
            self.give_up(&thread).await;
        }
        if let Some((thread, begun)) = self.fork(usual, plan).await? {
            if !is_lost(&begun) {
                return Ok((thread, begun));
            }
            self.give_up(&thread).await;
        }
        self.set_fork(None);
        let own;
        let description = match usual {
            Some(usual) => usual,
            None => {
                own = self.describe(plan)?;
                &own
            }
        };
        let Opened { thread, was_ready } = self.open_thread(description).await?;
        let begun = self.begin(&thread, plan, &plan.history).await;
        if !(was_ready && is_lost(&begun)) {
            return Ok((thread, begun));
        }
        self.give_up(&thread).await;
        let thread = self.lease.threads.start(description).await?.thread.id;
        let begun = self.begin(&thread, plan, &plan.history).await;
        Ok((thread, begun))
    }

    /// The kind of thread that an agent's turn needs: it has a workspace of its own.
    fn describe(&mut self, plan: &Plan) -> Result<Description, Error> {
        if let (Some(site), None) = (&self.site, &self.workspace) {
            let workspace = site.prepare(plan)?;
            self.enter(workspace);
        }
        Description::new(plan, self.workspace.as_ref())
    }

    fn enter(&mut self, workspace: Workspace) {
        self.route.works_in(workspace.cwd());
        self.workspace = Some(workspace);
    }

    /// Delivers the thread's notifications to this turn from now on.
    fn register(&self, thread: &str, plan: &Plan) -> Result<(), Error> {
        self.connection.tap.works_for(Some(thread), &plan.request);
        self.connection.register(thread, Arc::clone(&self.route))
    }

    /// Closes a thread that no other turn will use.
    async fn give_up(&self, thread: &str) {
        self.connection.unregister(thread);
        self.lease.threads.close(thread).await;
    }

    async fn open_thread(&self, description: &Description) -> Result<Opened, Error> {
        let threads = &self.lease.threads;
        let Some(workspace) = &self.workspace else {
            return threads.open(description).await;
        };
        let started = threads.start(description).await?;
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

    /// Injects what the thread does not have of the history, starts the turn, and returns its id.
    async fn begin(&self, thread: &str, plan: &Plan, new: &[Item]) -> Begun {
        self.register(thread, plan)?;
        let stop = &self.route.delivery.stop;
        let mut parts = InjectItems::parts(thread, new);
        while !stop.is_cancelled()
            && let Some(items) = parts.next()
        {
            self.connection
                .call::<_, IgnoredAny>(protocol::INJECT_ITEMS, &items)
                .await?;
        }
        if stop.is_cancelled() {
            // The turn was cancelled, or has failed already and its reader has the reason.
            return Ok(None);
        }
        let started: TurnStarted = self
            .connection
            .call(
                protocol::TURN_START,
                &TurnStart::new(thread, plan, self.forked_with.is_some()),
            )
            .await?;
        Ok(Some(started.turn.id))
    }

    /// Waits for the turn's end; if it is to stop, interrupts it, unless Codex only waits for outputs that the client may send.
    async fn follow(&self, thread: &str, turn: Option<String>) -> Left {
        loop {
            tokio::select! {
                () = self.route.ended.cancelled() => return Left::Over,
                () = self.route.delivery.stop.cancelled() => break,
                calls = self.route.calls.stalled() => self.connection.give_up_calls(calls),
            }
        }
        let Some(turn) = turn.or_else(|| self.route.turn_id()) else {
            return Left::Over;
        };
        // Not an agent's: its commands would run on, and no client would see them.
        if self.site.is_none()
            && let Some(requests) = self.waits_for_outputs().await
            && let Some(conversation) = &self.conversation
        {
            return Left::Open(OpenTurn {
                id: turn,
                requests,
                options: conversation.options,
                ended: self.route.ended.clone(),
            });
        }
        if tokio::time::timeout(INTERRUPT_LIMIT, self.interrupt(thread, &turn))
            .await
            .is_err()
        {
            tracing::warn!(thread, turn, "Codex does not end an interrupted turn");
        }
        self.route
            .delivery
            .deliver(Event::Ended(TurnOutcome::Interrupted));
        Left::Over
    }

    /// Codex's requests for the outputs of the calls, in the order of the calls, if it has nothing else to do.
    async fn waits_for_outputs(&self) -> Option<Vec<Value>> {
        let Some((_, Rest::Calls(calls))) = self.route.rest() else {
            return None;
        };
        let asked = tokio::time::timeout(CALL_PATIENCE, self.route.calls.of(&calls));
        let requests = asked.await.ok()?;
        (!self.route.ended.is_cancelled()).then_some(requests)
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
