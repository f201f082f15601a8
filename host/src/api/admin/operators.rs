//! The operators: known by the fingerprint of a token, each with a role; or without tokens, by the socket they use.

use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::http::Method;
use axum::http::request::Parts;

use crate::api::{client_addr, credential};
use crate::secret::fingerprint;

/// The rights of an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Read.
    View,
    /// Read, and change what serves.
    Operate,
}

impl Role {
    /// Both roles.
    pub const ALL: [Self; 2] = [Self::View, Self::Operate];

    /// Its name in `admin.json` and in the log.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::View => "view",
            Self::Operate => "operate",
        }
    }

    /// Whether it allows requests with this method.
    pub(super) fn allows(self, method: &Method) -> bool {
        self == Self::Operate || is_look(method)
    }
}

/// Whether requests with this method change nothing.
pub(super) fn is_look(method: &Method) -> bool {
    method == Method::GET || method == Method::HEAD
}

/// An operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operator {
    /// The name in the log.
    pub id: String,
    /// The lower-case hexadecimal SHA-256 of the token.
    pub fingerprint: String,
    /// The operator's rights.
    pub role: Role,
}

/// The operators where no tokens are configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tokenless {
    /// The gateway's user, whom alone the permissions of the Unix socket let in.
    UnixSocket,
    /// Everybody on this machine, who may read.
    ThisMachine,
}

impl Tokenless {
    const fn identity(self) -> (&'static str, Role) {
        match self {
            Self::UnixSocket => ("unix socket", Role::Operate),
            Self::ThisMachine => ("this machine", Role::View),
        }
    }
}

/// The access rule of the operator's API.
#[derive(Debug)]
pub struct Access {
    /// The operators of `ADMIN_TOKEN`.
    fixed: Vec<Operator>,
    /// Those of `ADMIN_FILE`, which may change.
    listed: ArcSwap<Vec<Operator>>,
    tokenless: Option<Tokenless>,
}

impl Access {
    /// For operators with tokens; and for those without, if there are no tokens.
    #[must_use]
    pub fn new(fixed: Vec<Operator>, listed: Vec<Operator>, tokenless: Option<Tokenless>) -> Self {
        Self {
            fixed,
            listed: ArcSwap::from_pointee(listed),
            tokenless,
        }
    }

    /// Replaces the operators of the file.
    pub fn list(&self, listed: Vec<Operator>) {
        self.listed.store(Arc::new(listed));
    }

    /// Whether these are the operators of the file.
    #[must_use]
    pub fn lists(&self, operators: &[Operator]) -> bool {
        self.listed.load().as_slice() == operators
    }

    /// The operator that sends a request, if it is known. Fingerprints are compared, so that the time it takes shows nothing of
    /// a token.
    pub(super) fn identify(&self, parts: &Parts) -> Option<(String, Role)> {
        if let Some(tokenless) = self.tokenless {
            let is_let_in = tokenless == Tokenless::UnixSocket || client_addr::is_local(parts);
            let (id, role) = tokenless.identity();
            return is_let_in.then(|| (id.to_owned(), role));
        }
        let credential = credential::authorization(parts);
        let given = credential.filter(|given| given.scheme.eq_ignore_ascii_case("bearer"))?;
        let operator = self.find(&given.fingerprint)?;
        Some((operator.id, operator.role))
    }

    /// Whether this is the token of an operator who may change what serves.
    #[must_use]
    pub fn operates(&self, token: &[u8]) -> bool {
        let operator = self.find(&fingerprint(token));
        operator.is_some_and(|operator| operator.role == Role::Operate)
    }

    fn find(&self, fingerprint: &str) -> Option<Operator> {
        let listed = self.listed.load();
        let mut known = self.fixed.iter().chain(listed.iter());
        known
            .find(|operator| operator.fingerprint == fingerprint)
            .cloned()
    }
}
