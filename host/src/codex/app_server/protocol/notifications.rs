//! The notifications that the gateway reads, with the members it uses.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::work::ToolOutput;
use crate::codex::Usage;
use crate::codex::failure::Failure;

/// The notifications that the gateway reads. Codex has many more, which need not be parsed at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Notification {
    MessageDelta,
    SummaryDelta,
    ReasoningDelta,
    ItemStarted,
    ItemCompleted,
    RawItemCompleted,
    PlanUpdated,
    /// The provider has ended one of the turn's responses.
    ResponseCompleted,
    /// The same for a fork, which has no raw events; but not before the outputs of the response's calls.
    TokenUsageUpdated,
    Error,
    TurnStarted,
    TurnCompleted,
    ThreadClosed,
}

/// Codex's names of them; methods that are not here are not read. The compiler warns of a variant that is missing here: it is
/// never constructed.
const METHODS: [(&str, Notification); 13] = [
    ("item/agentMessage/delta", Notification::MessageDelta),
    (
        "item/reasoning/summaryTextDelta",
        Notification::SummaryDelta,
    ),
    ("item/reasoning/textDelta", Notification::ReasoningDelta),
    ("item/started", Notification::ItemStarted),
    ("item/completed", Notification::ItemCompleted),
    ("rawResponseItem/completed", Notification::RawItemCompleted),
    ("turn/plan/updated", Notification::PlanUpdated),
    ("rawResponse/completed", Notification::ResponseCompleted),
    ("thread/tokenUsage/updated", Notification::TokenUsageUpdated),
    ("error", Notification::Error),
    ("turn/started", Notification::TurnStarted),
    ("turn/completed", Notification::TurnCompleted),
    ("thread/closed", Notification::ThreadClosed),
];

impl Notification {
    /// The notification of a method; `None` for methods that are not read.
    pub(in super::super) fn of(method: &str) -> Option<Self> {
        let mut methods = METHODS.into_iter();
        Some(methods.find(|(name, _)| *name == method)?.1)
    }
}

/// The parameters of all these notifications, in one type: each notification uses some of them.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(in super::super) struct Params<'a> {
    #[serde(borrow)]
    pub(in super::super) thread_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(in super::super) turn_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(in super::super) item_id: Option<Cow<'a, str>>,
    pub(in super::super) delta: Option<String>,
    pub(in super::super) summary_index: Option<u64>,
    pub(in super::super) content_index: Option<u64>,
    #[serde(borrow)]
    pub(in super::super) item: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(in super::super) turn: Option<&'a RawValue>,
    pub(in super::super) explanation: Option<String>,
    #[serde(borrow)]
    pub(in super::super) plan: Option<&'a RawValue>,
    pub(in super::super) usage: Option<TokenUsage>,
    pub(in super::super) token_usage: Option<TokenUsageUpdate>,
    pub(in super::super) error: Option<Failure>,
    pub(in super::super) will_retry: bool,
}

/// The phase of a message that says what the agent will do next.
pub(in super::super) const COMMENTARY: &str = "commentary";

/// An item that begins. Only the kinds that the gateway needs are distinguished.
#[derive(Debug, Deserialize)]
#[serde(tag = "type")]
pub(in super::super) enum StartedItem {
    /// Codex is about to replace the conversation by a summary of it.
    #[serde(rename = "contextCompaction")]
    ContextCompaction,
    /// A message of the answer.
    #[serde(rename = "agentMessage")]
    AgentMessage {
        id: String,
        #[serde(default)]
        phase: Option<String>,
    },
    #[serde(other)]
    Other,
}

/// A finished item. Only the kinds that the gateway needs are distinguished.
#[derive(Debug, Deserialize)]
#[serde(tag = "type")]
pub(in super::super) enum DoneItem {
    /// A message of the answer.
    #[serde(rename = "agentMessage")]
    AgentMessage {
        id: String,
        text: String,
        #[serde(default)]
        phase: Option<String>,
    },
    /// A reasoning item with its parts.
    #[serde(rename = "reasoning")]
    Reasoning {
        id: String,
        #[serde(default)]
        summary: Vec<String>,
        #[serde(default)]
        content: Vec<String>,
    },
    #[serde(other)]
    Other,
}

/// A finished item as the provider sent it.
#[derive(Debug, Deserialize)]
#[serde(tag = "type")]
pub(in super::super) enum RawItem {
    /// A call of a function: a client's, or a tool of Codex's own.
    #[serde(rename = "function_call")]
    FunctionCall {
        call_id: String,
        name: String,
        /// If present, the function is a tool of Codex's own.
        #[serde(default)]
        namespace: Option<String>,
        arguments: String,
    },
    /// A call of a tool of Codex's own whose input has no schema.
    #[serde(rename = "custom_tool_call")]
    CustomToolCall {
        call_id: String,
        name: String,
        input: String,
    },
    /// The output of a tool.
    #[serde(rename = "function_call_output", alias = "custom_tool_call_output")]
    CallOutput { call_id: String, output: ToolOutput },
    #[serde(other)]
    Other,
}

/// The turn within `turn/started` and `turn/completed`.
#[derive(Debug, Deserialize)]
pub(in super::super) struct TurnState<'a> {
    #[serde(borrow)]
    pub(in super::super) id: Cow<'a, str>,
    #[serde(borrow)]
    pub(in super::super) status: Cow<'a, str>,
    #[serde(default)]
    pub(in super::super) error: Option<Failure>,
    #[serde(borrow, default)]
    pub(in super::super) items: Vec<&'a RawValue>,
}

/// The token counts of a thread.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default)]
pub(in super::super) struct TokenUsageUpdate {
    /// Those of the last upstream response.
    pub(in super::super) last: TokenUsage,
}

/// The token counts of one upstream response.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(in super::super) struct TokenUsage {
    input_tokens: u64,
    cached_input_tokens: u64,
    output_tokens: u64,
    reasoning_output_tokens: u64,
}

impl From<TokenUsage> for Usage {
    fn from(usage: TokenUsage) -> Self {
        Self {
            input: usage.input_tokens,
            cached_input: usage.cached_input_tokens,
            output: usage.output_tokens,
            reasoning: usage.reasoning_output_tokens,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::requests::initialize;
    use super::*;

    #[test]
    fn no_notification_that_is_read_is_declined_in_the_handshake() {
        let handshake = initialize();
        let declined = &handshake["capabilities"]["optOutNotificationMethods"];
        let declined = declined.as_array().unwrap();
        assert!(!declined.is_empty());
        for method in declined {
            let read = Notification::of(method.as_str().unwrap());
            assert_eq!(read, None, "{method}");
        }
    }
}
