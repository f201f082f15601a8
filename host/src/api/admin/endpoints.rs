//! The table of the operator's endpoints, and a module for each.

mod callers;
mod candidates;
mod decisions;
mod events;
mod generations;
mod openapi;
mod status;
mod steer;

use axum::routing::{MethodRouter, get, post};

use super::Admin;

/// An endpoint of the table.
pub(super) struct Endpoint {
    /// As axum writes it: `{digest}` stands for any one segment.
    pub(super) path: &'static str,
    /// Makes its handlers, by method.
    pub(super) handlers: fn() -> MethodRouter<Admin>,
}

/// All of them. `GET` is for every role; other methods need the role `operate`, and are recorded.
pub(super) const ALL: [Endpoint; 16] = [
    endpoint("/admin/v1/status", || get(status::read)),
    endpoint("/admin/v1/generations", || get(generations::list)),
    endpoint("/admin/v1/generations/{digest}", || get(generations::show)),
    endpoint("/admin/v1/candidates", || {
        get(candidates::list).post(candidates::offer)
    }),
    endpoint("/admin/v1/candidates/{digest}", || {
        get(candidates::show).delete(candidates::discard)
    }),
    endpoint("/admin/v1/candidates/{digest}/shadow", || {
        post(candidates::shadow)
    }),
    endpoint("/admin/v1/candidates/{digest}/canary", || {
        post(candidates::canary).delete(candidates::end_canary)
    }),
    endpoint("/admin/v1/candidates/{digest}/promote", || {
        post(steer::promote)
    }),
    endpoint("/admin/v1/rollback", || post(steer::roll_back)),
    endpoint("/admin/v1/follow", || post(steer::follow)),
    endpoint("/admin/v1/decisions", || get(decisions::watch)),
    endpoint("/admin/v1/decisions/{id}", || get(decisions::explain)),
    endpoint("/admin/v1/callers", || get(callers::list)),
    endpoint("/admin/v1/callers/{id}", || get(callers::show)),
    endpoint("/admin/v1/events", || get(events::watch)),
    endpoint("/admin/v1/openapi.json", || get(openapi::document)),
];

const fn endpoint(path: &'static str, handlers: fn() -> MethodRouter<Admin>) -> Endpoint {
    Endpoint { path, handlers }
}

/// The paths of all of them, as axum writes them.
pub fn paths() -> impl Iterator<Item = &'static str> {
    ALL.into_iter().map(|endpoint| endpoint.path)
}
