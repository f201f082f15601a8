//! Queues the events of one turn for its reader: in order, bounded in bytes, never blocking the writer.

use std::collections::VecDeque;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

use super::{Error, Event, TurnOutcome};

/// Adjacent pieces of text are joined only if more events than this are in the queue.
const JOIN_ABOVE: usize = 256;

/// The memory an event takes in addition to its text.
const OVERHEAD: usize = size_of::<Event>();

/// The queue between the connection's reader task and a turn's reader.
#[derive(Debug)]
pub(super) struct EventQueue {
    limit: usize,
    state: Mutex<QueueState>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct QueueState {
    events: VecDeque<Event>,
    bytes: usize,
    /// `Ended` is in the queue or was taken: no further event is accepted.
    ended: bool,
    /// The reader is gone.
    closed: bool,
}

/// The result of pushing an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pushed {
    /// The event is in the queue, or was dropped because the turn has ended or the reader is gone.
    Accepted,
    /// The event did not fit: the queue now ends with `SlowReader`.
    Overflowed,
}

impl EventQueue {
    /// An event queue that holds at most about `limit` bytes.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            state: Mutex::default(),
            arrived: Notify::new(),
        }
    }

    /// Adds an event. Never waits.
    pub(super) fn push(&self, event: Event) -> Pushed {
        let pushed = self.lock().push(event, self.limit);
        self.arrived.notify_one();
        pushed
    }

    /// The next event, or `None` after `Ended`. Cancel-safe.
    pub(super) async fn next(&self) -> Option<Event> {
        loop {
            {
                let mut state = self.lock();
                if let Some(event) = state.pop() {
                    return Some(event);
                }
                if state.ended || state.closed {
                    return None;
                }
            }
            self.arrived.notified().await;
        }
    }

    /// Frees the queued events and ignores further ones: the reader is gone.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        *state = QueueState {
            closed: true,
            ..QueueState::default()
        };
    }

    fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock()
    }
}

impl QueueState {
    fn push(&mut self, event: Event, limit: usize) -> Pushed {
        if self.ended || self.closed {
            return Pushed::Accepted;
        }
        let ends = matches!(event, Event::Ended(_));
        // An event larger than the limit is not the fault of a slow reader: it is accepted if the queue is empty.
        if !ends && !self.events.is_empty() && self.bytes + cost(&event) > limit {
            self.ended = true;
            self.events
                .push_back(Event::Ended(TurnOutcome::Failed(Error::SlowReader {
                    limit_bytes: limit,
                })));
            return Pushed::Overflowed;
        }
        self.ended = ends;
        match self.join(event) {
            Ok(joined) => self.bytes += joined,
            Err(event) => {
                self.bytes += cost(&event);
                self.events.push_back(event);
            }
        }
        Pushed::Accepted
    }

    /// Appends to the last event if both are of the same kind of text and many wait. Returns the number of bytes added.
    fn join(&mut self, event: Event) -> Result<usize, Event> {
        if self.events.len() <= JOIN_ABOVE {
            return Err(event);
        }
        match (self.events.back_mut(), event) {
            (Some(Event::Text(last)), Event::Text(more))
            | (Some(Event::Reasoning(last)), Event::Reasoning(more)) => {
                last.push_str(&more);
                Ok(more.len())
            }
            (_, event) => Err(event),
        }
    }

    fn pop(&mut self) -> Option<Event> {
        let event = self.events.pop_front()?;
        self.bytes = self.bytes.saturating_sub(cost(&event));
        Some(event)
    }
}

/// The memory an event takes in the queue, in bytes.
fn cost(event: &Event) -> usize {
    OVERHEAD
        + match event {
            Event::Text(text) | Event::Reasoning(text) | Event::Retrying(text) => text.len(),
            Event::Call {
                id,
                name,
                arguments,
            } => id.len() + name.len() + arguments.len(),
            Event::Activity(activity) => activity.bytes(),
            Event::TextBreak
            | Event::ReasoningBreak
            | Event::Withheld
            | Event::Sampled(_)
            | Event::Ended(_) => 0,
        }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn text(piece: &str) -> Event {
        Event::Text(piece.to_owned())
    }

    fn ended() -> Event {
        Event::Ended(TurnOutcome::Completed)
    }

    #[tokio::test]
    async fn events_come_out_in_order_and_nothing_follows_the_end() {
        let event_queue = EventQueue::new(1 << 20);
        for event in [
            text("a"),
            Event::TextBreak,
            text("b"),
            ended(),
            text("late"),
        ] {
            event_queue.push(event);
        }
        let mut seen = Vec::new();
        while let Some(event) = event_queue.next().await {
            seen.push(event);
        }
        assert_eq!(seen, [text("a"), Event::TextBreak, text("b"), ended()]);
        assert_eq!(event_queue.next().await, None);
    }

    #[tokio::test]
    async fn a_reader_that_keeps_up_gets_every_delta_as_it_was() {
        let event_queue = EventQueue::new(1 << 20);
        for n in 0..10_000 {
            event_queue.push(text(&n.to_string()));
            assert_eq!(event_queue.next().await, Some(text(&n.to_string())));
        }
    }

    #[tokio::test]
    async fn many_waiting_deltas_are_joined_and_none_is_lost() {
        let event_queue = EventQueue::new(1 << 20);
        for n in 0..10_000 {
            event_queue.push(text(&format!("{n} ")));
        }
        event_queue.push(ended());
        let mut events = 0;
        let mut whole = String::new();
        while let Some(event) = event_queue.next().await {
            events += 1;
            if let Event::Text(piece) = event {
                whole.push_str(&piece);
            }
        }
        let expected: String = (0..10_000).map(|n| format!("{n} ")).collect();
        assert_eq!(whole, expected);
        assert!(events < 300, "{events} events");
    }

    #[tokio::test]
    async fn text_and_reasoning_are_never_joined_with_each_other() {
        let event_queue = EventQueue::new(1 << 20);
        for _ in 0..400 {
            event_queue.push(text("t"));
            event_queue.push(Event::Reasoning("r".to_owned()));
        }
        event_queue.push(ended());
        let mut seen = Vec::new();
        while let Some(event) = event_queue.next().await {
            seen.push(event);
        }
        assert_eq!(seen.len(), 801);
    }

    #[tokio::test]
    async fn a_slow_reader_gets_what_fitted_and_then_the_reason() {
        let event_queue = EventQueue::new(10_000);
        let mut pushes = 0;
        while event_queue.push(text(&"x".repeat(100))) == Pushed::Accepted {
            pushes += 1;
        }
        assert_eq!(
            event_queue.push(text("late")),
            Pushed::Accepted,
            "after the end pushes are ignored"
        );
        let mut texts = 0;
        let mut last = None;
        while let Some(event) = event_queue.next().await {
            texts += usize::from(matches!(event, Event::Text(_)));
            last = Some(event);
        }
        assert!(pushes > 10);
        assert_eq!(texts, pushes);
        assert_eq!(
            last,
            Some(Event::Ended(TurnOutcome::Failed(Error::SlowReader {
                limit_bytes: 10_000
            })))
        );
    }

    #[tokio::test]
    async fn a_reader_that_takes_makes_room() {
        let event_queue = EventQueue::new(10_000);
        for _ in 0..1_000 {
            assert_eq!(event_queue.push(text(&"x".repeat(5_000))), Pushed::Accepted);
            event_queue.next().await;
        }
    }

    #[tokio::test]
    async fn one_large_event_is_not_called_a_slow_reader() {
        let event_queue = EventQueue::new(1_000);
        assert_eq!(event_queue.push(text(&"x".repeat(5_000))), Pushed::Accepted);
        assert_eq!(event_queue.push(text("more")), Pushed::Overflowed);
    }

    #[tokio::test]
    async fn a_waiting_reader_wakes_and_a_cancelled_one_loses_nothing() {
        let event_queue = Arc::new(EventQueue::new(1 << 20));
        let waiting = tokio::spawn({
            let event_queue = Arc::clone(&event_queue);
            async move { event_queue.next().await }
        });
        tokio::task::yield_now().await;
        waiting.abort();
        let _ = waiting.await;
        event_queue.push(text("kept"));
        assert_eq!(event_queue.next().await, Some(text("kept")));
    }
}
