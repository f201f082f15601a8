//! Counts the tokens of a turn: the provider's numbers, and estimates where it has not reported any.

use super::BYTES_PER_TOKEN;
use crate::codex::Usage;

/// The counter of one turn. The provider reports once for each upstream response, when the response is complete.
#[derive(Debug)]
pub(super) struct Meter {
    counted: Usage,
    prompt: u64,
    /// An upstream response is under way, or none has begun: its cost is an estimate.
    open: bool,
    /// Bytes of text and calls of the open response that the client got.
    answer: u64,
    /// Bytes of reasoning of the open response that the client got.
    reasoning: u64,
}

impl Meter {
    /// `prompt` is the estimate of the tokens that every upstream response reads.
    pub(super) fn new(prompt: u64) -> Self {
        Self {
            counted: Usage::default(),
            prompt,
            open: true,
            answer: 0,
            reasoning: 0,
        }
    }

    /// Notes content of an upstream response: it belongs to a new response if the last one was counted.
    pub(super) fn open(&mut self) {
        if !self.open {
            *self = Self {
                counted: self.counted,
                ..Self::new(self.prompt)
            };
        }
    }

    pub(super) fn add_answer(&mut self, bytes: usize) {
        self.answer += bytes as u64;
    }

    pub(super) fn add_reasoning(&mut self, bytes: usize) {
        self.reasoning += bytes as u64;
    }

    /// Adds the provider's numbers for the open response.
    pub(super) fn count(&mut self, usage: Usage) {
        self.counted += usage;
        self.open = false;
    }

    /// The cost so far, and whether any of it is estimated.
    pub(super) fn total(&self) -> (Usage, bool) {
        let mut total = self.counted;
        if self.open {
            let reasoning = self.reasoning.div_ceil(BYTES_PER_TOKEN);
            total += Usage {
                input: self.prompt,
                cached_input: 0,
                output: self.answer.div_ceil(BYTES_PER_TOKEN) + reasoning,
                reasoning,
            };
        }
        (total, self.open)
    }
}
