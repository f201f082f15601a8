//! Canaries: an authenticated request whose caller is one is passed to a candidate, and so is one that an operator sends it.

use std::sync::Arc;

use axum::http::{HeaderMap, HeaderName};

use super::Shared;
use super::request_context::RequestContext;
use crate::policy::Caller;

/// The digest of the policies that are to decide on one request.
const POLICY: &str = "x-codex-policy";

/// The token of the operator who may say so. No policy sees it.
pub(super) const OPERATOR: HeaderName = HeaderName::from_static("x-codex-operator");

/// Says whether a token is an operator's.
type Tells = dyn Fn(&[u8]) -> bool + Send + Sync;

/// Tells operators' tokens from others.
#[derive(Clone)]
pub struct Operators(Arc<Tells>);

impl Operators {
    /// With a function that tells them, in a time that shows nothing of them.
    pub fn new(are: impl Fn(&[u8]) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(are))
    }

    /// The digits of the policies that an operator names for this request.
    fn named<'a>(&self, headers: &'a HeaderMap) -> Option<&'a str> {
        let token = headers.get(OPERATOR)?;
        let digits = headers.get(POLICY)?.to_str().ok()?;
        (self.0)(token.as_bytes()).then_some(digits)
    }
}

/// Passes a request to a candidate, if its caller, as the serving policies name it, is a canary. Returns whether it did: then the
/// candidate is to be asked who is calling.
pub(super) fn switch(
    shared: &Shared,
    context: &RequestContext,
    headers: &HeaderMap,
    caller: &Caller,
) -> bool {
    let operators = shared.operators.as_ref();
    let named = operators.and_then(|operators| operators.named(headers));
    let serving = context.generation();
    match shared.live.canary_of(serving, caller, named) {
        Some(candidate) => context.switch(candidate),
        None => false,
    }
}
