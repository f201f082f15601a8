//! The events of a response in the background: bounded, and read by any number of streams, while they come and afterwards.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

use super::{Key, Responses};
use crate::openai::responses::Event;
use crate::openai::{ApiError, GatewayError};

/// The most bytes of events that are kept of one response. Beyond that the oldest are dropped.
const MOST: usize = 16 << 20;

/// The memory by which the events of a response grow: its first part is taken with the response.
pub(super) const STEP: usize = 64 << 10;

/// The events of one response.
#[derive(Debug)]
pub(super) struct EventLog {
    state: Mutex<State>,
    changed: watch::Sender<()>,
}

#[derive(Debug)]
struct State {
    events: VecDeque<Event>,
    /// The sequence number of the first of them: they are numbered without gaps.
    first: u64,
    bytes: usize,
    /// The memory that they may take.
    allowed: usize,
    /// The bytes of all events so far, and the number of them at which more memory is asked for again.
    pushed: usize,
    asks_at: usize,
    ended: bool,
    /// The response was deleted.
    deleted: bool,
}

impl State {
    /// The error for a reader of this event, if the log has it no more, or will not have it for long.
    fn refusal(&self, next: u64) -> Option<GatewayError> {
        let count = self.first.saturating_add(self.events.len() as u64);
        match next {
            _ if self.deleted => Some(GatewayError::ResponseDeleted),
            next if next < self.first => Some(GatewayError::EventsGone),
            next if next > count => Some(GatewayError::EventsAhead { count }),
            _ => None,
        }
    }

    fn push(&mut self, event: Event) {
        let bytes = size(&event);
        self.bytes += bytes;
        self.pushed = self.pushed.saturating_add(bytes);
        self.events.push_back(event);
        while self.bytes > self.allowed
            && let Some(oldest) = self.events.pop_front()
        {
            self.bytes -= size(&oldest);
            self.first += 1;
        }
    }
}

fn size(event: &Event) -> usize {
    size_of::<Event>() + event.data.len()
}

impl EventLog {
    /// A log without events, for which [`STEP`] bytes are taken.
    pub(super) fn new() -> Self {
        Self {
            state: Mutex::new(State {
                events: VecDeque::new(),
                first: 0,
                bytes: 0,
                allowed: STEP,
                pushed: 0,
                asks_at: 0,
                ended: false,
                deleted: false,
            }),
            changed: watch::Sender::new(()),
        }
    }

    /// The memory of the events.
    pub(super) fn bytes(&self) -> usize {
        self.state.lock().bytes
    }

    /// Adds events. For more memory `grow` is asked, with what is needed in all; without it the oldest events are dropped.
    pub(super) fn push(&self, events: Vec<Event>, grow: impl Fn(usize) -> bool) {
        if events.is_empty() {
            return;
        }
        let mut state = self.state.lock();
        if state.ended {
            return;
        }
        for event in events {
            let needed = (state.bytes + size(&event))
                .next_multiple_of(STEP)
                .min(MOST);
            if needed > state.allowed && state.pushed >= state.asks_at {
                if grow(needed) {
                    state.allowed = needed;
                } else {
                    // To ask looks at all responses that run.
                    state.asks_at = state.pushed + STEP;
                }
            }
            state.push(event);
        }
        drop(state);
        self.changed.send_replace(());
    }

    /// Adds the last events, whose memory is taken already.
    pub(super) fn close(&self, events: Vec<Event>) {
        {
            let mut state = self.state.lock();
            if state.ended {
                return;
            }
            state.allowed = MOST;
            for event in events {
                state.push(event);
            }
            state.ended = true;
        }
        self.changed.send_replace(());
    }

    /// Drops all events: what their readers have not read is lost.
    pub(super) fn forget(&self) {
        {
            let mut state = self.state.lock();
            state.events = VecDeque::new();
            (state.bytes, state.allowed) = (0, 0);
            (state.ended, state.deleted) = (true, true);
        }
        self.changed.send_replace(());
    }

    /// Reads the events after this one, or all.
    ///
    /// # Errors
    /// If the next one is not kept any more, or if there is no such event yet.
    pub(super) fn read(self: &Arc<Self>, after: Option<u64>) -> Result<EventReader, GatewayError> {
        let next = after.map_or(0, |after| after.saturating_add(1));
        if let Some(error) = self.state.lock().refusal(next) {
            return Err(error);
        }
        Ok(EventReader {
            changes: self.changed.subscribe(),
            log: Arc::clone(self),
            next,
        })
    }
}

/// An event that its reader cannot have.
#[derive(Debug)]
pub(in crate::api) struct Lost {
    /// Its sequence number.
    pub(in crate::api) number: u64,
    pub(in crate::api) error: GatewayError,
}

/// Reads the events of one response, each once.
#[derive(Debug)]
pub(in crate::api) struct EventReader {
    log: Arc<EventLog>,
    changes: watch::Receiver<()>,
    next: u64,
}

impl EventReader {
    /// The next event; none after the last. May be cancelled.
    ///
    /// # Errors
    /// If it was dropped before it was read; nothing follows.
    pub(in crate::api) async fn next(&mut self) -> Option<Result<Event, Lost>> {
        loop {
            {
                let state = self.log.state.lock();
                if let Some(error) = state.refusal(self.next) {
                    let number = self.next;
                    return Some(Err(Lost { number, error }));
                }
                let at = self.next - state.first;
                let event = usize::try_from(at).ok().and_then(|at| state.events.get(at));
                if let Some(event) = event {
                    self.next += 1;
                    return Some(Ok(event.clone()));
                }
                if state.ended {
                    return None;
                }
            }
            // The log is there as long as its readers.
            self.changes.changed().await.ok()?;
        }
    }
}

impl Responses {
    /// Reads the events of a response after this one, or all.
    ///
    /// # Errors
    /// If there is no such response, if it was not to be streamed, or if these events are not kept any more.
    pub(in crate::api) fn read_events(
        &self,
        caller: &str,
        id: &str,
        after: Option<u64>,
    ) -> Result<EventReader, ApiError> {
        let key: Key = (caller.to_owned(), id.to_owned());
        let running = self.running.events(&key);
        let found = running.or_else(|| Some(self.kept().stored(&key)?.events.clone()));
        let Some(log) = found else {
            return Err(GatewayError::ResponseNotFound { id: key.1 }.into());
        };
        let log = log.ok_or_else(|| GatewayError::NotStreamed.about("stream"))?;
        let about = match after {
            Some(_) => "starting_after",
            None => "stream",
        };
        log.read(after).map_err(|gone| gone.about(about))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn event(bytes: usize) -> Event {
        Event {
            name: "e",
            data: "x".repeat(bytes),
        }
    }

    fn next(reader: &mut EventReader) -> Option<Option<Result<usize, GatewayError>>> {
        let read = reader.next().now_or_never()?;
        let told = |read: Result<Event, Lost>| match read {
            Ok(event) => Ok(event.data.len()),
            Err(lost) => Err(lost.error),
        };
        Some(read.map(told))
    }

    #[tokio::test]
    async fn readers_get_each_event_once_and_wait_for_the_next() {
        let log = Arc::new(EventLog::new());
        log.push(vec![event(0), event(1)], |_| false);
        let [mut all, mut later] = [None, Some(0)].map(|after| log.read(after).unwrap());
        assert_eq!(next(&mut all), Some(Some(Ok(0))));
        for reader in [&mut all, &mut later] {
            assert_eq!(next(reader), Some(Some(Ok(1))));
            assert_eq!(next(reader), None, "it waits");
        }
        let (read, ()) = tokio::join!(all.next(), async { log.close(vec![event(2)]) });
        assert_eq!(read.unwrap().unwrap().data.len(), 2);
        assert_eq!(next(&mut all), Some(None));
        assert_eq!(next(&mut later), Some(Some(Ok(2))));
        assert_eq!(next(&mut later), Some(None));
        assert_eq!(next(&mut log.read(Some(2)).unwrap()), Some(None));
        let ahead = GatewayError::EventsAhead { count: 3 };
        assert_eq!(log.read(Some(3)).unwrap_err(), ahead);
    }

    #[test]
    fn the_oldest_events_are_dropped_without_more_memory() {
        let log = Arc::new(EventLog::new());
        let mut slow = log.read(None).unwrap();
        let asked = Mutex::new(Vec::new());
        let grow = |bytes: usize| {
            asked.lock().push(bytes);
            bytes <= 2 * STEP
        };
        for _ in 0..6 {
            log.push(vec![event(STEP / 2)], grow);
        }
        let asked = asked.into_inner();
        assert_eq!(asked[..2], [2 * STEP, 3 * STEP], "{asked:?}");
        assert!(log.bytes() <= 2 * STEP);
        assert_eq!(next(&mut slow), Some(Some(Err(GatewayError::EventsGone))));
        assert_eq!(log.read(Some(1)).unwrap_err(), GatewayError::EventsGone);
        assert_eq!(
            next(&mut log.read(Some(2)).unwrap()),
            Some(Some(Ok(STEP / 2)))
        );
        log.forget();
        log.close(vec![event(1)]);
        let deleted = GatewayError::ResponseDeleted;
        assert_eq!(next(&mut slow), Some(Some(Err(deleted))));
        assert_eq!((log.bytes(), log.read(Some(9)).is_err()), (0, true));
    }

    #[test]
    fn one_response_has_a_bounded_log_whatever_memory_there_is() {
        let log = EventLog::new();
        for _ in 0..20 {
            log.push(vec![event(1 << 20)], |_| true);
        }
        log.close(vec![event(2 * MOST)]);
        assert!(log.bytes() <= MOST);
    }
}
