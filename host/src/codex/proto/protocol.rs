//! The messages of `codex proto`: the submissions the gateway writes, and the events it reads.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::prompt;
use crate::codex::{Plan, Usage};

/// The id of the only turn of a process.
pub(super) const TURN: &str = "turn";

/// Reasoning efforts these versions know. They silently skip a submission with any other.
pub(super) const EFFORTS: [&str; 4] = ["minimal", "low", "medium", "high"];

/// A submission, as a line.
#[derive(Serialize)]
struct Submission<'a, T> {
    id: &'a str,
    op: T,
}

#[derive(Serialize)]
struct UserTurn<'a> {
    r#type: &'static str,
    items: Vec<prompt::Input<'a>>,
    cwd: &'a Path,
    approval_policy: &'static str,
    sandbox_policy: Value,
    model: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    effort: Option<&'a str>,
    summary: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    final_output_json_schema: Option<&'a Value>,
}

/// The submission that starts the turn.
pub(super) fn user_turn(plan: &Plan, model: &str, cwd: &Path) -> serde_json::Result<Vec<u8>> {
    let op = UserTurn {
        r#type: "user_turn",
        items: prompt::inputs(&plan.history),
        cwd,
        approval_policy: "never",
        sandbox_policy: json!({"mode": "read-only"}),
        model,
        effort: plan.effort.as_deref(),
        summary: plan.summary(),
        final_output_json_schema: plan.output_schema.as_ref(),
    };
    let mut line = serde_json::to_vec(&Submission { id: TURN, op })?;
    line.push(b'\n');
    Ok(line)
}

/// The submission that ends the running turn.
pub(super) const INTERRUPT: &[u8] = b"{\"id\":\"interrupt\",\"op\":{\"type\":\"interrupt\"}}\n";

/// The submission after which the process exits, once its input has ended.
pub(super) const SHUTDOWN: &[u8] = b"{\"id\":\"shutdown\",\"op\":{\"type\":\"shutdown\"}}\n";

/// A line of the process's output.
#[derive(Debug, Deserialize)]
pub(super) struct Incoming<'a> {
    /// The id of the submission it is about; empty if none.
    #[serde(borrow)]
    pub(super) id: Cow<'a, str>,
    pub(super) msg: EventMsg,
}

/// The events, by Codex's names. Only those that a turn without tools needs.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum EventMsg {
    SessionConfigured {
        rollout_path: Option<PathBuf>,
    },
    TaskStarted,
    AgentMessageDelta {
        delta: String,
    },
    AgentMessage {
        message: String,
    },
    AgentReasoningDelta {
        delta: String,
    },
    AgentReasoning {
        text: String,
    },
    AgentReasoningRawContentDelta {
        delta: String,
    },
    AgentReasoningRawContent {
        text: String,
    },
    AgentReasoningSectionBreak,
    TokenCount {
        info: Option<TokenInfo>,
    },
    StreamError {
        message: String,
    },
    Error {
        message: String,
    },
    TaskComplete {
        last_agent_message: Option<String>,
    },
    TurnAborted,
    #[serde(other)]
    Other,
}

/// The token counts of the conversation.
#[derive(Debug, Deserialize)]
pub(super) struct TokenInfo {
    /// The counts since its beginning.
    pub(super) total_token_usage: TokenUsage,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct TokenUsage {
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
