//! Turns Codex's events about the only turn of a process into the gateway's events: a pure decoder.

use super::failure;
use super::protocol::{EventMsg, TokenUsage};
use crate::codex::{Event, TurnOutcome, Usage};

/// Follows one turn.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    told: Told,
    /// The value of `told` when the last upstream response was complete: a retry repeats only later text.
    settled: Told,
    /// The kinds of text that arrived as deltas: the complete text that follows is not sent again.
    streamed: Streamed,
    /// The kind of the last piece of reasoning, until its part ends.
    part: Option<Reasoning>,
    /// The present upstream response has a message.
    answered: bool,
    /// The token counts so far.
    counted: Usage,
    /// The end was sent: no further event may follow.
    over: bool,
}

/// Whether text or reasoning was sent before, so that the next message or part needs a break.
#[derive(Debug, Clone, Copy, Default)]
struct Told {
    text: bool,
    reasoning: bool,
}

#[derive(Debug, Clone, Copy, Default)]
struct Streamed {
    message: bool,
    summary: bool,
    raw: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reasoning {
    Summary,
    Raw,
}

impl Decoder {
    /// Whether the turn is over.
    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    /// Takes one event; `emit` gets the gateway's events for it.
    pub(super) fn accept(&mut self, message: EventMsg, emit: &mut dyn FnMut(Event)) {
        if self.over {
            return;
        }
        match message {
            EventMsg::AgentMessageDelta { delta } if !delta.is_empty() => {
                self.answered = true;
                let begins = !std::mem::replace(&mut self.streamed.message, true);
                self.text(delta, begins, emit);
            }
            EventMsg::AgentMessage { message } => {
                self.answered = true;
                let told = std::mem::take(&mut self.streamed.message);
                let news = if told { String::new() } else { message };
                self.text(news, true, emit);
            }
            EventMsg::AgentReasoningSectionBreak => self.part = None,
            EventMsg::AgentReasoningDelta { delta } => {
                self.streamed.summary = true;
                self.reason(delta, Reasoning::Summary, emit);
            }
            EventMsg::AgentReasoningRawContentDelta { delta } => {
                self.streamed.raw = true;
                self.reason(delta, Reasoning::Raw, emit);
            }
            EventMsg::AgentReasoning { text } if !self.streamed.summary => {
                self.part = None;
                self.reason(text, Reasoning::Summary, emit);
            }
            EventMsg::AgentReasoningRawContent { text } if !self.streamed.raw => {
                self.part = None;
                self.reason(text, Reasoning::Raw, emit);
            }
            EventMsg::TokenCount { info: Some(info) } => self.count(info.total_token_usage, emit),
            EventMsg::StreamError { message } => {
                self.told = self.settled;
                self.begin_response();
                emit(Event::Retrying(message));
            }
            EventMsg::Error { message } => {
                self.end(TurnOutcome::Failed(failure::error(&message)), emit);
            }
            EventMsg::TaskComplete { last_agent_message } => {
                if !self.told.text {
                    // `last_agent_message` repeats the last message: the last chance to send it.
                    self.text(last_agent_message.unwrap_or_default(), true, emit);
                }
                self.end(TurnOutcome::Completed, emit);
            }
            EventMsg::TurnAborted => self.end(TurnOutcome::Interrupted, emit),
            // Empty, or repeated as a whole after its pieces.
            EventMsg::AgentMessageDelta { .. }
            | EventMsg::AgentReasoning { .. }
            | EventMsg::AgentReasoningRawContent { .. }
            | EventMsg::TokenCount { info: None }
            // Not part of the answer.
            | EventMsg::SessionConfigured { .. }
            | EventMsg::TaskStarted
            | EventMsg::Other => {}
        }
    }

    fn text(&mut self, text: String, begins: bool, emit: &mut dyn FnMut(Event)) {
        if text.is_empty() {
            return;
        }
        if begins && self.told.text {
            emit(Event::TextBreak);
        }
        self.told.text = true;
        emit(Event::Text(text));
    }

    fn reason(&mut self, text: String, kind: Reasoning, emit: &mut dyn FnMut(Event)) {
        if text.is_empty() {
            return;
        }
        if self.part.replace(kind) != Some(kind) && self.told.reasoning {
            emit(Event::ReasoningBreak);
        }
        self.told.reasoning = true;
        emit(Event::Reasoning(text));
    }

    /// Codex sends the count twice a response, first at its beginning, still unchanged: only a changed count is new.
    fn count(&mut self, total: TokenUsage, emit: &mut dyn FnMut(Event)) {
        let total = Usage::from(total);
        if total == self.counted {
            return;
        }
        let before = std::mem::replace(&mut self.counted, total);
        self.settled = self.told;
        let answered = self.answered;
        self.begin_response();
        let usage = Usage {
            input: total.input.saturating_sub(before.input),
            cached_input: total.cached_input.saturating_sub(before.cached_input),
            output: total.output.saturating_sub(before.output),
            reasoning: total.reasoning.saturating_sub(before.reasoning),
        };
        if !answered && usage.has_answer() {
            emit(Event::Withheld);
        }
        emit(Event::Sampled(usage));
    }

    fn begin_response(&mut self) {
        (self.streamed, self.part) = (Streamed::default(), None);
        self.answered = false;
    }

    fn end(&mut self, outcome: TurnOutcome, emit: &mut dyn FnMut(Event)) {
        self.over = true;
        emit(Event::Ended(outcome));
    }
}

#[cfg(test)]
mod tests;
