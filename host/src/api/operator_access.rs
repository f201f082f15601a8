//! The access rule of the endpoints for operators: this machine, or a token that is no client's key.

use axum::http::request::Parts;

use super::{client_addr, credential};
use crate::secret::Secret;

/// The rule for access to an endpoint for operators. Each of the three is enough.
#[derive(Debug, Clone)]
pub struct OperatorAccess {
    /// Any client may read it.
    pub anybody: bool,
    /// Clients on this machine may read it.
    pub loopback: bool,
    /// Clients that send this token may read it.
    pub token: Option<Secret>,
}

impl OperatorAccess {
    /// Whether the request may be answered.
    pub(super) fn allows(&self, parts: &Parts) -> bool {
        self.anybody || self.has_token(parts) || self.loopback && client_addr::is_local(parts)
    }

    /// Compares fingerprints, so that the time it takes shows nothing of the token.
    fn has_token(&self, parts: &Parts) -> bool {
        let expected = self.token.as_ref().map(Secret::fingerprint);
        let given = credential::authorization(parts)
            .filter(|given| given.scheme.eq_ignore_ascii_case("bearer"))
            .map(|given| given.fingerprint.into_owned());
        expected.is_some() && expected == given
    }
}
