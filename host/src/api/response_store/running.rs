//! Responses in the background that have not ended: bounded, each only for the caller it is made for.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::event_log::{EventLog, EventReader, STEP};
use super::{Ended, Input, Key, Responses, size};
use crate::api::Shared;
use crate::api::turn_stream::Beginning;
use crate::openai::responses::{Background, Event, Memory};
use crate::openai::{ApiError, GatewayError};
use crate::turn;

/// The most such responses, and those of one caller.
const MOST: usize = 256;
const MOST_OF_CALLER: usize = 16;
/// The most bytes of their requests, conversations and events, and of those of one caller. A single one may have more.
const MOST_BYTES: usize = 128 << 20;
const MOST_BYTES_OF_CALLER: usize = 32 << 20;

/// These responses.
#[derive(Default)]
pub(super) struct Running(Mutex<HashMap<Key, Entry>>);

/// A response that has not ended; none once it is kept.
type Slot = Arc<Mutex<Option<Background>>>;

struct Entry {
    object: Slot,
    /// If its client wants them.
    events: Option<Arc<EventLog>>,
    /// Without its events.
    bytes: usize,
    event_bytes: usize,
    stop: CancellationToken,
}

/// Checks that a response may take so many bytes, beside the others.
fn check_room(running: &HashMap<Key, Entry>, key: &Key, bytes: usize) -> Result<(), GatewayError> {
    let has_room = |of_all: bool, (most, most_bytes): (usize, usize)| {
        let others = running.iter().filter(|(other, _)| *other != key);
        let of = others.filter(|(other, _)| of_all || other.0 == key.0);
        let (count, bytes) = of.fold((0, bytes), |(count, bytes), (_, other)| {
            let more = other.bytes.saturating_add(other.event_bytes);
            (count + 1, bytes.saturating_add(more))
        });
        count == 0 || (count < most && bytes <= most_bytes)
    };
    if !has_room(false, (MOST_OF_CALLER, MOST_BYTES_OF_CALLER)) {
        let most = MOST_OF_CALLER;
        return Err(GatewayError::BackgroundFull { most });
    }
    match has_room(true, (MOST, MOST_BYTES)) {
        true => Ok(()),
        false => Err(GatewayError::WorkerBusy),
    }
}

impl Running {
    /// Adds a response, if there is room.
    fn add(&self, key: &Key, entry: Entry) -> Result<(), ApiError> {
        let mut running = self.0.lock();
        check_room(&running, key, entry.bytes.saturating_add(entry.event_bytes))?;
        running.insert(key.clone(), entry);
        Ok(())
    }

    /// Takes so much memory for the events of a response, in all. Returns whether there is room.
    fn grow(&self, key: &Key, event_bytes: usize) -> bool {
        let mut running = self.0.lock();
        let bytes = running.get(key).map(|entry| entry.bytes);
        let bytes = bytes.map(|bytes| bytes.saturating_add(event_bytes));
        if bytes.is_none_or(|bytes| check_room(&running, key, bytes).is_err()) {
            return false;
        }
        if let Some(entry) = running.get_mut(key) {
            entry.event_bytes = event_bytes;
        }
        true
    }

    /// Keeps events, and passes them on to their readers.
    fn tell(&self, key: &Key, log: Option<&Arc<EventLog>>, events: Vec<Event>) {
        if let Some(log) = log {
            log.push(events, |bytes| self.grow(key, bytes));
        }
    }

    /// The events of a response; the inner option is `None` for one that has none.
    pub(super) fn events(&self, key: &Key) -> Option<Option<Arc<EventLog>>> {
        Some(self.0.lock().get(key)?.events.clone())
    }

    /// The JSON of a response so far.
    pub(super) fn object(&self, key: &Key) -> Option<String> {
        let object = Arc::clone(&self.0.lock().get(key)?.object);
        let object = object.lock();
        object.as_ref().map(Background::json)
    }

    /// The conversation that a response answers.
    pub(super) fn input(&self, key: &Key) -> Option<Input> {
        let (object, bytes) = {
            let running = self.0.lock();
            let entry = running.get(key)?;
            (Arc::clone(&entry.object), entry.bytes)
        };
        let conversation = Arc::new(object.lock().as_ref()?.input().to_vec());
        Some(Input {
            count: conversation.len(),
            conversation,
            bytes,
        })
    }

    /// Ends a response, and forgets it.
    pub(super) fn remove(&self, key: &Key) -> bool {
        let Some(entry) = self.0.lock().remove(key) else {
            return false;
        };
        entry.stop.cancel();
        if let Some(events) = entry.events {
            events.forget();
        }
        true
    }

    fn cancel(&self, key: &Key) -> Option<String> {
        let (object, events, stop) = {
            let running = self.0.lock();
            let entry = running.get(key)?;
            (
                Arc::clone(&entry.object),
                entry.events.clone(),
                entry.stop.clone(),
            )
        };
        let mut object = object.lock();
        let object = object.as_mut()?;
        let written = object.cancel();
        self.tell(key, events.as_ref(), written);
        stop.cancel();
        Some(object.json())
    }
}

impl Responses {
    /// Cancels a response that has not ended. Returns its JSON.
    pub(in crate::api) fn cancel(&self, caller: &str, id: &str) -> Option<String> {
        self.running.cancel(&(caller.to_owned(), id.to_owned()))
    }
}

/// A response in the background. When it is dropped, the response has ended, and is kept.
pub(in crate::api) struct Job {
    shared: Shared,
    key: Key,
    object: Slot,
    events: Option<Arc<EventLog>>,
    stop: CancellationToken,
    /// The client knows of it.
    launched: bool,
}

impl Job {
    /// Takes a place for a response, whose request has so many bytes.
    ///
    /// # Errors
    /// If there are too many already.
    pub(in crate::api) fn new(
        shared: &Shared,
        (caller, id): (&str, &str),
        mut object: Background,
        bytes: usize,
    ) -> Result<Self, ApiError> {
        let key = (caller.to_owned(), id.to_owned());
        let stop = CancellationToken::new();
        let bytes = bytes + object.input().iter().map(size).sum::<usize>();
        let events = object.streams().then(|| Arc::new(EventLog::new()));
        let queued = object.queued();
        let object = Arc::new(Mutex::new(Some(object)));
        let entry = Entry {
            object: Arc::clone(&object),
            events: events.clone(),
            bytes,
            event_bytes: if events.is_some() { STEP } else { 0 },
            stop: stop.clone(),
        };
        let running = &shared.responses.running;
        running.add(&key, entry)?;
        running.tell(&key, events.as_ref(), queued);
        Ok(Self {
            shared: shared.clone(),
            key,
            object,
            events,
            stop,
            launched: false,
        })
    }

    /// The JSON of the response now.
    pub(in crate::api) fn json(&self) -> String {
        let object = self.object.lock();
        object.as_ref().map(Background::json).unwrap_or_default()
    }

    /// Reads its events from the first on, if its client wants them.
    pub(in crate::api) fn read_events(&self) -> Option<Result<EventReader, ApiError>> {
        let events = self.events.as_ref()?;
        Some(events.read(None).map_err(ApiError::from))
    }

    /// Changes the response. If it has ended, it is kept before its last event is told: a client may continue it at once.
    fn change(&self, change: impl FnOnce(&mut Background) -> Vec<Event>) {
        let mut slot = self.object.lock();
        let Some(object) = slot.as_mut() else {
            return;
        };
        let written = change(object);
        if !object.has_ended() {
            let running = &self.shared.responses.running;
            return running.tell(&self.key, self.events.as_ref(), written);
        }
        if let Some(object) = slot.take() {
            let bytes = written.iter().map(|event| event.data.len());
            self.keep(object, bytes.sum());
        }
        if let Some(events) = &self.events {
            events.close(written);
        }
    }

    /// Reads the turn to its end, or until the response is cancelled. The gateway waits for this before it ends.
    pub(in crate::api) fn launch(mut self, beginning: Beginning) {
        self.launched = true;
        let requests = self.shared.requests.clone();
        requests.spawn(async move {
            let stop = self.stop.clone();
            stop.run_until_cancelled(self.read(beginning)).await;
        });
    }

    async fn read(&self, beginning: Beginning) {
        let read = async {
            let deltas = beginning.begun().await?;
            self.change(Background::begin);
            let push = |_, delta| self.change(|object| object.push(delta));
            deltas.fold(push).await
        };
        if let Err(error) = read.await {
            self.change(|object| object.fail(error));
        }
    }

    /// Keeps the response, which has ended; its last events have so many bytes. A request for it finds it all the time: it waits
    /// for the slot, or finds what is kept.
    fn keep(&self, mut object: Background, last_bytes: usize) {
        let (json, memory) = (object.json(), object.take_memory());
        let answered = memory.is_ok();
        // Without an answer, the conversation that it should have answered.
        let memory = memory.unwrap_or_else(|conversation| Memory {
            input: conversation.len(),
            conversation,
            ..Memory::default()
        });
        let events = self.events.as_ref();
        let ended = Ended {
            object: json,
            memory,
            answered,
            event_bytes: events.map_or(0, |events| events.bytes() + last_bytes),
            events: events.cloned(),
        };
        let responses = &self.shared.responses;
        let mut running = responses.running.0.lock();
        if running.contains_key(&self.key) {
            let (caller, id) = &self.key;
            responses.keep((caller, id), ended);
            running.remove(&self.key);
        }
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        match self.launched {
            true => self.change(|object| object.fail(turn::Error::Interrupted.into())),
            false => drop(self.shared.responses.running.remove(&self.key)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_take_their_memory_from_what_the_caller_may_have() {
        const MIB: usize = 1 << 20;
        let running = Running::default();
        let key = |caller: &str, id: &str| (caller.to_owned(), id.to_owned());
        let entry = |bytes| Entry {
            object: Slot::default(),
            events: None,
            bytes,
            event_bytes: STEP,
            stop: CancellationToken::new(),
        };
        let [one, other, bobs] = [key("alice", "1"), key("alice", "2"), key("bob", "1")];
        running.add(&one, entry(40 * MIB)).unwrap();
        assert!(running.grow(&one, 2 * STEP), "a single one may have more");
        assert!(running.add(&other, entry(MIB)).is_err());
        assert!(running.remove(&one));
        running.add(&one, entry(30 * MIB)).unwrap();
        running.add(&other, entry(MIB / 2)).unwrap();
        running.add(&bobs, entry(MIB / 2)).unwrap();
        assert!(running.grow(&one, MIB) && running.grow(&bobs, MIB));
        assert!(!running.grow(&other, MIB), "it would be 32.5 MiB");
        assert!(running.grow(&other, MIB / 2));
        assert!(!running.grow(&key("alice", "3"), STEP), "there is none");
    }
}
