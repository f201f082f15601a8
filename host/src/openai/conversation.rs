//! Builds the conversation for Codex, from any dialect.

use std::collections::HashSet;

use crate::codex::{Item, Part, Role};

/// The conversation so far.
#[derive(Debug, Default)]
pub(super) struct Conversation {
    items: Vec<Item>,
    /// The ids of the calls so far.
    calls: HashSet<String>,
    /// The ids of the calls whose output has to follow.
    open: HashSet<String>,
}

impl Conversation {
    /// Adds an item at the end.
    pub(super) fn push(&mut self, item: Item) {
        match &item {
            Item::Call { id, .. } => {
                self.calls.insert(id.clone());
                self.open.insert(id.clone());
            }
            Item::CallOutput { id, .. } => self.excuse(id),
            Item::Message { .. } => {}
        }
        self.items.push(item);
    }

    /// Notes that a call needs no output, or no further one.
    pub(super) fn excuse(&mut self, id: &str) {
        self.open.remove(id);
    }

    /// The ids of the calls without an output, in order, if there are any: Codex would silently report such calls to the model as
    /// aborted.
    pub(super) fn unanswered(&self) -> Option<Vec<&str>> {
        let ids = self.items.iter().filter_map(|item| match item {
            Item::Call { id, .. } if self.open.contains(id) => Some(id.as_str()),
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
    let is_instruction = |item: &Item| {
        matches!(
            item,
            Item::Message {
                role: Role::Developer,
                ..
            }
        )
    };
    if !items.iter().all(is_instruction) {
        items.retain(|item| !is_instruction(item));
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

fn characters_of(part: &Part) -> usize {
    match part {
        Part::Text(text) => text.chars().count(),
        Part::Image { .. } => 0,
    }
}
