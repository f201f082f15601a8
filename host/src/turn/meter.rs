//! Meters the tokens of a turn: as the provider counted them, estimated where it has not.

use super::BYTES_PER_TOKEN;
use crate::codex::Usage;

/// Counts one turn. The provider counts once for each upstream response, when it is complete.
#[derive(Debug)]
pub(super) struct Meter {
    counted: Usage,
    prompt: u64,
    /// An upstream response is under way, or none has come yet: what it costs is an estimate.
    open: bool,
    /// Bytes of text and calls the client was given of the open response.
    answer: u64,
    /// Bytes of reasoning likewise.
    reasoning: u64,
}

impl Meter {
    /// `prompt`: the tokens every upstream response is taken to read.
    pub(super) fn new(prompt: u64) -> Self {
        Self {
            counted: Usage::default(),
            prompt,
            open: true,
            answer: 0,
            reasoning: 0,
        }
    }

    /// Something of an upstream response came: the next, if the last was counted.
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

    /// The provider counted the open response.
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
