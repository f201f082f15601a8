//! A response in the background: its state at any time, and the events of its changes, if its client wants them.

use super::super::{ApiError, Head};
use super::answer::Stage;
use super::{Context, Event, Events, Memory};
use crate::codex::Item;
use crate::turn::Delta;

/// An answer in the background. Each change returns the events that it adds; none if the client asked for none.
#[derive(Debug)]
pub struct Background {
    events: Events,
    streams: bool,
}

impl Background {
    /// An answer that waits for its turn to begin; whether its client wants the events.
    #[must_use]
    pub fn new(head: Head, context: Context, streams: bool) -> Self {
        let mut events = Events::new(head, context);
        events.answer.stage = Stage::Queued;
        Self { events, streams }
    }

    /// Whether there are events.
    #[must_use]
    pub const fn streams(&self) -> bool {
        self.streams
    }

    /// The first events, to be asked for before any change.
    #[must_use]
    pub fn queued(&mut self) -> Vec<Event> {
        self.written(Events::queue)
    }

    /// Notes that the turn has begun.
    #[must_use]
    pub fn begin(&mut self) -> Vec<Event> {
        if self.has_ended() {
            return Vec::new();
        }
        self.events.answer.stage = Stage::Running;
        self.written(Events::begin)
    }

    /// Adds a delta.
    #[must_use]
    pub fn push(&mut self, delta: Delta) -> Vec<Event> {
        if self.streams {
            return self.written(|events, out| events.push(delta, out));
        }
        self.events.answer.push(delta, &mut |_| {});
        Vec::new()
    }

    /// Ends the answer with an error, unless it has ended.
    #[must_use]
    pub fn fail(&mut self, error: ApiError) -> Vec<Event> {
        self.end(|events| events.answer.fail(error))
    }

    /// Ends the answer for its client, unless it has ended.
    #[must_use]
    pub fn cancel(&mut self) -> Vec<Event> {
        self.end(|events| events.answer.cancel())
    }

    fn end(&mut self, end: impl FnOnce(&mut Events)) -> Vec<Event> {
        if self.has_ended() {
            return Vec::new();
        }
        end(&mut self.events);
        self.written(Events::end)
    }

    fn written(&mut self, write: impl FnOnce(&mut Events, &mut Vec<Event>)) -> Vec<Event> {
        let mut written = Vec::new();
        if self.streams {
            write(&mut self.events, &mut written);
        }
        written
    }

    /// Whether nothing follows.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.events.answer.has_ended()
    }

    /// The JSON of the answer so far, also of one that failed or was cancelled.
    #[must_use]
    pub fn json(&self) -> String {
        self.events.answer.json()
    }

    /// The conversation that is answered; empty when the memory was taken.
    #[must_use]
    pub fn input(&self) -> &[Item] {
        let history = self.events.answer.context.history.as_deref();
        history.unwrap_or_default()
    }

    /// The memory to keep of the answer, or the conversation of one that did not end well.
    ///
    /// # Errors
    /// If there is no answer that could be continued.
    pub fn take_memory(&mut self) -> Result<Memory, Vec<Item>> {
        let answer = &mut self.events.answer;
        let memory = answer.take_memory();
        memory.ok_or_else(|| answer.context.history.take().unwrap_or_default())
    }
}
