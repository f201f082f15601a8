//! One turn as a sequence of deltas: the content of the answer, before it is written in an API's dialect.
//!
//! `machine` decides, and is pure; `drive` performs: begin with `machine::Input` and `machine::Output`.

pub mod drive;
pub mod machine;

mod blocks;
mod meter;
mod search;

use std::fmt;

use crate::codex::{self, Cause, Usage};

/// The assumed bytes per token, where the provider has not counted tokens.
pub const BYTES_PER_TOKEN: u64 = 4;

/// The rules of a request that the gateway enforces, not Codex.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    /// Stop sequences; the answer ends before the first that appears.
    pub stop: Vec<String>,
    /// The answer ends after about this many tokens (Codex has no such limit; counted as four bytes a token).
    pub max_tokens: Option<u64>,
    /// The client offered tools: calls are collected and end the turn.
    pub tools: bool,
    /// The client's names of the tools that may be called, and of those that it offered but forbids this time.
    pub offered: Vec<String>,
    /// See `offered`. A call of one of these is left to Codex, which tells the model that there is no such tool.
    pub forbidden: Vec<String>,
    /// The answer is JSON: tags in it are a part of that.
    pub structured: bool,
    /// How `<use_tool>…</use_tool>` blocks in the text are handled.
    pub textual_tools: Textual,
    /// The answer has to be one JSON object, unless it is cut or calls tools.
    pub json_object: bool,
    /// The text between two such blocks that follow each other and stay text; if absent, the text that the model wrote.
    pub block_delimiter: Option<String>,
    /// The estimate of the prompt's tokens, used if the provider never reports them.
    pub prompt_tokens_estimate: u64,
}

/// How tool calls are handled that the model wrote as `<use_tool>…</use_tool>` blocks in the text, for clients that describe
/// their tools in the prompt. The tool-stop policy is asked about each block.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Textual {
    /// They are ordinary text.
    #[default]
    Ignored,
    /// They stay text; a block reaches the client when it is complete.
    Text,
    /// Each becomes a [`Delta::Call`], unless the client offered tools and this is none that may be called: anybody's text may have
    /// such blocks, if the model quotes it.
    Calls {
        /// The prefix of their ids: unique to the answer, since clients send the ids back.
        id_prefix: String,
    },
}

/// A piece of the answer, in the order the client gets it.
#[derive(Debug, Clone, PartialEq)]
pub enum Delta {
    /// Answer text.
    Text(String),
    /// Reasoning text.
    Reasoning(String),
    /// One complete tool call.
    Call {
        /// Position among the calls of the answer, from 0.
        index: u32,
        /// The model's id of the call.
        id: String,
        /// The client's name of the function.
        name: String,
        /// Exactly as the model wrote them.
        arguments: String,
    },
    /// Codex uses a tool of its own, or has used it: no part of the answer.
    Activity(codex::Activity),
    /// The answer is complete. Nothing follows.
    End {
        /// Why it ended.
        finish: Finish,
        /// The stop sequence that ended it, if one did.
        stop: Option<String>,
        /// The tokens it cost.
        usage: Usage,
        /// The usage was estimated (four bytes a token), because the turn ended before the provider counted.
        estimated: bool,
    },
    /// The answer broke off. Nothing follows.
    Failed(Error),
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// The model was done, or a stop sequence was met.
    Stop,
    /// A token limit, the client's or the provider's.
    Length,
    /// The client is to run its tools.
    ToolCalls,
    /// The provider's filter.
    ContentFilter,
}

impl Finish {
    /// One word for the log and metrics.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::ToolCalls => "tool_calls",
            Self::ContentFilter => "content_filter",
        }
    }
}

/// A limit of time. Each is a setting of its own, and has a word of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timer {
    /// From the start of the answer's first turn to the end of its last.
    Total,
    /// From the start of the turn to the first piece of its answer.
    FirstToken,
    /// Codex's silence within an answer that is streamed.
    StreamIdle,
    /// Codex's silence within an answer in one piece.
    Idle,
    /// As `Idle`, for an old Codex (`proto`).
    ProtoIdle,
}

impl Timer {
    /// One word for the log and metrics.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Total => "request_timeout",
            Self::FirstToken => "first_token_timeout",
            Self::StreamIdle => "stream_idle_timeout",
            Self::Idle => "idle_timeout",
            Self::ProtoIdle => "proto_idle_timeout",
        }
    }
}

impl fmt::Display for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Total => "the turn took too long",
            Self::FirstToken => "no answer began",
            Self::StreamIdle | Self::Idle | Self::ProtoIdle => "Codex was silent for too long",
        })
    }
}

/// Why a turn failed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// Codex, or the provider behind it.
    #[error(transparent)]
    Codex(#[from] codex::Error),
    /// A policy could not answer.
    #[error("policy fault: {0}")]
    Policy(String),
    /// It took too long, or nothing came for too long.
    #[error("{timer}: more than {after_ms} ms")]
    Timeout {
        /// Which limit was met.
        timer: Timer,
        /// The limit.
        after_ms: u64,
    },
    /// Codex began again after part of the answer had been sent.
    #[error("the upstream stream broke after part of the answer had been sent: {0}")]
    Restarted(String),
    /// The client wanted a JSON object, and the model answered something else.
    #[error("the answer is no JSON object")]
    NotJson,
    /// Codex interrupted the turn, and not because we asked.
    #[error("Codex interrupted the turn unasked")]
    Interrupted,
    /// The gateway is shutting down.
    #[error("the gateway is shutting down")]
    Draining,
    /// A defect of the gateway: the turn's task panicked.
    #[error("the turn's task panicked")]
    Panicked,
}

impl Error {
    /// One word for it: the metric's label and the log's field.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Codex(error) => codex_code(error),
            Self::Policy(_) => "policy_unavailable",
            Self::Timeout { timer, .. } => timer.code(),
            Self::Restarted(_) => "upstream_restarted",
            Self::NotJson => "answer_not_json",
            Self::Interrupted => "turn_interrupted",
            Self::Draining => "shutting_down",
            Self::Panicked => "internal_error",
        }
    }

    /// The action that the operator has to take before turns can succeed.
    #[must_use]
    pub fn remedy(&self) -> Option<&'static str> {
        match self {
            Self::Codex(codex::Error::NotSignedIn) => {
                Some("Codex is not signed in: run `codex login` as the gateway's user")
            }
            Self::Codex(codex::Error::Upstream {
                cause: Cause::Credential,
                ..
            }) => Some(
                "the model provider refuses Codex's login: sign in again (`codex login`), or renew its key",
            ),
            _ => None,
        }
    }
}

fn codex_code(error: &codex::Error) -> &'static str {
    match error {
        codex::Error::Unavailable(_) => "worker_not_ready",
        codex::Error::Busy => "worker_busy",
        codex::Error::NotSignedIn => "codex_not_signed_in",
        codex::Error::WorkerExited(_) => "worker_exited",
        codex::Error::RpcTimeout { .. } => "worker_request_timeout",
        codex::Error::Rpc { .. } => "worker_error",
        codex::Error::SlowReader { .. } => "slow_reader",
        codex::Error::Upstream { cause, .. } => match cause {
            Cause::ContextLength => "context_length_exceeded",
            Cause::ModelNotFound => "model_not_found",
            Cause::RateLimited => "rate_limit_exceeded",
            Cause::Quota => "insufficient_quota",
            Cause::Overloaded => "overloaded",
            Cause::InvalidRequest => "invalid_request_error",
            Cause::ContentPolicy => "content_policy_violation",
            Cause::Credential => "backend_unauthorized",
            Cause::Unreachable | Cause::Disconnected | Cause::Internal => "upstream_error",
        },
    }
}
