//! A completion as a stream: writes the data of each server-sent event.

use super::super::usage::UsageBody;
use super::super::{ApiError, DONE, Head};
use super::{Form, WORDS, choice, write};
use crate::codex::Usage;
use crate::turn::{Delta, Finish};

/// Writes one answer. `[DONE]` comes last; a failure is written last, and nothing follows it.
#[derive(Debug)]
pub struct Chunks {
    head: Head,
    form: Form,
    /// Choices that have not ended.
    running: u32,
    /// The usage of the choices that have ended.
    usage: Usage,
}

impl Chunks {
    /// An answer whose stream has not begun.
    #[must_use]
    pub fn new(head: Head, form: Form) -> Self {
        Self {
            head,
            form,
            running: form.choices(),
            usage: Usage::default(),
        }
    }

    /// Appends the chunks for a delta of a choice. Reasoning is left out: this API has no member for it.
    pub fn push(&mut self, choice: u32, delta: Delta, out: &mut Vec<String>) {
        if self.running == 0 {
            return;
        }
        match delta {
            Delta::Text(text) => out.push(self.chunk(choice, &text, None)),
            Delta::Reasoning(_) | Delta::Call { .. } | Delta::Activity(_) => {}
            Delta::End { finish, usage, .. } => {
                out.push(self.chunk(choice, "", Some(finish)));
                self.usage += usage;
                self.running -= 1;
                if self.running == 0 {
                    self.end(out);
                }
            }
            Delta::Failed(error) => {
                self.running = 0;
                out.push(ApiError::from(error).in_words(&WORDS).to_json());
            }
        }
    }

    fn end(&self, out: &mut Vec<String>) {
        if self.form.include_usage {
            out.push(write(&self.head, &[], Some(UsageBody::from(self.usage))));
        }
        out.push(DONE.to_owned());
    }

    fn chunk(&self, index: u32, text: &str, finish: Option<Finish>) -> String {
        // Absent if the client did not ask for it; if it did, `null` in all chunks but the last.
        let usage = self.form.include_usage.then_some(());
        write(&self.head, &[choice(index, text, finish)], usage)
    }
}
