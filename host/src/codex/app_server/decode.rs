//! Codex's notifications about one turn, turned into events: pure, and blind to every other turn.

use serde_json::value::RawValue;

use super::protocol::{DoneItem, Params, RawItem, StartedItem, TurnState};
use crate::codex::{Cause, Error, Event, Outcome};

/// The notifications this decoder reads. Others need not be parsed at all.
pub(super) fn concerns(method: &str) -> bool {
    matches!(
        method,
        "item/agentMessage/delta"
            | "item/reasoning/summaryTextDelta"
            | "item/reasoning/textDelta"
            | "item/started"
            | "item/completed"
            | "rawResponseItem/completed"
            | "rawResponse/completed"
            | "error"
            | "turn/started"
            | "turn/completed"
            | "thread/closed"
    )
}

/// Follows one turn. A thread runs one turn only, but carries notifications of others:
/// injected history comes back as a turn of its own.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    turn: Option<String>,
    /// The message whose deltas are coming.
    message: Option<String>,
    /// The part of the reasoning whose deltas are coming.
    part: Option<ReasoningPart>,
    told: Told,
    /// What had been told when the last upstream response was complete: a retry repeats only what came after.
    settled: Told,
    /// The end was told: nothing may follow.
    ended: bool,
    /// Codex is done with the turn.
    over: bool,
}

/// Whether there is something to set the next message or part apart from.
#[derive(Debug, Clone, Copy, Default)]
struct Told {
    text: bool,
    reasoning: bool,
}

#[derive(Debug, PartialEq)]
struct ReasoningPart {
    item: String,
    raw: bool,
    index: u64,
}

impl Decoder {
    /// The turn's id, once known.
    pub(super) fn turn_id(&self) -> Option<&str> {
        self.turn.as_deref()
    }

    /// Whether Codex is done with the turn.
    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    /// Whether the turn has failed while Codex goes on with it: it is to be interrupted.
    pub(super) fn is_given_up(&self) -> bool {
        self.ended && !self.over
    }

    /// Takes one notification; `emit` gets what it means.
    pub(super) fn accept(&mut self, method: &str, params: Params<'_>, emit: &mut dyn FnMut(Event)) {
        match method {
            "turn/started" => self.start(&params),
            "turn/completed" => self.complete(&params, emit),
            "thread/closed" => {
                self.over = true;
                let closed = Error::WorkerExited("it closed the thread".to_owned());
                self.end(Outcome::Failed(closed), emit);
            }
            _ if self.turn.is_none() || params.turn_id.as_deref() != self.turn.as_deref() => {}
            _ if self.ended => {}
            "item/agentMessage/delta" => self.text(params, emit),
            "item/reasoning/summaryTextDelta" => self.reasoning(params, false, emit),
            "item/reasoning/textDelta" => self.reasoning(params, true, emit),
            "item/started" => self.item_started(params.item, emit),
            "item/completed" => self.item(params.item, emit),
            "rawResponseItem/completed" => raw_item(params.item, emit),
            "rawResponse/completed" => {
                self.settled = self.told;
                emit(Event::Sampled(params.usage.unwrap_or_default().into()));
            }
            "error" if params.will_retry => {
                (self.told, self.message, self.part) = (self.settled, None, None);
                emit(Event::Retrying(params.error.unwrap_or_default().message));
            }
            _ => {}
        }
    }

    fn start(&mut self, params: &Params<'_>) {
        if self.turn.is_none()
            && let Some(turn) = parse::<TurnState<'_>>(params.turn)
        {
            self.turn = Some(turn.id.into_owned());
        }
    }

    fn text(&mut self, params: Params<'_>, emit: &mut dyn FnMut(Event)) {
        if let (Some(id), Some(delta)) = (params.item_id, params.delta) {
            self.tell(&id, delta, emit);
        }
    }

    fn tell(&mut self, id: &str, text: String, emit: &mut dyn FnMut(Event)) {
        if text.is_empty() {
            return;
        }
        if self.message.as_deref() != Some(id) {
            self.message = Some(id.to_owned());
            if self.told.text {
                emit(Event::TextBreak);
            }
        }
        self.told.text = true;
        emit(Event::Text(text));
    }

    fn reasoning(&mut self, params: Params<'_>, raw: bool, emit: &mut dyn FnMut(Event)) {
        let index = if raw {
            params.content_index
        } else {
            params.summary_index
        };
        if let (Some(id), Some(delta)) = (params.item_id, params.delta) {
            self.reason(
                ReasoningPart {
                    item: id.into_owned(),
                    raw,
                    index: index.unwrap_or_default(),
                },
                delta,
                emit,
            );
        }
    }

    fn reason(&mut self, part: ReasoningPart, text: String, emit: &mut dyn FnMut(Event)) {
        if text.is_empty() {
            return;
        }
        if self.part.as_ref() != Some(&part) {
            self.part = Some(part);
            if self.told.reasoning {
                emit(Event::ReasoningBreak);
            }
        }
        self.told.reasoning = true;
        emit(Event::Reasoning(text));
    }

    /// A conversation beyond the model's window is one Codex would shorten, unasked, before it answers.
    fn item_started(&mut self, item: Option<&RawValue>, emit: &mut dyn FnMut(Event)) {
        if let Some(StartedItem::ContextCompaction) = parse(item) {
            let too_long = Error::Upstream {
                cause: Cause::ContextLength,
                status: Some(400),
                message: "The conversation is longer than the model's context window.".to_owned(),
            };
            self.end(Outcome::Failed(too_long), emit);
        }
    }

    /// A finished item is news only if none of its text came before, as deltas.
    fn item(&mut self, item: Option<&RawValue>, emit: &mut dyn FnMut(Event)) {
        match parse::<DoneItem>(item) {
            Some(DoneItem::AgentMessage { id, text }) => {
                if self.message.as_deref() != Some(&*id) {
                    self.tell(&id, text, emit);
                }
                self.message = None;
            }
            Some(DoneItem::Reasoning {
                id,
                summary,
                content,
            }) => {
                if self.part.as_ref().is_none_or(|part| part.item != id) {
                    for (raw, texts) in [(false, summary), (true, content)] {
                        for (index, text) in (0_u64..).zip(texts) {
                            self.reason(
                                ReasoningPart {
                                    item: id.clone(),
                                    raw,
                                    index,
                                },
                                text,
                                emit,
                            );
                        }
                    }
                }
                self.part = None;
            }
            Some(DoneItem::Other) | None => {}
        }
    }

    fn complete(&mut self, params: &Params<'_>, emit: &mut dyn FnMut(Event)) {
        let Some(turn) = parse::<TurnState<'_>>(params.turn) else {
            return;
        };
        if self.turn.as_deref().is_some_and(|ours| ours != turn.id) {
            return;
        }
        self.over = true;
        if !self.told.text && !self.ended {
            // It repeats the last message: the last chance to tell it.
            turn.items
                .into_iter()
                .for_each(|item| self.item(Some(item), emit));
        }
        let outcome = match turn.status.as_ref() {
            "completed" => Outcome::Completed,
            "interrupted" => Outcome::Interrupted,
            _ => turn.error.unwrap_or_default().into_outcome(),
        };
        self.end(outcome, emit);
    }

    fn end(&mut self, outcome: Outcome, emit: &mut dyn FnMut(Event)) {
        if !std::mem::replace(&mut self.ended, true) {
            emit(Event::Ended(outcome));
        }
    }
}

fn raw_item(item: Option<&RawValue>, emit: &mut dyn FnMut(Event)) {
    if let Some(RawItem::FunctionCall {
        call_id,
        name,
        arguments,
    }) = parse(item)
    {
        emit(Event::Call {
            id: call_id,
            name,
            arguments,
        });
    }
}

/// What does not have the expected shape is left out, and said in the log.
fn parse<'a, T: serde::Deserialize<'a>>(raw: Option<&'a RawValue>) -> Option<T> {
    match serde_json::from_str(raw?.get()) {
        Ok(value) => Some(value),
        Err(error) => {
            tracing::warn!(
                at = error.column(),
                "a notification of Codex has an unexpected shape"
            );
            None
        }
    }
}

#[cfg(test)]
mod tests;
