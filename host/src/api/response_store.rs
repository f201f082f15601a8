//! Keeps responses that may be continued or fetched: in memory, bounded, each only for the caller it was made for.

mod event_log;
mod running;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use crate::codex::{Item, Part};
use crate::openai::responses::Memory;
use event_log::EventLog;
pub(super) use event_log::{EventReader, Lost};
pub(super) use running::Job;
use running::Running;

/// The most responses that are kept.
const MOST: usize = 1_000;
/// The most bytes that they may take together.
const MOST_BYTES: usize = 128 << 20;

/// The key of a response or item: the caller's id, and its own id.
type Key = (String, String);

/// The kept responses. The oldest of the caller that has most are forgotten first: one caller's use does not evict another's.
#[derive(Default)]
pub struct Responses {
    kept: Mutex<Kept>,
    /// Those in the background that have not ended.
    running: Running,
}

#[derive(Default)]
struct Kept {
    responses: HashMap<Key, Response>,
    /// Items of answers, which a client may refer to instead of repeating them.
    items: HashMap<Key, Option<Item>>,
    order: VecDeque<Key>,
    bytes: usize,
    callers: HashMap<String, Share>,
}

/// The amount that is kept for one caller.
#[derive(Default)]
struct Share {
    responses: usize,
    bytes: usize,
}

struct Response {
    object: String,
    conversation: Arc<Vec<Item>>,
    /// See [`Memory`].
    input: usize,
    /// Whether it can be continued.
    answered: bool,
    items: Vec<String>,
    /// The events of one that was in the background, if its client wants them.
    events: Option<Arc<EventLog>>,
    bytes: usize,
    /// Its id, if only a WebSocket may continue it.
    of_socket: Option<String>,
}

/// A response that has ended, to be kept.
struct Ended {
    object: String,
    memory: Memory,
    answered: bool,
    events: Option<Arc<EventLog>>,
    event_bytes: usize,
}

/// The input of a kept response.
pub(super) struct Input {
    conversation: Arc<Vec<Item>>,
    count: usize,
    /// The approximate memory of the response.
    pub(super) bytes: usize,
}

impl Input {
    pub(super) fn items(&self) -> &[Item] {
        self.conversation.get(..self.count).unwrap_or_default()
    }
}

impl Responses {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock()
    }

    /// Keeps a response: its JSON, and the memory needed to continue it.
    pub(super) fn put(&self, caller: &str, id: &str, object: String, memory: Memory) {
        let ended = Ended {
            object,
            memory,
            answered: true,
            events: None,
            event_bytes: 0,
        };
        self.keep((caller, id), ended);
    }

    fn keep(&self, (caller, id): (&str, &str), ended: Ended) {
        let memory = ended.memory;
        let answer = memory.items.values().flatten();
        let items = memory.conversation.iter().chain(answer);
        let bytes = ended.object.len() + ended.event_bytes + items.map(size).sum::<usize>();
        if bytes > MOST_BYTES {
            return tracing::warn!(caller, bytes, "a response is too large to be kept");
        }
        let mut kept = self.kept();
        let items = memory.items.keys().cloned().collect();
        for (item, stands_for) in memory.items {
            kept.items.insert((caller.to_owned(), item), stands_for);
        }
        let response = Response {
            object: ended.object,
            conversation: Arc::new(memory.conversation),
            input: memory.input,
            answered: ended.answered,
            items,
            events: ended.events,
            bytes,
            of_socket: None,
        };
        kept.insert((caller.to_owned(), id.to_owned()), response);
    }

    /// Keeps the conversation up to the end of a response that is not stored, for the WebSocket that it was sent on.
    pub(super) fn put_for_socket(&self, socket: u64, caller: &str, id: &str, memory: Memory) {
        let bytes = memory.conversation.iter().map(size).sum();
        if bytes > MOST_BYTES {
            return;
        }
        let response = Response {
            object: String::new(),
            input: memory.input,
            answered: true,
            conversation: Arc::new(memory.conversation),
            items: Vec::new(),
            events: None,
            bytes,
            of_socket: Some(id.to_owned()),
        };
        let mut kept = self.kept();
        kept.forget_socket(socket);
        kept.insert((caller.to_owned(), socket_key(socket)), response);
    }

    /// Takes the conversation up to the end of the last response that was sent on a WebSocket and is not stored: one that fails to be
    /// continued is forgotten, and one that is continued is followed by another.
    pub(super) fn take_for_socket(&self, socket: u64, caller: &str, id: &str) -> Option<Vec<Item>> {
        let key = (caller.to_owned(), socket_key(socket));
        let mut kept = self.kept();
        let response = kept.responses.get(&key)?;
        if response.of_socket.as_deref() != Some(id) {
            return None;
        }
        let conversation = Arc::clone(&response.conversation);
        kept.forget_socket(socket);
        drop(kept);
        Some(Arc::unwrap_or_clone(conversation))
    }

    /// Forgets what is kept for a WebSocket.
    pub(super) fn forget_socket(&self, socket: u64) {
        self.kept().forget_socket(socket);
    }

    /// The JSON of a response, also of one that has not ended.
    pub(super) fn object(&self, caller: &str, id: &str) -> Option<String> {
        let key = (caller.to_owned(), id.to_owned());
        if let Some(object) = self.running.object(&key) {
            return Some(object);
        }
        let kept = self.kept();
        kept.stored(&key).map(|response| response.object.clone())
    }

    /// Forgets a response, and ends it. Returns whether it existed.
    pub(super) fn delete(&self, caller: &str, id: &str) -> bool {
        let key = (caller.to_owned(), id.to_owned());
        if self.running.remove(&key) {
            return true;
        }
        let mut kept = self.kept();
        if kept.stored(&key).is_none() {
            return false;
        }
        kept.order.retain(|kept| *kept != key);
        kept.remove(&key)
    }

    /// The conversation up to the end of a response.
    pub(super) fn conversation(&self, caller: &str, id: &str) -> Option<Vec<Item>> {
        let key = (caller.to_owned(), id.to_owned());
        let found = {
            let kept = self.kept();
            let response = kept.stored(&key)?;
            response.answered.then(|| response.conversation.clone())?
        };
        // Copied, since others may continue the same response.
        Some(found.to_vec())
    }

    /// The conversation that a response answers.
    pub(super) fn input(&self, caller: &str, id: &str) -> Option<Input> {
        let key = (caller.to_owned(), id.to_owned());
        if let Some(input) = self.running.input(&key) {
            return Some(input);
        }
        let kept = self.kept();
        let response = kept.stored(&key)?;
        Some(Input {
            conversation: Arc::clone(&response.conversation),
            count: response.input,
            bytes: response.bytes,
        })
    }

    /// The item of an earlier answer that an id stands for; the inner option is `None` for an item that cannot be replayed.
    pub(super) fn item(&self, caller: &str, id: &str) -> Option<Option<Item>> {
        let key = (caller.to_owned(), id.to_owned());
        self.kept().items.get(&key).cloned()
    }
}

/// The id under which the response of a WebSocket is kept, instead of its own.
fn socket_key(socket: u64) -> String {
    format!("socket {socket}")
}

impl Kept {
    /// A response that is stored for all requests of its caller.
    fn stored(&self, key: &Key) -> Option<&Response> {
        let found = self.responses.get(key)?;
        found.of_socket.is_none().then_some(found)
    }

    fn insert(&mut self, key: Key, response: Response) {
        let bytes = response.bytes;
        self.order.push_back(key.clone());
        self.bytes += bytes;
        let share = self.callers.entry(key.0.clone()).or_default();
        share.responses += 1;
        share.bytes += bytes;
        self.responses.insert(key, response);
        self.make_room();
    }

    /// There is at most one: a connection has one caller at a time.
    fn forget_socket(&mut self, socket: u64) {
        let id = socket_key(socket);
        let of_socket = |key: &Key| {
            let response = self.responses.get(key);
            key.1 == id && response.is_some_and(|response| response.of_socket.is_some())
        };
        let at = self.order.iter().position(of_socket);
        if let Some(key) = at.and_then(|at| self.order.remove(at)) {
            self.remove(&key);
        }
    }

    fn make_room(&mut self) {
        loop {
            let share = |share: &Share| match (self.bytes > MOST_BYTES, self.order.len() > MOST) {
                (true, _) => Some(share.bytes),
                (_, true) => Some(share.responses),
                _ => None,
            };
            let shares = self.callers.iter();
            let shares = shares.filter_map(|(caller, of)| Some((share(of)?, caller)));
            let Some((_, caller)) = shares.max() else {
                return;
            };
            let oldest = self.order.iter().position(|(of, _)| of == caller);
            let Some(oldest) = oldest.and_then(|at| self.order.remove(at)) else {
                return;
            };
            self.remove(&oldest);
        }
    }

    fn remove(&mut self, key: &Key) -> bool {
        let Some(response) = self.responses.remove(key) else {
            return false;
        };
        self.bytes -= response.bytes;
        if let Some(share) = self.callers.get_mut(&key.0) {
            share.responses -= 1;
            share.bytes -= response.bytes;
            if share.responses == 0 {
                self.callers.remove(&key.0);
            }
        }
        for item in response.items {
            self.items.remove(&(key.0.clone(), item));
        }
        if let Some(events) = response.events {
            events.forget();
        }
        true
    }
}

/// The approximate memory of an item, in bytes.
fn size(item: &Item) -> usize {
    let parts = |parts: &[Part]| -> usize {
        let size = |part: &Part| match part {
            Part::Text(text) => text.len(),
            Part::Image { url, .. } => url.len(),
        };
        size_of_val(parts) + parts.iter().map(size).sum::<usize>()
    };
    let said = match item {
        Item::Message { parts: of, .. } => parts(of),
        Item::CallOutput { id, parts: of } => id.len() + parts(of),
        Item::Call {
            id,
            name,
            arguments,
        } => id.len() + name.len() + arguments.len(),
    };
    size_of::<Item>() + said
}

#[cfg(test)]
mod tests;
