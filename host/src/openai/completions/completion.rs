//! A completion in one piece, collected from the same deltas as a stream.

use super::super::usage::UsageBody;
use super::super::{ApiError, Head};
use super::{Form, choice, write};
use crate::codex::Usage;
use crate::turn::{self, Delta, Finish};

/// An answer that is being collected.
#[derive(Debug)]
pub struct Completion {
    head: Head,
    choices: Vec<Collected>,
}

/// The content of one choice.
#[derive(Debug, Default)]
struct Collected {
    text: String,
    outcome: Option<Result<(Finish, Usage), turn::Error>>,
}

impl Completion {
    /// An answer without content so far.
    #[must_use]
    pub fn new(head: Head, form: Form) -> Self {
        let choices = (0..form.choices()).map(|_| Collected::default()).collect();
        Self { head, choices }
    }

    /// Adds a delta of a choice.
    pub fn push(&mut self, choice: u32, delta: Delta) {
        let choice = usize::try_from(choice).ok();
        let Some(choice) = choice.and_then(|choice| self.choices.get_mut(choice)) else {
            return;
        };
        match delta {
            Delta::Text(text) => choice.text.push_str(&text),
            Delta::Reasoning(_) | Delta::Call { .. } | Delta::Activity(_) => {}
            Delta::End { finish, usage, .. } => choice.outcome = Some(Ok((finish, usage))),
            Delta::Failed(error) => choice.outcome = Some(Err(error)),
        }
    }

    /// The JSON of the whole answer, with the sum of the usage of all choices.
    ///
    /// # Errors
    /// If a choice failed or did not end: a partial answer is not sent.
    pub fn into_json(self) -> Result<String, ApiError> {
        let mut usage = Usage::default();
        let mut choices = Vec::with_capacity(self.choices.len());
        for (index, collected) in (0..).zip(&self.choices) {
            let outcome = collected.outcome.clone();
            let (finish, cost) = outcome.unwrap_or(Err(turn::Error::Interrupted))?;
            usage += cost;
            choices.push(choice(index, &collected.text, Some(finish)));
        }
        Ok(write(&self.head, &choices, Some(UsageBody::from(usage))))
    }
}
