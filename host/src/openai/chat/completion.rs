//! A chat completion in one piece, folded from the same deltas that a stream is written from.

use serde::Serialize;

use super::super::conversation::arguments_or_empty_object;
use super::super::json;
use super::super::usage::UsageBody;
use super::super::{ApiError, Head};
use super::{Form, finish_reason};
use crate::codex::Usage;
use crate::turn::{self, Delta, Finish};

/// An answer that is being collected.
#[derive(Debug)]
pub struct Completion {
    head: Head,
    form: Form,
    content: String,
    reasoning: String,
    calls: Vec<Call>,
    outcome: Option<Result<(Finish, Usage), turn::Error>>,
}

#[derive(Debug, Serialize)]
struct Call {
    id: String,
    r#type: &'static str,
    function: Function,
}

#[derive(Debug, Serialize)]
struct Function {
    name: String,
    arguments: String,
}

#[derive(Serialize)]
struct Body<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    choices: [Choice<'a>; 1],
    usage: UsageBody,
}

#[derive(Serialize)]
struct Choice<'a> {
    index: u32,
    message: Message<'a>,
    logprobs: (),
    finish_reason: &'static str,
}

#[derive(Serialize)]
struct Message<'a> {
    role: &'static str,
    content: Option<&'a str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    reasoning_content: &'a str,
    #[serde(skip_serializing_if = "<[Call]>::is_empty")]
    tool_calls: &'a [Call],
    #[serde(skip_serializing_if = "Option::is_none")]
    function_call: Option<&'a Function>,
    refusal: (),
}

impl Completion {
    /// An answer of which nothing has come.
    #[must_use]
    pub fn new(head: Head, form: Form) -> Self {
        Self {
            head,
            form,
            content: String::new(),
            reasoning: String::new(),
            calls: Vec::new(),
            outcome: None,
        }
    }

    /// Adds a delta.
    pub fn push(&mut self, delta: Delta) {
        match delta {
            Delta::Text(text) => self.content.push_str(&text),
            Delta::Reasoning(text) => self.reasoning.push_str(&text),
            Delta::Call {
                id,
                name,
                arguments,
                ..
            } => self.calls.push(Call {
                id,
                r#type: "function",
                function: Function {
                    name,
                    arguments: arguments_or_empty_object(arguments),
                },
            }),
            Delta::End { finish, usage, .. } => self.outcome = Some(Ok((finish, usage))),
            Delta::Failed(error) => self.outcome = Some(Err(error)),
        }
    }

    /// The JSON of the whole answer.
    ///
    /// # Errors
    /// If the answer failed, or never ended: part of an answer is none.
    pub fn into_json(self) -> Result<String, ApiError> {
        let (finish, usage) = self.outcome.unwrap_or(Err(turn::Error::Interrupted))?;
        let (calls, function) = match self.form.functions {
            true => (&[][..], self.calls.first().map(|call| &call.function)),
            false => (self.calls.as_slice(), None),
        };
        let is_text = !self.content.is_empty() || self.calls.is_empty();
        let message = Message {
            role: "assistant",
            content: is_text.then_some(&self.content),
            reasoning_content: &self.reasoning,
            tool_calls: calls,
            function_call: function,
            refusal: (),
        };
        Ok(json::write(&Body {
            id: &self.head.id,
            object: "chat.completion",
            created: self.head.created,
            model: &self.head.model,
            choices: [Choice {
                index: 0,
                message,
                logprobs: (),
                finish_reason: finish_reason(finish, self.form),
            }],
            usage: usage.into(),
        }))
    }
}
