//! Codex as the gateway uses it: a plan goes in, events come out, the same for every backend.
//!
//! `backend` chooses `app_server`, `proto` or `demo`; other modules see a `Plan`, a `Turn` and its `Event`s.

mod activity;
mod app_server;
mod backend;
mod backoff;
mod binary;
mod command;
mod complaints;
mod config;
mod config_stamp;
mod demo;
mod event_queue;
mod failure;
mod folder;
mod home;
mod leftovers;
mod lines;
mod login;
pub(crate) mod names;
pub mod plan;
mod proto;
mod protocol_log;
mod provider_error;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod replay;
mod start_error;
mod status;
mod stderr;
#[cfg(test)]
pub(crate) mod tests;
mod turn_channel;
mod version;
mod wait_queue;

use std::fmt;

pub use activity::{Action, Activity, Change, Progress, Step};
pub use backend::{Backend, BackendChoice, Turn};
pub use binary::{Probe, ProbeError, locate, probe};
pub use config::{Config, Mode, Recycling, Sandbox};
pub use plan::{Item, Order, Part, Plan, Role, Tool};
pub use protocol_log::ProtocolLogConfig;
pub use start_error::{CatalogueError, StartError};
pub use status::{Places, Status, WorkerStatus};

/// The models a backend offers.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Models {
    /// The listed models, the default one first unless the operator chose another.
    pub listed: Vec<Model>,
    /// The model for requests that name none.
    pub default: String,
}

/// Tokens the model provider counted for one turn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Prompt tokens, the cached ones included.
    pub input: u64,
    /// Prompt tokens that came from the provider's cache.
    pub cached_input: u64,
    /// Answer tokens, reasoning included.
    pub output: u64,
    /// Answer tokens spent on reasoning.
    pub reasoning: u64,
}

impl Usage {
    /// Whether the model wrote more than reasoning.
    fn has_answer(self) -> bool {
        self.output > self.reasoning
    }

    /// Prompt and answer together.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.input.saturating_add(self.output)
    }
}

impl std::ops::AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        // The counts come from the provider and may be absurdly large: the sums must not overflow.
        self.input = self.input.saturating_add(other.input);
        self.cached_input = self.cached_input.saturating_add(other.cached_input);
        self.output = self.output.saturating_add(other.output);
        self.reasoning = self.reasoning.saturating_add(other.reasoning);
    }
}

/// One event of a turn, in Codex's order, the same for both protocols.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A piece of the answer.
    Text(String),
    /// A new message of the same answer begins (never sent before the first).
    TextBreak,
    /// A piece of reasoning, summary or raw.
    Reasoning(String),
    /// A new part of the reasoning begins (never sent before the first).
    ReasoningBreak,
    /// The model called one of the client's tools. Arguments exactly as the model wrote them.
    Call {
        /// The model's id of the call.
        id: String,
        /// The tool, by the name the plan gave it.
        name: String,
        /// JSON, usually; not guaranteed.
        arguments: String,
    },
    /// An activity of Codex itself, with one of its own tools, began or ended.
    Activity(Activity),
    /// The upstream response that ends now cost tokens for an answer, and Codex passed nothing of it on: it drops refusals.
    Withheld,
    /// One upstream response ended, with its usage. All calls of that response were sent before.
    Sampled(Usage),
    /// Codex samples again after a transport error: text that was already sent will be repeated.
    Retrying(String),
    /// The turn is over. No event follows.
    Ended(TurnOutcome),
}

/// How a turn ended.
#[derive(Debug, Clone, PartialEq)]
pub enum TurnOutcome {
    /// The model finished.
    Completed,
    /// The turn ended because the gateway interrupted it.
    Interrupted,
    /// The provider cut the answer at its output limit.
    MaxOutputTokens,
    /// The provider's content filter cut the answer.
    ContentFilter,
    /// The turn failed.
    Failed(Error),
}

/// Why a turn could not start, or failed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// No worker is ready.
    #[error("no Codex worker is ready: {0}")]
    Unavailable(String),
    /// All leases are taken and the wait was too long.
    #[error("every Codex worker is at its limit of concurrent turns")]
    Busy,
    /// The turn needs Codex's own login, and there is none: the operator must act.
    #[error("Codex is not signed in")]
    NotSignedIn,
    /// The worker ended while the turn was running.
    #[error("the Codex worker exited during the turn: {0}")]
    WorkerExited(String),
    /// A request to the worker was not answered in time.
    #[error("the Codex worker did not answer {method} within {after_ms} ms")]
    RpcTimeout {
        /// The JSON-RPC method.
        method: &'static str,
        /// The limit.
        after_ms: u64,
    },
    /// The worker refused a request of the gateway.
    #[error("the Codex worker refused {method}: {message} ({code})")]
    Rpc {
        /// The JSON-RPC method.
        method: &'static str,
        /// The JSON-RPC error code.
        code: i64,
        /// The worker's error message.
        message: String,
    },
    /// The client reads more slowly than Codex writes, and the turn's buffer is full.
    #[error("the client reads too slowly: more than {limit_bytes} bytes are waiting")]
    SlowReader {
        /// The buffer's size.
        limit_bytes: usize,
    },
    /// The model provider refused or failed.
    #[error("upstream {cause}: {message}")]
    Upstream {
        /// The kind of failure.
        cause: Cause,
        /// The HTTP status the provider answered with, where known.
        status: Option<u16>,
        /// The provider's or Codex's message. May contain addresses: for the log only, unless the cause says otherwise.
        message: String,
        /// The names in the provider's error object.
        named: Named,
    },
}

impl Error {
    /// A request that Codex cannot run as it is; the message is for the client.
    fn invalid_request(message: impl Into<String>) -> Self {
        Self::Upstream {
            cause: Cause::InvalidRequest,
            status: Some(400),
            message: message.into(),
            named: Named::default(),
        }
    }
}

/// The names in a provider's error object, as far as it has them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Named {
    /// For example `string_above_max_length`.
    pub code: Option<String>,
    /// The member at fault of the request that Codex sent, in the words of the Responses API: `input[2].call_id`.
    pub param: Option<String>,
}

/// The kinds of upstream failure that the gateway distinguishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The prompt does not fit.
    ContextLength,
    /// The provider does not have the model.
    ModelNotFound,
    /// Too many requests.
    RateLimited,
    /// The gateway's account has used up its quota.
    Quota,
    /// The provider is at capacity.
    Overloaded,
    /// The provider found the request invalid; its message is meant for the client.
    InvalidRequest,
    /// The provider refuses the content.
    ContentPolicy,
    /// Codex's own credential is missing, wrong or expired: the operator must act.
    Credential,
    /// The provider could not be reached.
    Unreachable,
    /// The stream broke before its end.
    Disconnected,
    /// The provider failed in another way.
    Internal,
}

impl Cause {
    /// Whether the provider's message is about the client's request, and meant for the client.
    fn is_the_clients(self) -> bool {
        matches!(
            self,
            Self::InvalidRequest | Self::ContextLength | Self::ModelNotFound | Self::ContentPolicy
        )
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ContextLength => "context length exceeded",
            Self::ModelNotFound => "model not found",
            Self::RateLimited => "rate limited",
            Self::Quota => "quota exceeded",
            Self::Overloaded => "overloaded",
            Self::InvalidRequest => "invalid request",
            Self::ContentPolicy => "content policy",
            Self::Credential => "credential refused",
            Self::Unreachable => "unreachable",
            Self::Disconnected => "disconnected",
            Self::Internal => "internal error",
        })
    }
}

/// A model that Codex lists.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Model {
    /// For example `gpt-6-sol`.
    pub id: String,
    /// Reasoning efforts it supports, lowest first; empty if not known.
    pub efforts: Vec<String>,
}
