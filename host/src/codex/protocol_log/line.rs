//! Writes a message as a line: its names, ids, size and times, and the client's request that it belongs to.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::time::{Instant, UNIX_EPOCH};

use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::facts::Facts;
use super::{Direction, Entry, Fact, Message};

/// The most requests without an answer, and the most threads with a client's request, that are remembered.
const REMEMBERED: usize = 4_096;

/// The beginnings of the methods whose content is the conversation of a client. The content of others is never written:
/// `config/read`, for example, is answered with the operator's `config.toml`, which may hold keys.
const CONVERSATION: [&str; 4] = ["thread/", "turn/", "item/", "rawResponseItem/"];

/// The same of `proto`, and one name that both have.
const CONVERSATION_PROTO: [&str; 6] = [
    "user_turn",
    "agent_",
    "task_",
    "turn_aborted",
    "stream_error",
    "error",
];

/// A line.
#[derive(Serialize)]
struct Line<'a> {
    /// Milliseconds since 1970.
    ts: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    req_id: Option<&'a str>,
    direction: Direction,
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thread: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    turn: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    item: Option<&'a str>,
    bytes: usize,
    /// From the request to its answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<&'a RawValue>,
}

/// A request that has no answer yet.
#[derive(Debug, Clone)]
struct Asked {
    method: String,
    thread: Option<String>,
    at: Instant,
}

/// Makes lines, and remembers the requests that answers belong to.
pub(super) struct Lines {
    bodies: bool,
    /// By child, the direction of the request, and its id.
    asked: Recent<(Option<u32>, Direction, String), Asked>,
    /// The client's requests, by child and thread.
    works_for: Recent<(Option<u32>, Option<String>), String>,
    /// How many turns were dropped so far.
    turns_lost: u64,
}

impl Lines {
    pub(super) fn new(bodies: bool) -> Self {
        Self {
            bodies,
            asked: Recent::default(),
            works_for: Recent::default(),
            turns_lost: 0,
        }
    }

    /// The line of a message. A turn has none: the lines that follow name its request.
    pub(super) fn line(&mut self, entry: Entry) -> Option<Vec<u8>> {
        if entry.turns_lost > self.turns_lost {
            // Some thread works for an unknown request now: no id is better than the one before.
            self.turns_lost = entry.turns_lost;
            self.works_for = Recent::default();
        }
        match entry.fact {
            Fact::Message(message) => self.message(&message),
            Fact::Turn {
                pid,
                thread,
                request,
            } => {
                self.works_for.put((pid, thread), request);
                None
            }
        }
    }

    fn message(&mut self, message: &Message) -> Option<Vec<u8>> {
        let (mut facts, is_whole) = Facts::read(&message.head);
        let is_cut = message.bytes > message.head.len();
        let kind = match &facts {
            _ if !is_whole && !is_cut => "unreadable",
            Facts { is_error: true, .. } if facts.method.is_none() => "error",
            Facts {
                is_answer: true, ..
            } => "answer",
            Facts { is_event: true, .. } => "notification",
            Facts { id: Some(_), .. } => "request",
            Facts {
                method: Some(_), ..
            } => "notification",
            _ => "unreadable",
        };
        let mut duration_ms = None;
        match kind {
            "request" => self.ask(message, &facts),
            "answer" | "error" => {
                if let Some(asked) = self.answer(message, &facts) {
                    let passed = message.at.saturating_duration_since(asked.at);
                    duration_ms = u64::try_from(passed.as_millis()).ok();
                    facts.method = Some(asked.method);
                    facts.thread = facts.thread.or(asked.thread);
                }
            }
            _ => {}
        }
        // As Codex wrote it: JSON may have line ends between its parts.
        let is_line = || {
            !message
                .head
                .iter()
                .any(|byte| matches!(byte, b'\n' | b'\r'))
        };
        let is_content = facts.method.as_deref().is_some_and(is_content);
        let is_shown = self.bodies && is_content && is_whole && !is_cut && is_line();
        let time = message.time.duration_since(UNIX_EPOCH);
        let line = Line {
            ts: time.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(0)),
            pid: message.pid,
            req_id: self.request_of(message, &facts),
            direction: message.direction,
            kind,
            method: facts.method.as_deref(),
            id: facts.id.as_ref(),
            thread: facts.thread.as_deref(),
            turn: facts.turn.as_deref(),
            item: facts.item.as_deref(),
            bytes: message.bytes,
            duration_ms,
            code: facts.code,
            body: is_shown
                .then(|| serde_json::from_slice(&message.head).ok())
                .flatten(),
        };
        serde_json::to_vec(&line).ok()
    }

    fn ask(&mut self, message: &Message, facts: &Facts) {
        if let (Some(id), Some(method)) = (&facts.id, &facts.method) {
            let asked = Asked {
                method: method.clone(),
                thread: facts.thread.clone(),
                at: message.at,
            };
            let key = (message.pid, message.direction, id.to_string());
            self.asked.put(key, asked);
        }
    }

    /// The request that the message answers.
    fn answer(&mut self, message: &Message, facts: &Facts) -> Option<Asked> {
        let asked_in = match message.direction {
            Direction::ToCodex => Direction::FromCodex,
            Direction::FromCodex => Direction::ToCodex,
        };
        let id = facts.id.as_ref()?;
        self.asked.take(&(message.pid, asked_in, id.to_string()))
    }

    /// The client's request for which the thread, or with `proto` the child, works.
    fn request_of(&self, message: &Message, facts: &Facts) -> Option<&str> {
        let of = |thread| self.works_for.get(&(message.pid, thread));
        of(facts.thread.clone()).map(String::as_str)
    }
}

fn is_content(method: &str) -> bool {
    let mut begins = CONVERSATION.iter().chain(&CONVERSATION_PROTO);
    begins.any(|beginning| method.starts_with(beginning))
}

/// The latest values, up to [`REMEMBERED`].
struct Recent<K, V> {
    values: HashMap<K, V>,
    /// In the order in which they were put; a key that was taken may still be there.
    order: VecDeque<K>,
}

impl<K, V> Default for Recent<K, V> {
    fn default() -> Self {
        Self {
            values: HashMap::new(),
            order: VecDeque::new(),
        }
    }
}

impl<K: Clone + Eq + Hash, V> Recent<K, V> {
    fn put(&mut self, key: K, value: V) {
        if self.values.insert(key.clone(), value).is_none() {
            self.order.push_back(key);
        }
        while self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.values.remove(&oldest);
        }
    }

    fn get(&self, key: &K) -> Option<&V> {
        self.values.get(key)
    }

    fn take(&mut self, key: &K) -> Option<V> {
        self.values.remove(key)
    }
}
