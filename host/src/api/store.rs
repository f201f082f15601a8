//! Responses that may be continued or fetched: in memory, bounded, each for the caller it was made for only.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::codex::{Item, Part};
use crate::openai::responses::Memory;

/// Responses kept at most.
const MOST: usize = 1_000;
/// Bytes of text and pictures they may hold together.
const MOST_BYTES: usize = 128 << 20;

/// Names something of one caller: the caller's id, and the thing's.
type Key = (String, String);

/// The oldest are forgotten first.
#[derive(Default)]
pub struct Responses(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    responses: HashMap<Key, Response>,
    /// Items of answers, which a client may refer to instead of repeating them.
    items: HashMap<Key, Option<Item>>,
    order: VecDeque<Key>,
    bytes: usize,
}

struct Response {
    object: String,
    conversation: Vec<Item>,
    items: Vec<String>,
    bytes: usize,
}

impl Responses {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a response: its JSON, and what continuing it needs.
    pub(super) fn put(&self, caller: &str, id: &str, object: String, memory: Memory) {
        let mut kept = self.kept();
        let bytes = object.len() + memory.conversation.iter().map(size).sum::<usize>();
        let items = memory.items.keys().cloned().collect();
        for (item, stands_for) in memory.items {
            kept.items.insert((caller.to_owned(), item), stands_for);
        }
        let key = (caller.to_owned(), id.to_owned());
        let response = Response {
            object,
            conversation: memory.conversation,
            items,
            bytes,
        };
        kept.order.push_back(key.clone());
        kept.bytes += bytes;
        kept.responses.insert(key, response);
        while kept.responses.len() > MOST || kept.bytes > MOST_BYTES {
            let Some(oldest) = kept.order.pop_front() else {
                break;
            };
            kept.remove(&oldest);
        }
    }

    /// The JSON of a response.
    pub(super) fn object(&self, caller: &str, id: &str) -> Option<String> {
        let key = (caller.to_owned(), id.to_owned());
        let kept = self.kept();
        kept.responses
            .get(&key)
            .map(|response| response.object.clone())
    }

    /// Forgets a response. Answers whether there was one.
    pub(super) fn delete(&self, caller: &str, id: &str) -> bool {
        let key = (caller.to_owned(), id.to_owned());
        let mut kept = self.kept();
        kept.order.retain(|kept| *kept != key);
        kept.remove(&key)
    }

    /// What was said up to the end of a response.
    pub(super) fn conversation(&self, caller: &str, id: &str) -> Option<Vec<Item>> {
        let key = (caller.to_owned(), id.to_owned());
        let kept = self.kept();
        kept.responses
            .get(&key)
            .map(|response| response.conversation.clone())
    }

    /// What an item of an earlier answer stands for; the inner one is absent for what cannot be replayed.
    pub(super) fn item(&self, caller: &str, id: &str) -> Option<Option<Item>> {
        let key = (caller.to_owned(), id.to_owned());
        self.kept().items.get(&key).cloned()
    }
}

impl Kept {
    fn remove(&mut self, key: &Key) -> bool {
        let Some(response) = self.responses.remove(key) else {
            return false;
        };
        self.bytes -= response.bytes;
        for item in response.items {
            self.items.remove(&(key.0.clone(), item));
        }
        true
    }
}

fn size(item: &Item) -> usize {
    let parts = |parts: &[Part]| -> usize {
        let size = |part: &Part| match part {
            Part::Text(text) => text.len(),
            Part::Image { url, .. } => url.len(),
        };
        parts.iter().map(size).sum()
    };
    match item {
        Item::Message { parts: of, .. } | Item::CallOutput { parts: of, .. } => parts(of),
        Item::Call {
            name, arguments, ..
        } => name.len() + arguments.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codex::Role;

    fn memory(text: &str) -> Memory {
        let said = Item::Message {
            role: Role::User,
            parts: vec![Part::Text(text.to_owned())],
        };
        Memory {
            items: HashMap::from([(format!("msg_{text}"), Some(said.clone()))]),
            conversation: vec![said],
        }
    }

    #[test]
    fn a_response_belongs_to_its_caller() {
        let store = Responses::default();
        store.put("alice", "resp_1", "{}".to_owned(), memory("hi"));
        assert_eq!(store.object("alice", "resp_1").as_deref(), Some("{}"));
        assert_eq!(store.object("bob", "resp_1"), None);
        assert_eq!(store.conversation("bob", "resp_1"), None);
        assert_eq!(store.item("bob", "msg_hi"), None);
        assert!(!store.delete("bob", "resp_1"));
        assert!(store.delete("alice", "resp_1"));
        assert_eq!(store.item("alice", "msg_hi"), None, "its items go with it");
    }

    #[test]
    fn the_oldest_are_forgotten_when_there_are_too_many_or_they_are_too_large() {
        let store = Responses::default();
        for n in 0..=MOST {
            store.put("a", &n.to_string(), String::new(), memory("x"));
        }
        assert_eq!(store.object("a", "0"), None);
        assert!(store.object("a", "1").is_some());
        store.put("a", "large", "x".repeat(MOST_BYTES), Memory::default());
        assert!(store.object("a", "large").is_some(), "it alone just fits");
        assert_eq!(store.object("a", &MOST.to_string()), None);
    }
}
