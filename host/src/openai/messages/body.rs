//! The members of a message and of its blocks, as both forms of an answer write them.

use serde::ser::Error;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use super::super::Head;
use super::super::activity::Extension;
use crate::codex::Usage;
use crate::turn::Finish;

/// A block of a message.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Block {
    Text {
        text: String,
    },
    Thinking {
        thinking: String,
        signature: &'static str,
    },
    ToolUse {
        id: String,
        name: String,
        /// JSON: it stays as the model wrote it.
        #[serde(serialize_with = "json")]
        input: String,
    },
}

/// A client sends it back with its block, which is then ignored. Some clients drop a block without one.
pub(super) const SIGNATURE: &str = "Y29kZXgtZ2F0ZXdheQ==";

fn json<S: Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
    let raw: &RawValue = serde_json::from_str(text).map_err(S::Error::custom)?;
    raw.serialize(serializer)
}

/// A message: as a whole, or without its content at the beginning of a stream.
#[derive(Serialize)]
pub(super) struct Body<'a> {
    id: &'a str,
    r#type: &'static str,
    role: &'static str,
    model: &'a str,
    content: &'a [Block],
    #[serde(flatten)]
    ending: Ending<'a>,
    usage: UsageBody,
    /// The gateway's own member, not Anthropic's.
    #[serde(skip_serializing_if = "Option::is_none")]
    x_codex: Option<Extension<'a>>,
}

impl<'a> Body<'a> {
    pub(super) fn new(
        head: &'a Head,
        content: &'a [Block],
        ending: Ending<'a>,
        usage: UsageBody,
    ) -> Self {
        Self {
            id: &head.id,
            r#type: "message",
            role: "assistant",
            model: &head.model,
            content,
            ending,
            usage,
            x_codex: None,
        }
    }

    pub(super) fn with_activity(self, x_codex: Option<Extension<'a>>) -> Self {
        Self { x_codex, ..self }
    }
}

/// Why a message ended.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(super) struct Ending<'a> {
    stop_reason: Option<&'static str>,
    stop_sequence: Option<&'a str>,
}

impl<'a> Ending<'a> {
    /// `stop` is the stop sequence that ended it, if one did.
    pub(super) fn new(finish: Finish, stop: Option<&'a str>) -> Self {
        let (stop_reason, stop_sequence) = match finish {
            Finish::Stop if stop.is_some() => ("stop_sequence", stop),
            Finish::Stop => ("end_turn", None),
            Finish::Length => ("max_tokens", None),
            Finish::ToolCalls => ("tool_use", None),
            Finish::ContentFilter => ("refusal", None),
        };
        Self {
            stop_reason: Some(stop_reason),
            stop_sequence,
        }
    }
}

/// The usage. `input_tokens` are those that were not in the provider's cache.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct UsageBody {
    input_tokens: u64,
    cache_creation_input_tokens: u64,
    cache_read_input_tokens: u64,
    output_tokens: u64,
    output_tokens_details: OutputDetails,
}

#[derive(Debug, Clone, Copy, Serialize)]
struct OutputDetails {
    thinking_tokens: u64,
}

impl From<Usage> for UsageBody {
    fn from(usage: Usage) -> Self {
        Self {
            input_tokens: usage.input.saturating_sub(usage.cached_input),
            // Codex does not report it.
            cache_creation_input_tokens: 0,
            cache_read_input_tokens: usage.cached_input,
            output_tokens: usage.output,
            output_tokens_details: OutputDetails {
                thinking_tokens: usage.reasoning,
            },
        }
    }
}
