//! The tokens that scripted answers report.

use serde::Deserialize;

/// The tokens of one answer.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tokens {
    /// Tokens of the prompt.
    pub input: u64,
    /// Of these, tokens from the cache.
    pub cached: u64,
    /// Tokens of the answer.
    pub output: u64,
    /// Of these, tokens for reasoning.
    pub reasoning: u64,
}

impl Default for Tokens {
    fn default() -> Self {
        Self {
            input: 120,
            cached: 40,
            output: 30,
            reasoning: 7,
        }
    }
}
