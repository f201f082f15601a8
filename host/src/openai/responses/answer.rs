//! One answer, collected from deltas: the common part of the stream of events and of the whole object.

use super::super::activity::Actions;
use super::super::conversation::arguments_or_empty_object;
use super::super::{ApiError, Head};
use super::output::{Output, Status, Step};
use super::{Context, Memory};
use crate::codex::Usage;
use crate::turn::{Delta, Finish};

#[derive(Debug)]
pub(super) struct ResponseAnswer {
    pub(super) head: Head,
    pub(super) context: Context,
    pub(super) output: Output,
    pub(super) actions: Actions,
    pub(super) stage: Stage,
    pub(super) outcome: Option<Result<(Finish, Usage), ApiError>>,
    /// The time of the end, in seconds since 1970.
    pub(super) completed_at: Option<u64>,
}

/// The stage of an answer that has not ended by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Its turn has not begun.
    Queued,
    Running,
    /// Ended by its client.
    Cancelled,
}

/// The API's status of a response; `Incomplete` with its reason.
#[derive(Debug, Clone, Copy)]
pub(super) enum ResponseStatus {
    Queued,
    Cancelled,
    InProgress,
    Completed,
    Incomplete(&'static str),
    Failed,
}

impl ResponseAnswer {
    pub(super) fn new(head: Head, context: Context) -> Self {
        Self {
            output: Output::new(head.id.clone()),
            actions: Actions::default(),
            head,
            context,
            stage: Stage::Running,
            outcome: None,
            completed_at: None,
        }
    }

    /// Adds a delta, and reports each change of the items to `step`. Nothing is added after the end.
    pub(super) fn push(&mut self, delta: Delta, step: &mut impl FnMut(Step<'_>)) {
        if self.has_ended() {
            return;
        }
        match delta {
            Delta::Reasoning(text) => self.output.add_reasoning(&text, step),
            Delta::Text(text) => self.output.add_text(&text, step),
            // Codex has no setting that keeps the model from making more than one call.
            Delta::Call { index, .. } if index > 0 && self.context.echo.is_one_call() => {}
            Delta::Call {
                id,
                name,
                arguments,
                ..
            } => {
                let arguments = arguments_or_empty_object(arguments);
                let told = self.context.forms.tell(&name, &arguments);
                self.output.add_call(id, (name, arguments), told, step);
            }
            Delta::Activity(activity) => self.actions.push(activity),
            Delta::End { finish, usage, .. } => {
                let status = match incomplete_reason(finish) {
                    Some(_) => Status::Incomplete,
                    None => Status::Completed,
                };
                self.output.close(status, step);
                self.outcome = Some(Ok((finish, usage)));
                self.completed_at = Some((self.head.clock)());
            }
            Delta::Failed(error) => self.fail(error.into()),
        }
    }

    /// Ends the answer with an error, unless it has ended.
    pub(super) fn fail(&mut self, error: ApiError) {
        if !self.has_ended() {
            self.output.close(Status::Incomplete, &mut |_| {});
            self.outcome = Some(Err(error));
        }
    }

    /// Ends the answer for its client, unless it has ended.
    pub(super) fn cancel(&mut self) {
        if !self.has_ended() {
            self.output.close(Status::Incomplete, &mut |_| {});
            self.stage = Stage::Cancelled;
        }
    }

    pub(super) fn has_ended(&self) -> bool {
        self.outcome.is_some() || self.stage == Stage::Cancelled
    }

    /// The state of the answer while it runs, or its end.
    pub(super) fn state(&self) -> ResponseStatus {
        match &self.outcome {
            None => match self.stage {
                Stage::Queued => ResponseStatus::Queued,
                Stage::Running => ResponseStatus::InProgress,
                Stage::Cancelled => ResponseStatus::Cancelled,
            },
            Some(Err(_)) => ResponseStatus::Failed,
            Some(Ok((finish, _))) => match incomplete_reason(*finish) {
                Some(reason) => ResponseStatus::Incomplete(reason),
                None => ResponseStatus::Completed,
            },
        }
    }

    /// See [`super::Events::take_memory`].
    pub(super) fn take_memory(&mut self) -> Option<Memory> {
        if !matches!(self.outcome, Some(Ok(_))) {
            return None;
        }
        let mut conversation = self.context.history.take()?;
        let input = conversation.len();
        let told = self.output.take_told();
        conversation.extend(told.iter().filter_map(|(_, item)| item.clone()));
        Some(Memory {
            conversation,
            input,
            items: told.into_iter().collect(),
        })
    }
}

fn incomplete_reason(finish: Finish) -> Option<&'static str> {
    match finish {
        Finish::Stop | Finish::ToolCalls => None,
        Finish::Length => Some("max_output_tokens"),
        Finish::ContentFilter => Some("content_filter"),
    }
}
