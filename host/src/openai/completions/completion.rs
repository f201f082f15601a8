//! A completion in one piece, collected from the same deltas as a stream.

use super::super::usage::UsageBody;
use super::super::{ApiError, Head};
use super::{choice, write};
use crate::codex::Usage;
use crate::turn::{self, Delta, Finish};

/// An answer that is being collected.
#[derive(Debug)]
pub struct Completion {
    head: Head,
    text: String,
    outcome: Option<Result<(Finish, Usage), turn::Error>>,
}

impl Completion {
    /// An answer without content so far.
    #[must_use]
    pub fn new(head: Head) -> Self {
        Self {
            head,
            text: String::new(),
            outcome: None,
        }
    }

    /// Adds a delta.
    pub fn push(&mut self, delta: Delta) {
        match delta {
            Delta::Text(text) => self.text.push_str(&text),
            Delta::Reasoning(_) | Delta::Call { .. } | Delta::Activity(_) => {}
            Delta::End { finish, usage, .. } => self.outcome = Some(Ok((finish, usage))),
            Delta::Failed(error) => self.outcome = Some(Err(error)),
        }
    }

    /// The JSON of the whole answer.
    ///
    /// # Errors
    /// If the answer failed or did not end: a partial answer is not sent.
    pub fn into_json(self) -> Result<String, ApiError> {
        let (finish, usage) = self.outcome.unwrap_or(Err(turn::Error::Interrupted))?;
        let choices = [choice(&self.text, Some(finish))];
        Ok(write(&self.head, &choices, Some(UsageBody::from(usage))))
    }
}
