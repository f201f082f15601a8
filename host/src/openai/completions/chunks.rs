//! A completion as a stream: writes the data of each server-sent event.

use super::super::usage::UsageBody;
use super::super::{ApiError, DONE, Head};
use super::{Form, WORDS, choice, write};
use crate::turn::{Delta, Finish};

/// Writes one answer. `[DONE]` comes last; a failure is written last, and nothing follows it.
#[derive(Debug)]
pub struct Chunks {
    head: Head,
    form: Form,
    ended: bool,
}

impl Chunks {
    /// An answer whose stream has not begun.
    #[must_use]
    pub fn new(head: Head, form: Form) -> Self {
        Self {
            head,
            form,
            ended: false,
        }
    }

    /// Appends the chunks for a delta. Reasoning is left out: this API has no member for it.
    pub fn push(&mut self, delta: Delta, out: &mut Vec<String>) {
        if self.ended {
            return;
        }
        match delta {
            Delta::Text(text) => out.push(self.chunk(&text, None)),
            Delta::Reasoning(_) | Delta::Call { .. } | Delta::Activity(_) => {}
            Delta::End { finish, usage, .. } => {
                self.ended = true;
                out.push(self.chunk("", Some(finish)));
                if self.form.include_usage {
                    out.push(write(&self.head, &[], Some(UsageBody::from(usage))));
                }
                out.push(DONE.to_owned());
            }
            Delta::Failed(error) => {
                self.ended = true;
                out.push(ApiError::from(error).in_words(&WORDS).to_json());
            }
        }
    }

    fn chunk(&self, text: &str, finish: Option<Finish>) -> String {
        // Absent if the client did not ask for it; if it did, `null` in all chunks but the last.
        let usage = self.form.include_usage.then_some(());
        write(&self.head, &[choice(text, finish)], usage)
    }
}
