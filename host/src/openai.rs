//! Translates between the dialects of OpenAI and Anthropic and the gateway's plans and deltas, without any knowledge of HTTP.
//!
//! Each dialect (`chat`, `responses`, `completions`, and Anthropic's `messages`) reads a request into a plan, and writes deltas as chunks or as one object;
//! `error/table.rs` has every error.

pub mod chat;
pub mod completions;
pub mod error;
pub mod id;
pub mod messages;
pub mod models;
pub mod responses;

mod activity;
mod content;
mod conversation;
mod format;
mod image;
mod json;
mod json_object;
mod metadata;
mod params;
mod plan_builder;
mod strict_schema;
#[cfg(test)]
mod tests;
mod tools;
mod usage;

pub use error::ApiError;
pub(crate) use error::GatewayError;
pub use metadata::Metadata;
pub use params::MODEL_BYTES;

/// The last event of a stream of chunks that ended normally. It is not JSON.
const DONE: &str = "[DONE]";

/// The model policy's decision about what a request runs on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Target {
    /// The model for Codex.
    pub model: String,
    /// Reasoning effort; absent means the model's default.
    pub effort: Option<String>,
    /// A provider in Codex's configuration; absent means its default.
    pub provider: Option<String>,
}

/// The operator's settings for reading requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reading {
    /// Whether a chat request without `stream` is answered as a stream.
    pub stream: bool,
    /// Whether instructions of the client are left out.
    pub ignore_instructions: bool,
    /// The longest answer to a responses request without a limit of its own.
    pub response_max_tokens: Option<u64>,
    /// Whether a request that offers a tool which nobody runs here is refused; otherwise the tool is left out.
    pub refuse_hosted_tools: bool,
}

/// The members that every part of one answer repeats.
#[derive(Debug, Clone)]
pub struct Head {
    /// For example `chatcmpl-…`.
    pub id: String,
    /// The start of the answer, in seconds since 1970.
    pub created: u64,
    /// The model's name for the client.
    pub model: String,
    /// Reads the clock: seconds since 1970.
    pub clock: fn() -> u64,
}
