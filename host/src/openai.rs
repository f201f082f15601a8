//! OpenAI's words to ours and back: pure translation, knowing nothing of HTTP.

pub mod chat;
pub mod completions;
pub mod error;
pub mod id;
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
pub use metadata::Metadata;

/// The last event of a stream of chunks that ended well. It is not JSON.
const DONE: &str = "[DONE]";

/// What the model policy decided a request runs on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Target {
    /// The model Codex is asked to run.
    pub model: String,
    /// Reasoning effort; absent means the model's default.
    pub effort: Option<String>,
    /// A provider of Codex's configuration; absent means its default.
    pub provider: Option<String>,
}

/// What the operator decided about requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reading {
    /// A chat request that does not say is answered as a stream.
    pub stream: bool,
    /// Instructions of the client are left out.
    pub ignore_instructions: bool,
    /// The longest answer to a responses request that does not say.
    pub response_max_tokens: Option<u64>,
}

/// What every part of one answer repeats.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// For example `chatcmpl-…`.
    pub id: String,
    /// When the answer was begun, in seconds since 1970.
    pub created: u64,
    /// The model by the name the client knows.
    pub model: String,
}
