//! The layers that a request passes before and after its endpoint, from the outside in: `drain_body`, `cors`, `request_context`, `head`,
//! and `auth` on guarded routes. `surface` and `router` in `api.rs` set the order.

pub(super) mod auth;
pub(super) mod cors;
pub(super) mod drain_body;
pub(super) mod head;
pub(super) mod request_context;
