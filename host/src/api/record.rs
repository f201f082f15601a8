//! What one request was: filled in on its way, logged and settled when its last byte is out or its client gone.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use axum::http::{HeaderMap, HeaderName, HeaderValue};

use super::activity;
use crate::codex::Usage;
use crate::openai::{ApiError, Label};
use crate::policy::Generation;
use crate::quota::Hold;
use crate::turn::{self, Delta};

/// Travels with the request; cheap to clone.
#[derive(Clone)]
pub(super) struct Record(Arc<Inner>);

struct Inner {
    id: String,
    generation: Arc<Generation>,
    started: Instant,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    caller: Option<String>,
    model: Option<String>,
    label: Label,
    finish: Option<&'static str>,
    usage: Option<Usage>,
    first_token_ms: Option<u64>,
    headers: HeaderMap,
    holds: Vec<Hold>,
}

impl Record {
    pub(super) fn new(id: String, generation: Arc<Generation>) -> Self {
        Self(Arc::new(Inner {
            id,
            generation,
            started: Instant::now(),
            known: Mutex::default(),
        }))
    }

    /// As the client sees it in `x-request-id`.
    pub(super) fn id(&self) -> &str {
        &self.0.id
    }

    /// The generation this request began with, and ends with.
    pub(super) fn generation(&self) -> &Arc<Generation> {
        &self.0.generation
    }

    pub(super) fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.0.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_caller(&self, id: &str) {
        self.known().caller = Some(id.to_owned());
    }

    pub(super) fn set_model(&self, id: &str) {
        self.known().model = Some(id.to_owned());
    }

    pub(super) fn set_label(&self, label: Label) {
        self.known().label = label;
    }

    /// Notes what a delta says about the request.
    pub(super) fn note(&self, delta: &Delta) {
        match delta {
            Delta::End { finish, .. } => self.known().finish = Some(finish.code()),
            Delta::Failed(error) => {
                self.fail(error.clone());
            }
            Delta::Activity(activity) => activity::log(self.id(), activity),
            Delta::Text(_) | Delta::Reasoning(_) | Delta::Call { .. } => {
                let elapsed = self.elapsed_ms();
                self.known().first_token_ms.get_or_insert(elapsed);
            }
        }
    }

    /// What one of its exchanges cost.
    pub(super) fn add_usage(&self, usage: Usage) {
        *self.known().usage.get_or_insert_default() += usage;
    }

    /// Notes and logs why the exchange failed: the client is not told all of it.
    pub(super) fn fail(&self, error: turn::Error) -> ApiError {
        self.known().finish = Some(error.code());
        tracing::warn!(request = self.id(), code = error.code(), cause = %error, "the turn failed");
        if error.needs_operator() {
            tracing::error!(
                "the model provider refuses Codex's login: sign in again (`codex login`), or renew its key"
            );
        }
        error.into()
    }

    /// A header for the answer, a policy's for example. What is no valid header is left out.
    pub(super) fn add_header(&self, name: &str, value: &str) {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            self.known().headers.insert(name, value);
        }
    }

    pub(super) fn take_headers(&self) -> HeaderMap {
        std::mem::take(&mut self.known().headers)
    }

    /// Keeps what was drawn until the request is over.
    pub(super) fn hold(&self, hold: Hold) {
        self.known().holds.push(hold);
    }

    /// Settles the quotas and writes the one log line.
    pub(super) fn close(&self, line: &Line) {
        let mut known = self.known();
        let usage = known.usage;
        let mut holds = std::mem::take(&mut known.holds);
        if let Some(usage) = usage {
            for hold in &mut holds {
                hold.settle(usage.total());
            }
        }
        drop(holds);
        if line.is_probe() {
            return;
        }
        tracing::info!(
            target: "access",
            request = self.id(),
            method = %line.method,
            path = %line.path,
            status = line.status,
            client = %line.client,
            caller = known.caller.as_deref(),
            model = known.model.as_deref(),
            user = known.label.user.as_deref(),
            metadata = known.label.metadata.as_deref(),
            generation = self.generation().number(),
            duration_ms = self.elapsed_ms(),
            first_token_ms = known.first_token_ms,
            finish = known.finish,
            input_tokens = usage.map(|usage| usage.input),
            cached_tokens = usage.map(|usage| usage.cached_input),
            output_tokens = usage.map(|usage| usage.output),
            bytes = line.bytes,
            complete = line.complete,
            "request"
        );
    }
}

/// The HTTP side of a request; when it is dropped, the request is over, however it ended.
pub(super) struct Line {
    pub(super) record: Record,
    pub(super) method: axum::http::Method,
    pub(super) path: String,
    pub(super) client: String,
    pub(super) status: u16,
    pub(super) bytes: u64,
    /// The last byte was handed over; otherwise the client left.
    pub(super) complete: bool,
}

impl Line {
    /// Probes come every few seconds and say nothing while they succeed.
    fn is_probe(&self) -> bool {
        self.status == 200 && matches!(self.path.as_str(), "/healthz" | "/readyz" | "/livez")
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.record.clone().close(self);
    }
}
