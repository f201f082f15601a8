//! Recognises a conversation that goes on: digests of all that was said, the same whether Codex or the client reports it.

mod group;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use serde_json::Value;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use crate::codex::{Event, Item, Part, Plan, Role, Tool, TurnOutcome};

/// SHA-256 of a conversation up to the end of an answer.
pub(super) type Digest = [u8; 32];

/// Limit in bytes of a conversation that is recognised.
const LONGEST: usize = 8 << 20;

/// The bytes that an item counts beside its texts.
const ITEM: usize = 100;

/// From this many bytes on a conversation takes too long for the serving threads: a millisecond and more.
const LONG: usize = 256 * 1024;

/// Limit in bytes of arguments that are compared as JSON, not as text, and of blanks at the end of a text.
const LONGEST_DETAIL: usize = 256 * 1024;

/// The most answers of the history from which a conversation can go on: the latest ones.
const ANSWERS: usize = 8;

/// The conversation of one request.
#[derive(Debug, Clone)]
pub(super) struct Conversation {
    /// The index after each of the model's latest answers, with the digest of the conversation up to there; the last is the
    /// latest.
    pub(super) answers: VecDeque<(usize, Digest)>,
    /// The digest of the settings that hold for a whole turn.
    pub(super) options: Digest,
    /// Whether the request names an effort: Codex keeps it for later turns of the thread.
    pub(super) has_effort: bool,
    /// The digest of what it has in common with other conversations, if that is worth a common key of the provider's cache.
    pub(super) group: Option<Digest>,
    /// The size of the history and the tools.
    pub(super) bytes: usize,
    /// The whole history; absent if it ends with words of the model, which the next answer would only prolong.
    whole: Option<Sha256>,
}

impl Conversation {
    /// The conversation of a plan; none if it is very long. A long one is read on a thread for blocking work.
    pub(super) async fn read(plan: &Arc<Plan>) -> Option<Self> {
        if plan.history.iter().map(size).sum::<usize>() < LONG {
            return Self::of(plan);
        }
        let plan = Arc::clone(plan);
        let read = tokio::task::spawn_blocking(move || Self::of(&plan));
        read.await.ok().flatten()
    }

    /// See [`Conversation::read`].
    pub(super) fn of(plan: &Plan) -> Option<Self> {
        let mut bytes = plan.history.iter().map(size).sum();
        if bytes > LONGEST {
            return None;
        }
        let own = plan.history.len().saturating_sub(plan.closing);
        let (history, closing) = plan.history.split_at(own);
        let mut chain = kind(plan, closing, &mut bytes);
        let group = group::of(plan, history, &chain);
        let mut answers = VecDeque::new();
        let mut answer = Answer::default();
        // The place of each call of the last answer that made calls.
        let mut calls = HashMap::new();
        for (at, item) in history.iter().enumerate() {
            match item {
                Item::Message {
                    role: Role::Assistant,
                    parts,
                } => {
                    answer.text.end_message();
                    parts.iter().for_each(|part| answer.add_part(part));
                }
                Item::Call {
                    id,
                    name,
                    arguments,
                } => {
                    if answer.calls == 0 {
                        calls.clear();
                    }
                    calls.insert(id.as_str(), answer.calls);
                    answer.add_call(name, arguments);
                }
                Item::Message { .. } | Item::CallOutput { .. } => {
                    if !answer.is_empty() {
                        chain.end_answer(std::mem::take(&mut answer));
                        answers.push_back((at, chain.digest()));
                        if answers.len() > ANSWERS {
                            answers.pop_front();
                        }
                    }
                    chain.add_item(item, &calls);
                }
            }
        }
        Some(Self {
            answers,
            options: options(plan),
            has_effort: plan.effort.is_some(),
            group,
            bytes,
            whole: answer.is_empty().then_some(chain.0),
        })
    }

    /// Whether the conversation has gone on from the answer with this digest.
    pub(super) fn includes(&self, digest: &Digest) -> bool {
        self.answers.iter().any(|(_, answer)| answer == digest)
    }
}

fn size(item: &Item) -> usize {
    let of_parts = |parts: &[Part]| -> usize {
        let of_part = |part: &Part| match part {
            Part::Text(text) => text.len(),
            Part::Image { url, .. } => url.len(),
        };
        parts.iter().map(of_part).sum()
    };
    let texts = match item {
        Item::Message { parts, .. } | Item::CallOutput { parts, .. } => of_parts(parts),
        Item::Call {
            name, arguments, ..
        } => name.len() + arguments.len(),
    };
    ITEM + texts
}

/// A digest of the caller, and of the members that decide about a thread: all turns on it have the same. So have they the
/// gateway's instructions at the end of the history, which stay in the thread. Adds the size of the tools.
fn kind(plan: &Plan, closing: &[Item], bytes: &mut usize) -> Chain {
    let mut chain = Chain(Sha256::new());
    chain.add(&plan.caller);
    chain.add(&plan.model);
    for member in [&plan.provider, &plan.verbosity, &plan.service_tier] {
        chain.add(member.as_deref().unwrap_or_default());
    }
    for tool in &plan.tools {
        chain.add(&tool.name);
        chain.add(tool.description.as_deref().unwrap_or_default());
        let parameters = tool.parameters.to_string();
        *bytes += ITEM + parameters.len();
        chain.add(&parameters);
    }
    chain.add("end of the tools");
    for instruction in closing {
        chain.add_item(instruction, &HashMap::new());
    }
    chain
}

/// The settings that Codex takes at the start of a turn, and that hold until its end.
fn options(plan: &Plan) -> Digest {
    let mut chain = Chain(Sha256::new());
    chain.add(plan.effort.as_deref().unwrap_or_default());
    chain.add(plan.summary());
    let schema = plan.output_schema.as_ref().map(Value::to_string);
    chain.add(&schema.unwrap_or_default());
    chain.digest()
}

/// A digest of texts, each with its length, so that no two sequences have the same bytes.
#[derive(Debug, Clone)]
struct Chain(Sha256);

impl Chain {
    fn add(&mut self, text: &str) {
        self.0.update(text.len().to_le_bytes());
        self.0.update(text);
    }

    fn add_item(&mut self, item: &Item, calls: &HashMap<&str, usize>) {
        let parts = match item {
            Item::Message { role, parts } => {
                self.add(role.name());
                parts
            }
            // By its place among the calls, since ids may be mapped anew for each request.
            Item::CallOutput { id, parts } => {
                let place = calls.get(id.as_str());
                self.add("output");
                self.add(&place.map_or_else(|| id.clone(), |place| place.to_string()));
                parts
            }
            Item::Call { .. } => return,
        };
        self.0.update(parts.len().to_le_bytes());
        for part in parts {
            match part {
                Part::Text(text) => {
                    self.add("text");
                    self.add(text);
                }
                Part::Image { url, detail } => {
                    self.add("image");
                    self.add(url);
                    self.add(detail.as_deref().unwrap_or_default());
                }
            }
        }
    }

    fn end_answer(&mut self, answer: Answer) {
        self.add("answer");
        self.0.update(answer.text.hash.finalize());
        self.0.update(answer.calls.to_le_bytes());
        self.0.update(answer.call_hash.finalize());
    }

    fn digest(&self) -> Digest {
        self.0.clone().finalize().into()
    }
}

/// One answer of the model, text and calls. Clients may trim the text, and write the arguments' JSON anew.
#[derive(Debug, Clone, Default)]
struct Answer {
    text: Text,
    calls: usize,
    call_hash: Sha256,
    /// The bytes of arguments that were read as JSON.
    read: usize,
}

impl Answer {
    fn is_empty(&self) -> bool {
        !self.text.begun && self.calls == 0
    }

    fn add_part(&mut self, part: &Part) {
        match part {
            Part::Text(text) => self.text.add(text),
            Part::Image { url, .. } => self.text.add(url),
        }
    }

    fn add_call(&mut self, name: &str, arguments: &str) {
        self.calls += 1;
        self.read += arguments.len();
        let json = Some(arguments)
            .filter(|_| self.read <= LONGEST_DETAIL)
            .and_then(|text| serde_json::from_str::<Value>(text).ok())
            .map(|value| value.to_string());
        let mut chain = Chain(std::mem::take(&mut self.call_hash));
        chain.add(name);
        chain.add(json.as_deref().unwrap_or(arguments));
        self.call_hash = chain.0;
    }
}

/// A text without the blanks at its ends.
#[derive(Debug, Clone, Default)]
struct Text {
    hash: Sha256,
    begun: bool,
    /// Blanks that belong to the text only if more of it follows.
    blanks: String,
}

impl Text {
    fn add(&mut self, text: &str) {
        let text = if self.begun { text } else { text.trim_start() };
        let solid = text.trim_end();
        if !solid.is_empty() {
            self.begun = true;
            self.hash.update(std::mem::take(&mut self.blanks));
            self.hash.update(solid);
        }
        if self.blanks.len() <= LONGEST_DETAIL {
            self.blanks.extend(text.get(solid.len()..));
        }
    }

    /// The next text belongs to another message of the same answer: the client gets an empty line between both.
    fn end_message(&mut self) {
        if self.begun {
            self.blanks.push_str("\n\n");
        }
    }
}

/// Follows the answer of a turn, to recognise the conversation when it goes on.
#[derive(Debug)]
pub(super) struct Recorder {
    before: Chain,
    answer: Answer,
    /// The ids of the calls, in order.
    calls: Vec<String>,
    /// The names of the functions that the client offers.
    offered: Vec<String>,
    state: Progress,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    Running,
    /// The response is complete, and Codex waits for the outputs of its calls.
    Called,
    Completed,
    /// Codex knows more of the conversation than the client, or less.
    Diverged,
}

/// The state in which a turn left its thread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Rest {
    /// The model has finished.
    Idle,
    /// Codex waits for the outputs of these calls.
    Calls(Vec<String>),
}

impl Recorder {
    /// Follows the answer to a conversation; none if that could not be recognised.
    pub(super) fn new(conversation: &Conversation, tools: &[Tool]) -> Option<Self> {
        Some(Self {
            before: Chain(conversation.whole.clone()?),
            answer: Answer::default(),
            calls: Vec::new(),
            offered: tools.iter().map(|tool| tool.name.clone()).collect(),
            state: Progress::Running,
        })
    }

    /// Takes an event of the turn. Returns the digest of the conversation if it has come to a rest.
    pub(super) fn hear(&mut self, event: &Event) -> Option<Digest> {
        if self.state != Progress::Running {
            // Codex goes on after a call that the client was told of: it has answered the call itself.
            if self.state == Progress::Called && !matches!(event, Event::Ended(_)) {
                self.state = Progress::Diverged;
            }
            return None;
        }
        match event {
            Event::Text(text) => self.answer.text.add(text),
            Event::TextBreak => self.answer.text.end_message(),
            Event::Call {
                id,
                name,
                arguments,
            } => {
                // Codex answers such a call itself, and asks the model again.
                let is_json = serde_json::from_str::<&RawValue>(arguments).is_ok();
                // Codex's requests for two calls with one id could not be told apart.
                let is_double = self.calls.contains(id);
                if !is_json || is_double || !self.offered.contains(name) {
                    self.state = Progress::Diverged;
                }
                self.answer.add_call(name, arguments);
                self.calls.push(id.clone());
            }
            Event::Sampled(_) if !self.calls.is_empty() => self.state = Progress::Called,
            Event::Ended(TurnOutcome::Completed) if self.calls.is_empty() => {
                self.state = Progress::Completed;
            }
            Event::Withheld | Event::Retrying(_) | Event::Ended(_) => {
                self.state = Progress::Diverged;
            }
            // An agent's own work stays in its thread: the client knows only of the answer.
            Event::Activity(_)
            | Event::Sampled(_)
            | Event::Reasoning(_)
            | Event::ReasoningBreak => {}
        }
        self.rest().map(|(digest, _)| digest)
    }

    /// The digest of the conversation and the state of its thread, if the turn has come to a rest.
    pub(super) fn rest(&self) -> Option<(Digest, Rest)> {
        let rest = match self.state {
            Progress::Completed if self.answer.text.begun => Rest::Idle,
            Progress::Called => Rest::Calls(self.calls.clone()),
            Progress::Completed | Progress::Running | Progress::Diverged => return None,
        };
        let mut chain = self.before.clone();
        chain.end_answer(self.answer.clone());
        Some((chain.digest(), rest))
    }
}

#[cfg(any(test, fuzzing))]
pub(super) mod replay;
#[cfg(test)]
mod tests;
