//! Goes on in the thread where a conversation was before, and keeps the thread of a turn for the next one.

use std::time::Instant;

use serde::de::IgnoredAny;

use super::{Begun, Left, Task};
use crate::codex::app_server::conversation::{Digest, Rest};
use crate::codex::app_server::kept::{self, Found, Kept, OpenTurn};
use crate::codex::app_server::protocol::{self, Thread};
use crate::codex::app_server::threads::Description;
use crate::codex::config_stamp::ConfigStamp;
use crate::codex::{Error, Plan};

impl Task {
    /// Finds the thread where the conversation was before.
    pub(super) async fn find(&self, plan: &Plan, stamp: ConfigStamp) -> Option<Found> {
        let conversation = self.conversation.as_ref()?;
        let threads = &self.lease.threads.kept;
        let found = threads.take(conversation, &plan.history, stamp).await?;
        if self.route.delivery.stop.is_cancelled() {
            // The client has gone: it may come back.
            threads.put_back(found.kept);
            return None;
        }
        Some(found)
    }

    /// Goes on in the thread where the conversation was before.
    pub(super) async fn go_on(&mut self, found: Found, plan: &Plan) -> Begun {
        let Found { kept, from } = found;
        if let Some(mut workspace) = kept.workspace {
            workspace.restore().map_err(|error| lost(&error))?;
            self.enter(workspace);
        }
        if let Some(key) = &kept.forked_with {
            self.lease.keys().used(key);
        }
        self.set_fork(kept.forked_with);
        let Some(open) = kept.open else {
            let new = plan.history.get(from..).unwrap_or_default();
            return self.begin(&kept.thread, plan, new).await;
        };
        self.register(&kept.thread, plan)?;
        if open.ended.is_cancelled() {
            // The new route did not learn of the turn's end.
            return Err(lost(&"the turn has ended"));
        }
        // Not before: another thread's turn could not be followed by this route any more.
        self.route.go_on(open.id.clone());
        let outputs = kept::outputs(&plan.history, from).unwrap_or_default();
        self.connection
            .answer_calls(open.requests.into_iter().zip(outputs))
            .await;
        Ok(Some(open.id))
    }

    /// The key of the provider's cache for the turn's new thread, if it gets another's: that of the conversation, whose thread was
    /// lost with its worker or has gone on elsewhere, or that of conversations that begin alike. None if the turn needs raw
    /// events, which Codex does not report of a fork: a client's functions are called in them.
    fn key(&self, plan: &Plan) -> Option<String> {
        let conversation = self.conversation.as_ref()?;
        if !plan.tools.is_empty() || kept::has_images(&plan.history) {
            return None;
        }
        let keys = self.lease.keys();
        let known = keys.find(conversation).inspect(|key| keys.used(key));
        known.or_else(|| {
            conversation
                .group
                .as_ref()
                .map(|group| keys.of_group(group))
        })
    }

    /// Begins the turn in a new thread with a key of the provider's cache that is not its own. None if it needs no such key.
    /// `usual` is the kind of thread without a key, absent for agents.
    pub(super) async fn fork(
        &mut self,
        usual: Option<&Description>,
        plan: &Plan,
    ) -> Result<Option<(String, Begun)>, Error> {
        let Some((usual, key)) = usual.zip(self.key(plan)) else {
            return Ok(None);
        };
        let description = usual.with_key(key.clone());
        let thread = match self.lease.threads.open(&description).await {
            Ok(opened) => opened.thread,
            // An older Codex may not have it.
            Err(Error::Rpc { .. } | Error::Unavailable(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        self.set_fork(Some(key));
        let begun = self.begin(&thread, plan, &plan.history).await;
        Ok(Some((thread, begun)))
    }

    pub(super) fn set_fork(&mut self, forked_with: Option<String>) {
        self.route.set_fork(forked_with.is_some());
        self.forked_with = forked_with;
    }

    /// Leaves the thread. Returns it if the next turn of the conversation may go on in it.
    pub(super) async fn leave(
        &mut self,
        thread: &str,
        left: Left,
        stamp: ConfigStamp,
    ) -> Option<Kept> {
        let conversation = self.conversation.as_ref()?;
        let (digest, open) = self.rest(left)?;
        if self.workspace.is_some() {
            self.end_commands(thread).await?;
        }
        let workspace = match self.workspace.take() {
            Some(mut workspace) => {
                workspace.clear().await;
                Some(workspace)
            }
            None => None,
        };
        // The route of an open turn stays: it learns of the turn's end.
        if open.is_none() {
            self.connection.unregister(thread);
        }
        let key = self.forked_with.as_deref().unwrap_or(thread);
        self.lease.keys().remember(digest, key.to_owned());
        Some(Kept {
            digest,
            thread: thread.to_owned(),
            forked_with: self.forked_with.clone(),
            open,
            stamp,
            bytes: conversation.bytes,
            workspace,
            has_effort: conversation.has_effort,
            went_on: self.went_on,
            since: Instant::now(),
        })
    }

    /// The conversation at its rest, and its turn if Codex waits for the outputs of calls.
    fn rest(&self, left: Left) -> Option<(Digest, Option<OpenTurn>)> {
        match (left, self.route.rest()?) {
            (Left::Open(open), (digest, Rest::Calls(_))) => Some((digest, Some(open))),
            (Left::Over, (digest, Rest::Idle)) => Some((digest, None)),
            (Left::Open(_), (_, Rest::Idle)) | (Left::Over, (_, Rest::Calls(_))) => None,
        }
    }

    /// Ends the commands that an agent has left running. None if that is not certain: an older Codex ends them only with the thread.
    async fn end_commands(&self, thread: &str) -> Option<()> {
        let params = Thread { thread_id: thread };
        let ended = self
            .connection
            .call::<_, IgnoredAny>(protocol::END_COMMANDS, &params);
        ended.await.ok().map(drop)
    }

    /// Keeps the thread of the conversation that was announced, if there is one; withdraws all other announcements.
    pub(super) fn settle(&self, mut kept: Option<Kept>) {
        let threads = &self.lease.threads;
        for digest in self.route.announced() {
            let of_digest = kept.take_if(|kept| kept.digest == digest);
            threads.close_kept(threads.kept.settle(digest, of_digest));
        }
        threads.close_kept(kept.into_iter().collect());
    }
}

/// The error for a kept thread in which the conversation cannot go on: a new one is opened.
fn lost(why: &dyn std::fmt::Display) -> Error {
    Error::Rpc {
        method: protocol::TURN_START,
        code: protocol::INVALID_REQUEST,
        message: why.to_string(),
    }
}
