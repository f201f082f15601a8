//! The request context: the request's id and generation, and the channel that reports facts to its owner.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use futures_util::future::BoxFuture;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::mpsc;

use super::error;
use crate::openai::{ApiError, Metadata};
use crate::policy::{Caller, Generation};
use crate::quota::Reservation;
use crate::telemetry::Turn;
use crate::turn;

/// The context of one request. It is cheap to clone.
#[derive(Clone)]
pub(super) struct RequestContext(Arc<Inner>);

struct Inner {
    id: String,
    generation: Arc<Generation>,
    started: Instant,
    /// Headers for the answer.
    headers: Mutex<HeaderMap>,
    owner: mpsc::UnboundedSender<Fact>,
}

/// A fact for the owner of a request. There are at most a few for each choice.
pub(super) enum Fact {
    /// The caller, from the auth policy.
    Caller(Caller),
    /// The model: its name in the answer, and its name for Codex.
    Model { answer: String, codex: String },
    /// The metadata that the client sends for its own use.
    Metadata(Metadata),
    /// A turn is about to begin; whether its answer is a stream.
    Stream(bool),
    /// The code of the error that ended a turn.
    Failure(&'static str),
    /// A reservation, to be settled when the turns are over.
    Drawn(Reservation),
    /// The turns, to be run to their end.
    Turns(BoxFuture<'static, Vec<Turn>>),
}

impl RequestContext {
    /// A context whose request is decided on by this generation; `owner` receives its facts.
    pub(super) fn new(
        id: String,
        generation: Arc<Generation>,
        started: Instant,
        owner: mpsc::UnboundedSender<Fact>,
    ) -> Self {
        Self(Arc::new(Inner {
            id,
            generation,
            started,
            headers: Mutex::default(),
            owner,
        }))
    }

    /// The id in `x-request-id`.
    pub(super) fn id(&self) -> &str {
        &self.0.id
    }

    /// The generation of this request, from its beginning to its end.
    pub(super) fn generation(&self) -> &Arc<Generation> {
        &self.0.generation
    }

    /// The time since the request arrived.
    pub(super) fn elapsed(&self) -> Duration {
        self.0.started.elapsed()
    }

    /// Sends a fact to the owner.
    pub(super) fn record(&self, fact: Fact) {
        // If the owner has ended, the fact is dropped.
        let _ = self.0.owner.send(fact);
    }

    /// Reports and logs why a turn failed: the client does not get all of it.
    pub(super) fn fail(&self, error: &turn::Error) {
        self.record(Fact::Failure(error.code()));
        tracing::warn!(request = self.id(), code = error.code(), cause = %error, "the turn failed");
        if let Some(remedy) = error.remedy() {
            tracing::error!("{remedy}");
        }
    }

    fn headers(&self) -> MutexGuard<'_, HeaderMap> {
        self.0.headers.lock()
    }

    /// Adds a header to the answer, a policy's for example. An invalid header is left out.
    pub(super) fn add_header(&self, name: &str, value: &str) {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            self.headers().insert(name, value);
        }
    }

    /// Adds the headers of a rate-limit decision. Of two balances the lower one is kept.
    pub(super) fn add_limits(&self, headers: &[(String, String)]) {
        let left = |unit: &str| format!("x-ratelimit-remaining-{unit}");
        let is_tighter_already = |unit: &&str| {
            let name = left(unit);
            let told: Option<u64> = self.headers().get(&name).and_then(number);
            let new = headers.iter().find(|(new, _)| *new == name);
            let new = new.and_then(|(_, value)| value.parse().ok());
            told.zip(new)
                .is_some_and(|(told, new): (u64, u64)| told < new)
        };
        let tighter: Vec<_> = ["requests", "tokens"]
            .into_iter()
            .filter(is_tighter_already)
            .collect();
        for (name, value) in headers {
            let balance = name.strip_prefix("x-ratelimit-");
            if !balance.is_some_and(|rest| tighter.iter().any(|unit| rest.ends_with(unit))) {
                self.add_header(name, value);
            }
        }
    }

    pub(super) fn take_headers(&self) -> HeaderMap {
        std::mem::take(&mut self.headers())
    }
}

fn number(value: &HeaderValue) -> Option<u64> {
    value.to_str().ok()?.parse().ok()
}

/// Every route has a context: a missing one is a mistake in the router.
impl<S: Sync> FromRequestParts<S> for RequestContext {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let context = parts.extensions.get::<Self>().cloned();
        context.ok_or_else(error::internal)
    }
}

/// The caller that the auth policy admitted: on every route that is guarded.
pub(super) struct Authenticated(pub(super) Caller);

impl<S: Sync> FromRequestParts<S> for Authenticated {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let caller = parts.extensions.get::<Caller>().cloned();
        caller.map(Self).ok_or_else(error::internal)
    }
}
