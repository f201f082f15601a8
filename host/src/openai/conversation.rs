//! Builds the conversation for Codex, from any dialect.

use std::collections::{HashMap, HashSet, VecDeque};

use crate::codex::{Item, Part, Role};

/// The conversation so far.
#[derive(Debug, Default)]
pub(super) struct Conversation {
    items: Vec<Item>,
    /// The ids of the calls so far.
    calls: HashSet<String>,
    /// The ids of the calls whose output has to follow, each with the number of such calls.
    open: HashMap<String, usize>,
}

impl Conversation {
    /// Adds an item at the end.
    pub(super) fn push(&mut self, item: Item) {
        match &item {
            Item::Call { id, .. } => {
                self.calls.insert(id.clone());
                *self.open.entry(id.clone()).or_default() += 1;
            }
            Item::CallOutput { id, .. } => self.excuse(id),
            Item::Message { .. } => {}
        }
        self.items.push(item);
    }

    /// Notes that a call needs no output, or no further one.
    pub(super) fn excuse(&mut self, id: &str) {
        if let Some(calls) = self.open.get_mut(id) {
            *calls -= 1;
            if *calls == 0 {
                self.open.remove(id);
            }
        }
    }

    /// Whether the output of a call with this id has to follow.
    pub(super) fn is_open(&self, id: &str) -> bool {
        self.open.contains_key(id)
    }

    /// The ids of the calls without an output, in order, if there are any: Codex would silently report such calls to the model as
    /// aborted.
    pub(super) fn unanswered(&self) -> Option<Vec<&str>> {
        let ids = self.items.iter().filter_map(|item| match item {
            Item::Call { id, .. } if self.open.contains_key(id) => Some(id.as_str()),
            _ => None,
        });
        (!self.open.is_empty()).then(|| ids.collect())
    }

    /// Whether there is such a call. Codex silently removes an output without its call, so the model would miss it.
    pub(super) fn has_call(&self, id: &str) -> bool {
        self.calls.contains(id)
    }

    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    pub(super) fn into_items(self) -> Vec<Item> {
        self.items
    }
}

/// Gives each call an id of the gateway's own, and its outputs with it. Clients reuse ids, and make them longer than providers
/// take. By position, so that the beginning of a conversation is the same in each of its requests: providers cache it.
pub(super) fn with_own_ids(mut history: Vec<Item>) -> Vec<Item> {
    // Those without an output so far, the earliest first, by the client's ids.
    let mut calls: HashMap<String, VecDeque<String>> = HashMap::new();
    let mut count = 0_usize;
    for item in &mut history {
        match item {
            Item::Call { id, .. } => {
                count += 1;
                let own = format!("call_past_{count}");
                let clients = std::mem::replace(id, own.clone());
                calls.entry(clients).or_default().push_back(own);
            }
            Item::CallOutput { id, .. } => {
                if let Some(own) = calls.get_mut(id.as_str()).and_then(VecDeque::pop_front) {
                    *id = own;
                }
            }
            Item::Message { .. } => {}
        }
    }
    history
}

/// A message; absent if it has no parts: Codex takes no message without content.
pub(super) fn message(role: Role, mut parts: Vec<Part>) -> Option<Item> {
    if role == Role::Assistant {
        parts.retain(|part| *part != Part::Text(String::new()));
    }
    (!parts.is_empty()).then_some(Item::Message { role, parts })
}

/// A message with an instruction.
pub(super) fn instruction(text: String) -> Item {
    Item::Message {
        role: Role::Developer,
        parts: vec![Part::Text(text)],
    }
}

/// Leaves out the instructions, unless there is nothing else.
pub(super) fn without_instructions(mut items: Vec<Item>) -> Vec<Item> {
    if !items.iter().all(Item::is_instruction) {
        items.retain(|item| !item.is_instruction());
    }
    items
}

/// A call that the model made.
pub(super) fn call(id: String, name: String, arguments: String) -> Item {
    Item::Call {
        id,
        name,
        arguments: arguments_or_empty_object(arguments),
    }
}

/// The output of a function. An empty output is kept: it answers the call too.
pub(super) fn output(id: String, mut parts: Vec<Part>) -> Item {
    if parts.is_empty() {
        parts.push(Part::Text(String::new()));
    }
    Item::CallOutput { id, parts }
}

/// Replaces empty arguments by `{}`: clients and providers parse arguments even if there are none.
pub(super) fn arguments_or_empty_object(arguments: String) -> String {
    match arguments.as_str() {
        "" => "{}".to_owned(),
        _ => arguments,
    }
}

/// The number of characters of all text and calls.
pub(super) fn characters(items: &[Item]) -> u64 {
    let count = items.iter().map(|item| match item {
        Item::Message { parts, .. } | Item::CallOutput { parts, .. } => {
            parts.iter().map(characters_of).sum()
        }
        Item::Call {
            name, arguments, ..
        } => name.chars().count() + arguments.chars().count(),
    });
    count.sum::<usize>() as u64
}

/// The characters that an image counts as: 765 tokens, as OpenAI counts 1024 by 1024 pixels.
const IMAGE: usize = 4 * 765;

fn characters_of(part: &Part) -> usize {
    match part {
        Part::Text(text) => text.chars().count(),
        Part::Image { .. } => IMAGE,
    }
}
