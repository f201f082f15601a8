//! A message in one piece, collected from the same steps as a stream.

use super::super::activity::Actions;
use super::super::{ApiError, Head, json};
use super::Form;
use super::answer::{Answer, collect};
use super::body::{Block, Body, Ending};
use crate::codex::Usage;
use crate::turn::{self, Delta, Finish};

/// An answer that is being collected.
#[derive(Debug)]
pub struct Message {
    head: Head,
    answer: Answer,
    blocks: Vec<Block>,
    actions: Actions,
    outcome: Option<Result<End, turn::Error>>,
}

#[derive(Debug)]
struct End {
    finish: Finish,
    stop: Option<String>,
    usage: Usage,
}

impl Message {
    /// An answer without content so far.
    #[must_use]
    pub fn new(head: Head, form: Form) -> Self {
        Self {
            head,
            answer: Answer::new(form),
            blocks: Vec::new(),
            actions: Actions::default(),
            outcome: None,
        }
    }

    /// Adds a delta.
    pub fn push(&mut self, delta: Delta) {
        let blocks = &mut self.blocks;
        self.answer.push(&delta, &mut |step| collect(blocks, step));
        match delta {
            Delta::Activity(activity) => self.actions.push(activity),
            Delta::End {
                finish,
                stop,
                usage,
                ..
            } => {
                self.outcome = Some(Ok(End {
                    finish,
                    stop,
                    usage,
                }));
            }
            Delta::Failed(error) => self.outcome = Some(Err(error)),
            Delta::Text(_) | Delta::Reasoning(_) | Delta::Call { .. } => {}
        }
    }

    /// The JSON of the whole answer.
    ///
    /// # Errors
    /// If it failed or did not end: a partial answer is not sent.
    pub fn into_json(self) -> Result<String, ApiError> {
        let end = self.outcome.unwrap_or(Err(turn::Error::Interrupted))?;
        let ending = Ending::new(end.finish, end.stop.as_deref());
        let body = Body::new(&self.head, &self.blocks, ending, end.usage.into());
        Ok(json::write(&body.with_activity(self.actions.extension())))
    }
}
