//! Keeps the threads of answered conversations, so that the next turn goes on there: one prompt cache, and no history twice.

use std::collections::{HashMap, HashSet, VecDeque};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::conversation::{Conversation, Digest, Recorder, Rest};
use super::workspace::Workspace;
use crate::codex::config_stamp::ConfigStamp;
use crate::codex::{Event, Item, Mode, Part, Role};

/// Limits of kept threads of one worker, which keeps as many as it runs turns: each takes it one to two megabytes.
const MOST: RangeInclusive<usize> = 32..=256;

/// Limit of kept threads of agents: each has processes of its own, the operator's MCP servers.
const MOST_AGENTS: usize = 8;

/// Limit in bytes of all conversations in kept threads of one worker.
const MOST_BYTES: usize = 64 << 20;

/// How long a thread is kept. Providers keep the prompt of an idle conversation for five to ten minutes.
const LONGEST: Duration = Duration::from_secs(600);

/// How long a turn waits for the turn before it, whose answer is complete, to leave its thread.
const PATIENCE: Duration = Duration::from_secs(1);

/// The kept threads of one worker.
#[derive(Debug)]
pub(super) struct KeptThreads {
    list: Mutex<List>,
    settled: Notify,
    most: usize,
}

#[derive(Debug, Default)]
struct List {
    /// The longest kept first.
    kept: VecDeque<Kept>,
    /// Conversations whose answer is complete, and whose turn has not left its thread yet.
    expected: Vec<Digest>,
}

/// A thread that is kept.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) digest: Digest,
    pub(super) thread: String,
    /// The key of the provider's cache, if the thread is a fork. Any other's is its own id.
    pub(super) forked_with: Option<String>,
    /// The open turn, if Codex waits for the outputs of calls.
    pub(super) open: Option<OpenTurn>,
    pub(super) stamp: ConfigStamp,
    /// The size of the conversation.
    pub(super) bytes: usize,
    /// The workspace, if the thread is an agent's. Its folder is deleted until the next turn.
    pub(super) workspace: Option<Workspace>,
    /// Whether the last turn named an effort: the thread has it for all later turns that name none.
    pub(super) has_effort: bool,
    /// Whether the conversation has gone on in the thread before. Most threads that are used once are never used again.
    pub(super) went_on: bool,
    pub(super) since: Instant,
}

/// A turn that goes on once the outputs of its calls are there.
#[derive(Debug)]
pub(super) struct OpenTurn {
    pub(super) id: String,
    /// Codex's requests for the outputs, in the order of the calls.
    pub(super) requests: Vec<Value>,
    /// See [`Conversation::options`].
    pub(super) options: Digest,
    /// Cancelled when Codex has ended the turn meanwhile.
    pub(super) ended: CancellationToken,
}

/// A kept thread on which a conversation goes on.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) kept: Kept,
    /// The index of the first item of the history that the thread does not have.
    pub(super) from: usize,
}

impl KeptThreads {
    /// The threads of a worker that runs this many turns at once: none yet.
    pub(super) fn new(mode: Mode, turns: usize) -> Arc<Self> {
        let most = match mode {
            Mode::Chat => turns.clamp(*MOST.start(), *MOST.end()),
            Mode::Agent(_) => turns.clamp(1, MOST_AGENTS),
        };
        Arc::new(Self {
            list: Mutex::default(),
            settled: Notify::new(),
            most,
        })
    }

    /// Announces that the thread of this conversation may be kept in a moment.
    pub(super) fn expect(&self, digest: Digest) {
        self.list.lock().expected.push(digest);
    }

    /// Keeps the thread of an announced conversation, or withdraws the announcement. Returns threads that are kept no longer.
    pub(super) fn settle(&self, digest: Digest, kept: Option<Kept>) -> Vec<Kept> {
        let mut list = self.list.lock();
        if let Some(at) = list.expected.iter().position(|other| *other == digest) {
            list.expected.swap_remove(at);
        }
        let mut gone = Vec::new();
        if let Some(kept) = kept {
            gone.extend(list.remove(|other| other.digest == kept.digest));
            list.kept.push_back(kept);
            while list.is_over(self.most) {
                gone.extend(list.give_way());
            }
        }
        drop(list);
        self.settled.notify_waiters();
        gone
    }

    /// Whether a thread of this conversation is kept, or may be in a moment.
    pub(super) fn has(&self, conversation: &Conversation) -> bool {
        let list = self.list.lock();
        let mut kept = list.kept.iter().map(|kept| &kept.digest);
        kept.any(|digest| conversation.includes(digest)) || list.expects(conversation)
    }

    /// Takes the thread that has most of the conversation. Cancel-safe.
    pub(super) async fn take(
        &self,
        conversation: &Conversation,
        history: &[Item],
        now: ConfigStamp,
    ) -> Option<Found> {
        let settled = async {
            loop {
                let settled = self.settled.notified();
                if !self.list.lock().expects(conversation) {
                    return;
                }
                settled.await;
            }
        };
        let _ = tokio::time::timeout(PATIENCE, settled).await;
        let mut list = self.list.lock();
        conversation
            .answers
            .iter()
            .rev()
            .find_map(|(from, digest)| {
                let kept = list.remove(|kept| {
                    kept.digest == *digest
                        && kept.is_good(now)
                        && kept.can_go_on(conversation, history, *from)
                })?;
                Some(Found { kept, from: *from })
            })
    }

    /// Keeps a thread again that was taken and not used.
    pub(super) fn put_back(&self, kept: Kept) {
        self.list.lock().kept.push_front(kept);
    }

    /// Returns the threads that are out of date, or have been kept too long.
    pub(super) fn tidy(&self, now: ConfigStamp) -> Vec<Kept> {
        let mut list = self.list.lock();
        let (good, gone) = std::mem::take(&mut list.kept)
            .into_iter()
            .partition(|kept| kept.is_good(now));
        list.kept = good;
        Vec::from(gone)
    }
}

/// Announces, before the reader learns of it, that a conversation has come to a rest: its next turn may begin at once.
#[derive(Debug)]
pub(super) struct Announcer {
    recorder: Recorder,
    threads: Arc<KeptThreads>,
    announced: Vec<Digest>,
}

impl Announcer {
    pub(super) fn new(recorder: Recorder, threads: Arc<KeptThreads>) -> Self {
        Self {
            recorder,
            threads,
            announced: Vec::new(),
        }
    }

    /// Takes an event of the turn.
    pub(super) fn hear(&mut self, event: &Event) {
        if let Some(digest) = self.recorder.hear(event) {
            self.threads.expect(digest);
            self.announced.push(digest);
        }
    }

    /// See [`Recorder::rest`].
    pub(super) fn rest(&self) -> Option<(Digest, Rest)> {
        self.recorder.rest()
    }

    /// The conversations that were announced since the last call: each is to be settled.
    pub(super) fn announced(&mut self) -> Vec<Digest> {
        std::mem::take(&mut self.announced)
    }
}

impl List {
    fn expects(&self, conversation: &Conversation) -> bool {
        self.expected.iter().any(|one| conversation.includes(one))
    }

    fn remove(&mut self, is: impl Fn(&Kept) -> bool) -> Option<Kept> {
        let at = self.kept.iter().position(is)?;
        self.kept.remove(at)
    }

    fn is_over(&self, most: usize) -> bool {
        let bytes: usize = self.kept.iter().map(|kept| kept.bytes).sum();
        self.kept.len() > most || bytes > MOST_BYTES
    }

    /// Gives up the thread that is needed least: the longest kept of those that were used once, else of all.
    fn give_way(&mut self) -> Option<Kept> {
        let (last, before) = (self.kept.len().saturating_sub(1), &self.kept);
        let once = before
            .iter()
            .take(last)
            .position(|kept| !kept.went_on && kept.open.is_none());
        self.kept.remove(once.unwrap_or_default())
    }
}

impl Kept {
    fn is_good(&self, now: ConfigStamp) -> bool {
        let is_over = |open: &OpenTurn| open.ended.is_cancelled();
        self.stamp == now
            && self.since.elapsed() < LONGEST
            && !self.open.as_ref().is_some_and(is_over)
    }

    /// Whether the history after its first `from` items is all that the thread needs to go on.
    fn can_go_on(&self, conversation: &Conversation, history: &[Item], from: usize) -> bool {
        let Some(open) = &self.open else {
            let new = history.get(from..).unwrap_or_default();
            let is_reset = self.has_effort && !conversation.has_effort;
            let is_unseen = self.forked_with.is_some() && has_images(new);
            return !is_reset && !is_unseen && has_calls(new);
        };
        let outputs = outputs(history, from);
        open.options == conversation.options
            && outputs.is_some_and(|outputs| outputs.len() == open.requests.len())
    }
}

/// Whether there is an image: Codex may replace it by a sentence, and reports that in raw events only.
pub(super) fn has_images(items: &[Item]) -> bool {
    let mut parts = items.iter().flat_map(|item| match item {
        Item::Message { parts, .. } | Item::CallOutput { parts, .. } => parts.as_slice(),
        Item::Call { .. } => &[],
    });
    parts.any(|part| matches!(part, Part::Image { .. }))
}

/// Whether the call of each output is among the items: the ids of earlier calls are others in the thread.
fn has_calls(items: &[Item]) -> bool {
    let mut calls = HashSet::new();
    items.iter().all(|item| match item {
        Item::Call { id, .. } => {
            calls.insert(id);
            true
        }
        Item::CallOutput { id, .. } => calls.contains(id),
        Item::Message { .. } => true,
    })
}

/// The outputs of the calls just before `from`, in the order of the calls, if the rest of the history is those and nothing else.
/// Pictures are not among them: the answer to a call has no place for their detail.
pub(super) fn outputs(history: &[Item], from: usize) -> Option<Vec<Vec<&str>>> {
    let (before, after) = history.split_at_checked(from)?;
    let mut calls: Vec<&str> = Vec::new();
    for item in before.iter().rev() {
        match item {
            Item::Call { id, .. } => calls.push(id),
            Item::Message {
                role: Role::Assistant,
                ..
            } => {}
            Item::Message { .. } | Item::CallOutput { .. } => break,
        }
    }
    let mut outputs: HashMap<&str, &[Part]> = HashMap::new();
    for item in after {
        let Item::CallOutput { id, parts } = item else {
            return None;
        };
        outputs.insert(id, parts);
    }
    let output = |call: &str| {
        let parts = outputs.get(call)?;
        let texts: Option<Vec<&str>> = parts.iter().map(text_of).collect();
        texts.filter(|texts| !texts.is_empty())
    };
    (after.len() == calls.len())
        .then(|| calls.into_iter().rev().map(output).collect())
        .flatten()
}

fn text_of(part: &Part) -> Option<&str> {
    match part {
        Part::Text(text) => (!text.is_empty()).then_some(text),
        Part::Image { .. } => None,
    }
}

#[cfg(test)]
mod tests;
