//! Turns Codex's notifications about one turn into events: a pure decoder, which ignores every other turn.

mod agent;
mod omitted;

use std::path::Path;

use serde_json::value::RawValue;

use self::agent::Agent;
use self::omitted::{omits, unreadable_image};
use super::protocol::{DoneItem, Notification, Params, RawItem, StartedItem, TurnState};
use crate::codex::complaints::Complaints;
use crate::codex::names::for_client;
use crate::codex::{Cause, Error, Event, Named, Tool, TurnOutcome, Usage};

/// Follows one turn. A thread also carries notifications of other turns:
/// injected history comes back as a turn of its own.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    turn: Option<String>,
    agent: Option<Agent>,
    /// The thread is a fork: Codex reports no raw events of it.
    is_fork: bool,
    /// The id of the message whose deltas are arriving.
    message: Option<String>,
    /// The part of the reasoning whose deltas are arriving.
    part: Option<ReasoningPart>,
    sent: Sent,
    /// The value of `sent` when the last upstream response was complete: a retry repeats only later text.
    settled: Sent,
    /// The present upstream response has a message or a call.
    answered: bool,
    /// The end was sent: no further event may follow.
    ended: bool,
    /// Codex has finished the turn.
    over: bool,
}

/// Whether text or reasoning was sent before, so that the next message or part needs a break.
#[derive(Debug, Clone, Copy, Default)]
struct Sent {
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
    /// A decoder for an agent; `tools` are the client's, all others are Codex's own.
    pub(super) fn agent(tools: &[Tool]) -> Self {
        Self {
            agent: Some(Agent::new(tools)),
            ..Self::default()
        }
    }

    /// Names the folder where the agent works.
    pub(super) fn works_in(&mut self, cwd: &Path) {
        if let Some(agent) = &mut self.agent {
            agent.cwd = cwd.to_owned();
        }
    }

    /// Tells whether the thread is a fork.
    pub(super) fn set_fork(&mut self, is_fork: bool) {
        self.is_fork = is_fork;
    }

    /// Follows a turn that has begun already.
    pub(super) fn go_on(&mut self, turn: String) {
        self.turn = Some(turn);
    }

    /// The turn's id, once known.
    pub(super) fn turn_id(&self) -> Option<&str> {
        self.turn.as_deref()
    }

    /// Whether Codex has finished the turn.
    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    /// Whether the turn has failed while Codex still runs it: then it must be interrupted.
    pub(super) fn is_given_up(&self) -> bool {
        self.ended && !self.over
    }

    /// Takes one notification; `emit` gets the events for it.
    pub(super) fn accept(
        &mut self,
        what: Notification,
        params: Params<'_>,
        emit: &mut dyn FnMut(Event),
    ) {
        let is_begun = self.turn.is_some();
        let is_ours = is_begun && params.turn_id.as_deref() == self.turn.as_deref();
        let is_open = is_ours && !self.ended;
        match what {
            Notification::TurnStarted => self.start(&params),
            Notification::TurnCompleted => self.complete(&params, emit),
            Notification::ThreadClosed => {
                self.over = true;
                let closed = Error::WorkerExited("it closed the thread".to_owned());
                self.end(TurnOutcome::Failed(closed), emit);
            }
            Notification::RawItemCompleted if !is_begun && omits(params.item) => {
                self.end(TurnOutcome::Failed(unreadable_image()), emit);
            }
            Notification::MessageDelta if is_open => self.text(params, emit),
            Notification::SummaryDelta if is_open => self.reasoning(params, false, emit),
            Notification::ReasoningDelta if is_open => self.reasoning(params, true, emit),
            Notification::ItemStarted if is_open => self.item_started(params.item, emit),
            Notification::ItemCompleted if is_open => self.item(params.item, emit),
            Notification::RawItemCompleted if is_open => self.raw_item(params.item, emit),
            Notification::PlanUpdated if is_open => self.plan(params, emit),
            Notification::ResponseCompleted if is_open => {
                self.sampled(params.usage.unwrap_or_default().into(), emit);
            }
            Notification::TokenUsageUpdated if is_open && self.is_fork => {
                self.sampled(params.token_usage.unwrap_or_default().last.into(), emit);
            }
            Notification::Error if is_open && params.will_retry => {
                (self.sent, self.message, self.part) = (self.settled, None, None);
                self.answered = false;
                emit(Event::Retrying(params.error.unwrap_or_default().message));
            }
            // Of another turn, after the end, or an error that the end of the turn repeats.
            Notification::MessageDelta
            | Notification::SummaryDelta
            | Notification::ReasoningDelta
            | Notification::ItemStarted
            | Notification::ItemCompleted
            | Notification::RawItemCompleted
            | Notification::PlanUpdated
            | Notification::ResponseCompleted
            | Notification::TokenUsageUpdated
            | Notification::Error => {}
        }
    }

    fn sampled(&mut self, usage: Usage, emit: &mut dyn FnMut(Event)) {
        self.settled = self.sent;
        if !std::mem::take(&mut self.answered) && usage.has_answer() {
            emit(Event::Withheld);
        }
        emit(Event::Sampled(usage));
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
            self.answered = true;
            self.add_text(&id, delta, emit);
        }
    }

    fn add_text(&mut self, id: &str, text: String, emit: &mut dyn FnMut(Event)) {
        let agent = self.agent.as_ref();
        if agent.is_some_and(|agent| agent.commentary.as_deref() == Some(id)) {
            let part = ReasoningPart {
                item: id.to_owned(),
                raw: false,
                index: 0,
            };
            return self.reason(part, text, emit);
        }
        if text.is_empty() {
            return;
        }
        if self.message.as_deref() != Some(id) {
            self.message = Some(id.to_owned());
            if self.sent.text {
                emit(Event::TextBreak);
            }
        }
        self.sent.text = true;
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
            if self.sent.reasoning {
                emit(Event::ReasoningBreak);
            }
        }
        self.sent.reasoning = true;
        emit(Event::Reasoning(text));
    }

    fn item_started(&mut self, item: Option<&RawValue>, emit: &mut dyn FnMut(Event)) {
        match parse(item) {
            // Codex would shorten a conversation that exceeds the model's context window, unasked, before it answers. Only for an
            // agent is that allowed: its own work may exceed the window.
            Some(StartedItem::ContextCompaction) if self.agent.is_none() => {
                let too_long = Error::Upstream {
                    cause: Cause::ContextLength,
                    status: Some(400),
                    message: "The conversation is longer than the model's context window."
                        .to_owned(),
                    named: Named::default(),
                };
                self.end(TurnOutcome::Failed(too_long), emit);
            }
            Some(StartedItem::AgentMessage { id, phase }) => self.begin_message(id, phase),
            Some(StartedItem::ContextCompaction | StartedItem::Other) | None => {
                self.work(item, false, emit);
            }
        }
    }

    fn begin_message(&mut self, id: String, phase: Option<String>) {
        if let Some(agent) = &mut self.agent {
            agent.begin_message(id, phase.as_deref());
        }
    }

    /// Emits the agent's activity for an item that is not part of the answer.
    fn work(&mut self, item: Option<&RawValue>, over: bool, emit: &mut dyn FnMut(Event)) {
        if let Some(agent) = &mut self.agent
            && let Some(activity) = parse(item).and_then(|item| agent.work(item, over))
        {
            emit(Event::Activity(activity));
        }
    }

    fn plan(&self, params: Params<'_>, emit: &mut dyn FnMut(Event)) {
        if self.agent.is_some()
            && let Some(steps) = parse(params.plan)
        {
            let explanation = params.explanation;
            emit(Event::Activity(Agent::planned(explanation, steps)));
        }
    }

    /// Emits the text of a finished item only if none of it arrived before as deltas.
    fn item(&mut self, item: Option<&RawValue>, emit: &mut dyn FnMut(Event)) {
        match parse::<DoneItem>(item) {
            Some(DoneItem::AgentMessage { id, text, phase }) => {
                self.answered = true;
                let in_passing = self.part.take_if(|part| part.item == id).is_some();
                if !in_passing && self.message.as_ref() != Some(&id) {
                    self.begin_message(id.clone(), phase);
                    self.add_text(&id, text.clone(), emit);
                    self.part.take_if(|part| part.item == id);
                }
                self.message = None;
                if let Some(agent) = &mut self.agent
                    && agent.commentary.take() == Some(id)
                {
                    agent.last_words = Some(text);
                }
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
            Some(DoneItem::Other) | None => self.work(item, true, emit),
        }
    }

    fn raw_item(&mut self, item: Option<&RawValue>, emit: &mut dyn FnMut(Event)) {
        let item = parse(item);
        self.answered |= matches!(
            item,
            Some(RawItem::FunctionCall { .. } | RawItem::CustomToolCall { .. })
        );
        match (item, &mut self.agent) {
            (
                Some(RawItem::FunctionCall {
                    call_id,
                    name,
                    namespace,
                    arguments,
                }),
                agent,
            ) => match agent {
                Some(agent) if !agent.is_clients(&name, namespace.as_deref()) => {
                    agent.called(call_id, name, arguments);
                }
                _ => emit(Event::Call {
                    id: call_id,
                    name: for_client(&name).into_owned(),
                    arguments,
                }),
            },
            (
                Some(RawItem::CustomToolCall {
                    call_id,
                    name,
                    input,
                }),
                Some(agent),
            ) => agent.called(call_id, name, input),
            (Some(RawItem::CallOutput { call_id, output }), Some(agent)) => {
                if let Some(activity) = agent.returned(&call_id, output.into_text()) {
                    emit(Event::Activity(activity));
                }
            }
            // Without an agent these are Codex's own affair.
            (Some(RawItem::CustomToolCall { .. } | RawItem::CallOutput { .. }), None)
            | (Some(RawItem::Other) | None, _) => {}
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
        if !self.sent.text && !self.ended {
            // `turn.items` repeats the last message: the last chance to send it.
            turn.items
                .into_iter()
                .for_each(|item| self.item(Some(item), emit));
        }
        let last_words = self.agent.take().and_then(|agent| agent.last_words);
        if let Some(text) = last_words.filter(|_| !self.sent.text && !self.ended) {
            emit(Event::Text(text));
        }
        let outcome = match turn.status.as_ref() {
            "completed" => TurnOutcome::Completed,
            "interrupted" => TurnOutcome::Interrupted,
            _ => turn.error.unwrap_or_default().into_outcome(),
        };
        self.end(outcome, emit);
    }

    fn end(&mut self, outcome: TurnOutcome, emit: &mut dyn FnMut(Event)) {
        if !std::mem::replace(&mut self.ended, true) {
            emit(Event::Ended(outcome));
        }
    }
}

/// The log message for a notification whose shape another version may have changed.
pub(super) const UNEXPECTED: &str = "a notification of Codex has an unexpected shape";

/// Shared by all turns, since each has its own decoder.
static COMPLAINTS: Complaints = Complaints::at_most(1);

/// Parses a part of a notification. A part with an unexpected shape is left out, with a warning in the log.
fn parse<'a, T: serde::Deserialize<'a>>(raw: Option<&'a RawValue>) -> Option<T> {
    match serde_json::from_str(raw?.get()) {
        Ok(value) => Some(value),
        Err(error) => {
            let about = format_args!("byte {}", error.column());
            COMPLAINTS.warn(UNEXPECTED, &about);
            None
        }
    }
}

#[cfg(test)]
mod tests;
