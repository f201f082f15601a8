//! Collects the items of an answer from its deltas.

use std::mem::discriminant;

use serde::Serialize;

use super::super::id;
use super::super::tools::ToldCall;
use crate::codex::{Item, Part, Role};

/// The items in the order they began. Only the last one may be in progress.
#[derive(Debug)]
pub(super) struct Output {
    response: String,
    items: Vec<OutputItem>,
}

#[derive(Debug)]
pub(super) struct OutputItem {
    pub(super) id: String,
    /// Position among the items, from 0.
    pub(super) index: usize,
    pub(super) status: Status,
    pub(super) content: Content,
}

#[derive(Debug)]
pub(super) enum Content {
    Reasoning(String),
    Message(String),
    Call {
        id: String,
        /// The name of the function for Codex, and its arguments.
        function: (String, String),
        told: ToldCall,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Status {
    InProgress,
    Completed,
    Incomplete,
}

/// A change of an item.
pub(super) enum Step<'a> {
    /// The item began, without content.
    Began(&'a OutputItem),
    /// This text was added.
    Grew(&'a OutputItem, &'a str),
    /// The item ended and does not change any more.
    Ended(&'a OutputItem),
}

impl Output {
    /// `response` is the response's id.
    pub(super) fn new(response: String) -> Self {
        Self {
            response,
            items: Vec::new(),
        }
    }

    pub(super) fn items(&self) -> &[OutputItem] {
        &self.items
    }

    pub(super) fn add_reasoning(&mut self, text: &str, step: &mut impl FnMut(Step<'_>)) {
        self.add(Content::Reasoning(String::new()), text, step);
    }

    pub(super) fn add_text(&mut self, text: &str, step: &mut impl FnMut(Step<'_>)) {
        self.add(Content::Message(String::new()), text, step);
    }

    /// Adds a call, which arrives complete.
    pub(super) fn add_call(
        &mut self,
        id: String,
        function: (String, String),
        told: ToldCall,
        step: &mut impl FnMut(Step<'_>),
    ) {
        let call = Content::Call { id, function, told };
        self.close(Status::Completed, step);
        let item = self.begin(call);
        step(Step::Began(item));
        step(Step::Grew(item, item.content.text()));
        self.close(Status::Completed, step);
    }

    /// Ends the item in progress, if there is one.
    pub(super) fn close(&mut self, status: Status, step: &mut impl FnMut(Step<'_>)) {
        if let Some(item) = self.under_way() {
            item.status = status;
            step(Step::Ended(item));
        }
    }

    /// Takes the items in the form in which a later request gives them to Codex, by their ids.
    pub(super) fn take_told(&mut self) -> Vec<(String, Option<Item>)> {
        let items = std::mem::take(&mut self.items).into_iter();
        items.map(|item| (item.id, item.content.told())).collect()
    }

    /// Adds to the item in progress if it is of the same kind, or begins a new one.
    fn add(&mut self, empty: Content, text: &str, step: &mut impl FnMut(Step<'_>)) {
        if text.is_empty() {
            return;
        }
        let kind = discriminant(&empty);
        let goes_on = self
            .under_way()
            .is_some_and(|item| discriminant(&item.content) == kind);
        if !goes_on {
            self.close(Status::Completed, step);
            step(Step::Began(self.begin(empty)));
        }
        if let Some(item) = self.under_way() {
            item.content.push_str(text);
            step(Step::Grew(item, text));
        }
    }

    fn begin(&mut self, content: Content) -> &OutputItem {
        let index = self.items.len();
        self.items.push(OutputItem {
            id: id::item(content.prefix(), &self.response, index),
            index,
            status: Status::InProgress,
            content,
        });
        &self.items[index]
    }

    fn under_way(&mut self) -> Option<&mut OutputItem> {
        let last = self.items.last_mut();
        last.filter(|item| item.status == Status::InProgress)
    }
}

impl Content {
    fn prefix(&self) -> &'static str {
        match self {
            Self::Reasoning(_) => "rs",
            Self::Message(_) => "msg",
            Self::Call { told, .. } => match told {
                ToldCall::Function(..) => "fc",
                ToldCall::Custom(..) => "ctc",
                ToldCall::Item(tool, _) => tool.prefix,
            },
        }
    }

    /// Its text; empty if it has none.
    fn text(&self) -> &str {
        match self {
            Self::Reasoning(text) | Self::Message(text) => text,
            Self::Call { told, .. } => match told {
                ToldCall::Function(_, text) | ToldCall::Custom(_, text) => text,
                ToldCall::Item(..) => "",
            },
        }
    }

    /// Calls are whole from the beginning.
    fn push_str(&mut self, more: &str) {
        if let Self::Reasoning(text) | Self::Message(text) = self {
            text.push_str(more);
        }
    }

    fn told(self) -> Option<Item> {
        match self {
            Self::Reasoning(_) => None,
            Self::Message(text) => Some(Item::Message {
                role: Role::Assistant,
                parts: vec![Part::Text(text)],
            }),
            Self::Call {
                id,
                function: (name, arguments),
                ..
            } => Some(Item::Call {
                id,
                name,
                arguments,
            }),
        }
    }
}
