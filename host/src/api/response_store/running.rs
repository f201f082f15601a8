//! Responses in the background that have not ended: bounded, each only for the caller it is made for.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::{Input, Key, Responses, size};
use crate::api::Shared;
use crate::api::turn_stream::Beginning;
use crate::openai::responses::ResponseObject;
use crate::openai::{ApiError, GatewayError};
use crate::turn;

/// The most such responses, and those of one caller.
const MOST: usize = 256;
const MOST_OF_CALLER: usize = 64;
/// The most bytes of their requests and conversations, and of those of one caller. A single one may have more.
const MOST_BYTES: usize = 128 << 20;
const MOST_BYTES_OF_CALLER: usize = 32 << 20;

/// These responses.
#[derive(Default)]
pub(super) struct Running(Mutex<HashMap<Key, Entry>>);

/// A response that has not ended; none once it is kept.
type Slot = Arc<Mutex<Option<ResponseObject>>>;

struct Entry {
    object: Slot,
    bytes: usize,
    stop: CancellationToken,
}

impl Running {
    /// Adds a response, if there is room.
    fn add(&self, key: &Key, entry: Entry) -> Result<(), ApiError> {
        let mut running = self.0.lock();
        let has_room = |of_all: bool, (most, most_bytes): (usize, usize)| {
            let of = running
                .iter()
                .filter(|(other, _)| of_all || other.0 == key.0);
            let (count, bytes) = of.fold((0, entry.bytes), |(count, bytes), (_, other)| {
                (count + 1, bytes.saturating_add(other.bytes))
            });
            count == 0 || (count < most && bytes <= most_bytes)
        };
        if !has_room(false, (MOST_OF_CALLER, MOST_BYTES_OF_CALLER)) {
            let most = MOST_OF_CALLER;
            return Err(GatewayError::BackgroundFull { most }.into());
        }
        if !has_room(true, (MOST, MOST_BYTES)) {
            return Err(GatewayError::WorkerBusy.into());
        }
        running.insert(key.clone(), entry);
        Ok(())
    }

    /// The JSON of a response so far.
    pub(super) fn object(&self, key: &Key) -> Option<String> {
        let object = Arc::clone(&self.0.lock().get(key)?.object);
        let object = object.lock();
        object.as_ref().map(ResponseObject::json)
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
        let removed = self.0.lock().remove(key);
        removed.inspect(|entry| entry.stop.cancel()).is_some()
    }

    fn cancel(&self, key: &Key) -> Option<String> {
        let (object, stop) = {
            let running = self.0.lock();
            let entry = running.get(key)?;
            (Arc::clone(&entry.object), entry.stop.clone())
        };
        let mut object = object.lock();
        let object = object.as_mut()?;
        object.cancel();
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
        object: ResponseObject,
        bytes: usize,
    ) -> Result<Self, ApiError> {
        let key = (caller.to_owned(), id.to_owned());
        let stop = CancellationToken::new();
        let bytes = bytes + object.input().iter().map(size).sum::<usize>();
        let object = Arc::new(Mutex::new(Some(object)));
        let entry = Entry {
            object: Arc::clone(&object),
            bytes,
            stop: stop.clone(),
        };
        shared.responses.running.add(&key, entry)?;
        Ok(Self {
            shared: shared.clone(),
            key,
            object,
            stop,
            launched: false,
        })
    }

    /// The JSON of the response now.
    pub(in crate::api) fn json(&self) -> String {
        let object = self.object.lock();
        object
            .as_ref()
            .map(ResponseObject::json)
            .unwrap_or_default()
    }

    fn change(&self, change: impl FnOnce(&mut ResponseObject)) {
        if let Some(object) = &mut *self.object.lock() {
            change(object);
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
            self.change(ResponseObject::begin);
            let push = |_, delta| self.change(|object| object.push(delta));
            deltas.fold(push).await
        };
        if let Err(error) = read.await {
            self.change(|object| object.fail(error));
        }
    }

    /// Keeps the response. A request for it finds it all the time: it waits for the slot, or finds what is kept.
    fn finish(&self) {
        let mut slot = self.object.lock();
        let Some(mut object) = slot.take() else {
            return;
        };
        object.fail(turn::Error::Interrupted.into());
        let (json, memory) = (object.json(), object.take_memory());
        let responses = &self.shared.responses;
        let mut running = responses.running.0.lock();
        if running.contains_key(&self.key) {
            let (caller, id) = &self.key;
            match memory {
                Ok(memory) => responses.put(caller, id, json, memory),
                Err(input) => responses.put_unanswered(caller, id, json, input),
            }
            running.remove(&self.key);
        }
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        match self.launched {
            true => self.finish(),
            false => drop(self.shared.responses.running.remove(&self.key)),
        }
    }
}
