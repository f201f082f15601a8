//! The operator's API on a listener of its own, under `/admin/v1`: who may use it, its endpoints, and the audit line of each act.
//!
//! `endpoints` has the table of all paths. Each request passes `guard`, which knows the operator, bounds the time and writes the
//! audit line.

mod body;
mod digests;
mod endpoints;
mod gate;
mod guard;
mod history;
mod operators;
mod steered;
mod upload;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::FromRef;
use axum::middleware::from_fn_with_state;
use tokio::sync::Semaphore;

use super::endpoints::unknown;
use super::middleware::{drain_body, head};
use super::{Routes, Shared};
use crate::listen::AdminAddr;
use crate::policy::Source;
pub use body::Whole;
pub use endpoints::paths;
pub use operators::{Access, Operator, Role, Tokenless};
#[cfg(any(test, fuzzing))]
pub(super) use upload::count as count_uploaded;

/// The state of the operator's API; handlers may also ask for [`Shared`].
#[derive(Clone)]
pub struct Admin(Arc<Parts>);

/// See [`Admin`].
pub struct Parts {
    /// The state that the clients' API has, too.
    pub shared: Shared,
    /// The access rule.
    pub access: Arc<Access>,
    /// The policy folder, and the history of its activations.
    pub source: Source,
    /// The address that clients use.
    pub address: SocketAddr,
    /// The address that operators use.
    pub listens: AdminAddr,
    /// When the gateway began.
    pub began: Instant,
}

impl Admin {
    /// Shares the parts.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }
}

impl std::ops::Deref for Admin {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl FromRef<Admin> for Shared {
    fn from_ref(admin: &Admin) -> Self {
        admin.shared.clone()
    }
}

/// Reads of files that are under way for operators, at most: a disk that hangs holds no further threads.
static READS: Semaphore = Semaphore::const_new(4);

/// The routes of the table of endpoints, for a listener of its own. No web page may call them: there are no CORS headers.
pub fn router(admin: Admin) -> Routes {
    let shared = admin.shared.clone();
    let mut routes = Router::new();
    for endpoint in endpoints::ALL {
        routes = routes.route(endpoint.path, (endpoint.handlers)());
    }
    routes
        .fallback(unknown::path)
        .method_not_allowed_fallback(unknown::method)
        .layer(from_fn_with_state(shared.clone(), head::head))
        .layer(from_fn_with_state(admin.clone(), guard::guard))
        .layer(from_fn_with_state(shared, drain_body::drain))
        .with_state(admin)
        .into()
}
