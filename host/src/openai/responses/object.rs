//! The response object: the whole answer, also part of the first and the last events of a stream.

use serde::Serialize;
use serde_json::{Map, Value};

use super::super::activity::Extension;
use super::super::tools::{ToldCall, ToolName};
use super::super::usage::ResponseUsage;
use super::super::{ApiError, Head, json};
use super::answer::{ResponseAnswer, ResponseStatus};
use super::echo::Echo;
use super::output::{Content, OutputItem, Status};
use super::{Context, Memory};
use crate::turn::{self, Delta};

/// An answer in one piece that is being collected.
#[derive(Debug)]
pub struct ResponseObject(ResponseAnswer);

impl ResponseObject {
    /// An answer without content so far.
    #[must_use]
    pub fn new(head: Head, context: Context) -> Self {
        Self(ResponseAnswer::new(head, context))
    }

    /// Adds a delta.
    pub fn push(&mut self, delta: Delta) {
        self.0.push(delta, &mut |_| {});
    }

    /// The JSON of the whole answer, and the memory to keep of it; no memory if the client does not want it kept.
    ///
    /// # Errors
    /// If the answer failed or did not end: a partial answer is not sent.
    pub fn into_json(mut self) -> Result<(String, Option<Memory>), ApiError> {
        match self.0.outcome {
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(error),
            None => return Err(turn::Error::Interrupted.into()),
        }
        Ok((self.0.json(), self.0.take_memory()))
    }
}

impl ResponseAnswer {
    /// The JSON of the answer so far.
    pub(super) fn json(&self) -> String {
        json::write(&Body::from(self))
    }
}

/// The answer so far.
#[derive(Serialize)]
pub(super) struct Body<'a> {
    id: &'a str,
    object: &'static str,
    created_at: u64,
    completed_at: Option<u64>,
    status: &'static str,
    error: Option<ErrorBody<'a>>,
    incomplete_details: Option<IncompleteDetails>,
    model: &'a str,
    output: Vec<ItemBody<'a>>,
    #[serde(flatten)]
    echo: &'a Echo,
    usage: Option<ResponseUsage>,
    /// The gateway's own member, not OpenAI's.
    #[serde(skip_serializing_if = "Option::is_none")]
    x_codex: Option<Extension<'a>>,
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    code: &'static str,
    message: &'a str,
}

#[derive(Serialize)]
struct IncompleteDetails {
    reason: &'static str,
}

/// An item so far.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum ItemBody<'a> {
    Reasoning {
        id: &'a str,
        summary: Vec<PartBody<'a>>,
    },
    Message {
        id: &'a str,
        status: Status,
        role: &'static str,
        content: Vec<PartBody<'a>>,
    },
    FunctionCall {
        id: &'a str,
        status: Status,
        call_id: &'a str,
        name: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        namespace: Option<&'a str>,
        arguments: &'a str,
    },
    CustomToolCall {
        id: &'a str,
        status: Status,
        call_id: &'a str,
        name: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        namespace: Option<&'a str>,
        input: &'a str,
    },
    /// An item whose type depends on the tool.
    #[serde(untagged)]
    Tool(Map<String, Value>),
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum PartBody<'a> {
    SummaryText {
        text: &'a str,
    },
    OutputText {
        annotations: [(); 0],
        logprobs: [(); 0],
        text: &'a str,
    },
}

impl<'a> PartBody<'a> {
    pub(super) fn summary(text: &'a str) -> Self {
        Self::SummaryText { text }
    }

    pub(super) fn output(text: &'a str) -> Self {
        Self::OutputText {
            annotations: [],
            logprobs: [],
            text,
        }
    }
}

impl<'a> From<&'a OutputItem> for ItemBody<'a> {
    fn from(item: &'a OutputItem) -> Self {
        let (id, status) = (item.id.as_str(), item.status);
        // An item without text has no part yet.
        let one = |part, text: &str| match text {
            "" => Vec::new(),
            _ => vec![part],
        };
        match &item.content {
            Content::Reasoning(text) => Self::Reasoning {
                id,
                summary: one(PartBody::summary(text), text),
            },
            Content::Message(text) => Self::Message {
                id,
                status,
                role: "assistant",
                content: one(PartBody::output(text), text),
            },
            Content::Call {
                id: call_id, told, ..
            } => Self::call((id, call_id), status, told),
        }
    }
}

impl<'a> ItemBody<'a> {
    /// An item before its text.
    pub(super) fn begun(item: &'a OutputItem) -> Self {
        let mut body = Self::from(item);
        if let Self::FunctionCall { arguments, .. } = &mut body {
            *arguments = "";
        }
        if let Self::CustomToolCall { input, .. } = &mut body {
            *input = "";
        }
        body
    }

    fn call((id, call_id): (&'a str, &'a str), status: Status, told: &'a ToldCall) -> Self {
        match told {
            ToldCall::Function(ToolName { name, namespace }, arguments) => Self::FunctionCall {
                id,
                status,
                call_id,
                name,
                namespace: namespace.as_deref(),
                arguments,
            },
            ToldCall::Custom(ToolName { name, namespace }, input) => Self::CustomToolCall {
                id,
                status,
                call_id,
                name,
                namespace: namespace.as_deref(),
                input,
            },
            ToldCall::Item(tool, member) => {
                let mut item = tool.item((id, call_id), member);
                item.insert("status".to_owned(), serde_json::json!(status));
                Self::Tool(item)
            }
        }
    }
}

impl<'a> From<&'a ResponseAnswer> for Body<'a> {
    fn from(answer: &'a ResponseAnswer) -> Self {
        let (usage, error) = match &answer.outcome {
            None => (None, None),
            Some(Ok((_, usage))) => (Some(*usage), None),
            Some(Err(error)) => (None, Some(error)),
        };
        let (status, reason) = match answer.state() {
            ResponseStatus::Queued => ("queued", None),
            ResponseStatus::Cancelled => ("cancelled", None),
            ResponseStatus::InProgress => ("in_progress", None),
            ResponseStatus::Completed => ("completed", None),
            ResponseStatus::Incomplete(reason) => ("incomplete", Some(reason)),
            ResponseStatus::Failed => ("failed", None),
        };
        Self {
            id: &answer.head.id,
            object: "response",
            created_at: answer.head.created,
            completed_at: answer.completed_at.filter(|_| status == "completed"),
            status,
            error: error.map(|error| ErrorBody {
                code: error_code(error),
                message: &error.message,
            }),
            incomplete_details: reason.map(|reason| IncompleteDetails { reason }),
            model: &answer.head.model,
            output: answer.output.items().iter().map(ItemBody::from).collect(),
            echo: &answer.context.echo,
            usage: usage.map(ResponseUsage::from),
            x_codex: answer.actions.extension(),
        }
    }
}

/// Chooses one of the error codes that OpenAI publishes for a failed response; clients refuse others.
fn error_code(error: &ApiError) -> &'static str {
    match error.status {
        429 => "rate_limit_exceeded",
        400..=499 => "invalid_prompt",
        _ => "server_error",
    }
}
