//! The blocks of an answer, step by step: a stream writes each step, a message in one piece collects them.

use std::borrow::Cow;
use std::collections::HashMap;

use serde::de::IgnoredAny;
use serde_json::json;

use super::super::tools::ToldCall;
use super::Form;
use super::body::{Block, SIGNATURE};
use crate::turn::Delta;

/// A change of the answer's content. Each block begins, grows and ends before the next one begins.
pub(super) enum Step<'a> {
    /// A block begins, without its content.
    Began(Block),
    /// The text, thinking or input of the block grows.
    Grew(&'a str),
    /// The block is complete.
    Ended,
}

/// The kind of the block that grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Thinking,
}

/// Turns deltas into steps.
#[derive(Debug)]
pub(super) struct Answer {
    form: Form,
    /// The kind of the block that may still grow.
    open: Option<Kind>,
}

impl Answer {
    pub(super) fn new(form: Form) -> Self {
        Self { form, open: None }
    }

    /// Passes the steps of a delta to `step`. The end of an answer closes its last block.
    pub(super) fn push(&mut self, delta: &Delta, step: &mut impl FnMut(Step<'_>)) {
        match delta {
            Delta::Text(text) => self.grow(Kind::Text, text, step),
            Delta::Reasoning(text) if self.form.thinking => self.grow(Kind::Thinking, text, step),
            Delta::Call { index, .. } if self.form.one_call && *index > 0 => {}
            Delta::Call {
                id,
                name,
                arguments,
                ..
            } => self.call(id, name, arguments, step),
            Delta::End { .. } => self.close(step),
            Delta::Reasoning(_) | Delta::Activity(_) | Delta::Failed(_) => {}
        }
    }

    fn grow(&mut self, kind: Kind, text: &str, step: &mut impl FnMut(Step<'_>)) {
        if self.open != Some(kind) {
            self.close(step);
            self.open = Some(kind);
            step(Step::Began(match kind {
                Kind::Text => Block::Text {
                    text: String::new(),
                },
                Kind::Thinking => Block::Thinking {
                    thinking: String::new(),
                    signature: "",
                },
            }));
        }
        step(Step::Grew(text));
    }

    fn call(&mut self, id: &str, name: &str, arguments: &str, step: &mut impl FnMut(Step<'_>)) {
        self.close(step);
        let name = match self.form.names.tell(name, "") {
            ToldCall::Function(name, _) | ToldCall::Custom(name, _) => name.name,
            ToldCall::Item(tool, _) => tool.kind.to_owned(),
        };
        step(Step::Began(Block::ToolUse {
            id: id.to_owned(),
            name,
            input: "{}".to_owned(),
        }));
        step(Step::Grew(&input(arguments)));
        step(Step::Ended);
    }

    fn close(&mut self, step: &mut impl FnMut(Step<'_>)) {
        if self.open.take().is_some() {
            step(Step::Ended);
        }
    }
}

/// The input of a call, which is an object: its arguments, as the model wrote them. Those of a call that it wrote as text may be
/// something else.
fn input(arguments: &str) -> Cow<'_, str> {
    match serde_json::from_str::<HashMap<String, IgnoredAny>>(arguments) {
        Ok(_) => Cow::Borrowed(arguments),
        Err(_) if arguments.is_empty() => Cow::Borrowed("{}"),
        Err(_) => Cow::Owned(json!({ "arguments": arguments }).to_string()),
    }
}

/// Adds a step to the blocks so far.
pub(super) fn collect(blocks: &mut Vec<Block>, step: Step<'_>) {
    match (step, blocks.last_mut()) {
        (Step::Began(block), _) => blocks.push(block),
        (Step::Grew(more), Some(Block::Text { text })) => text.push_str(more),
        (Step::Grew(more), Some(Block::Thinking { thinking, .. })) => thinking.push_str(more),
        (Step::Grew(all), Some(Block::ToolUse { input, .. })) => all.clone_into(input),
        (Step::Ended, Some(Block::Thinking { signature, .. })) => *signature = SIGNATURE,
        (Step::Grew(_) | Step::Ended, _) => {}
    }
}
