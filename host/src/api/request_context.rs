//! The request context: the request's id and generation, and the channel that reports facts to its owner.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use parking_lot::{Mutex, MutexGuard};

use super::error;
use super::facts::{Fact, Reporter};
use crate::openai::ApiError;
use crate::policy::{Caller, Generation};
use crate::turn;

/// The context of one request. It is cheap to clone.
#[derive(Clone)]
pub(super) struct RequestContext(Arc<Inner>);

struct Inner {
    id: String,
    client: String,
    /// The generation that the request began with.
    generation: Arc<Generation>,
    /// The first digits of its digest.
    digest: String,
    /// The candidate's, if its caller is a canary, with the first digits of its digest.
    candidate: OnceLock<(Arc<Generation>, String)>,
    started: Instant,
    /// Headers for the answer.
    headers: Mutex<HeaderMap>,
    owner: Reporter,
}

impl RequestContext {
    /// A context whose request is decided on by this generation; `owner` receives its facts.
    pub(super) fn new(
        id: String,
        client: String,
        generation: Arc<Generation>,
        started: Instant,
        owner: Reporter,
    ) -> Self {
        Self(Arc::new(Inner {
            id,
            client,
            digest: generation.digest().short(),
            generation,
            candidate: OnceLock::new(),
            started,
            headers: Mutex::default(),
            owner,
        }))
    }

    /// The id in `x-request-id`.
    pub(super) fn id(&self) -> &str {
        &self.0.id
    }

    /// The client's address behind trusted proxies, as text.
    pub(super) fn client(&self) -> &str {
        &self.0.client
    }

    /// The generation of this request, from its beginning to its end, unless a candidate decides on it.
    pub(super) fn generation(&self) -> &Arc<Generation> {
        let candidate = self.0.candidate.get();
        candidate.map_or(&self.0.generation, |(candidate, _)| candidate)
    }

    /// Lets a candidate decide on the rest of the request. Returns false if one does already.
    pub(super) fn switch(&self, candidate: Generation) -> bool {
        let digest = candidate.digest().short();
        self.0.candidate.set((Arc::new(candidate), digest)).is_ok()
    }

    /// The first digits of the digest of that generation.
    pub(super) fn digest(&self) -> &str {
        let candidate = self.0.candidate.get();
        candidate.map_or(&self.0.digest, |(_, digest)| digest)
    }

    /// The time since the request arrived.
    pub(super) fn elapsed(&self) -> Duration {
        self.0.started.elapsed()
    }

    /// Sends a fact to the owner.
    pub(super) fn record(&self, fact: Fact) {
        self.0.owner.report(fact);
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
