//! The layers that every request passes before and after its endpoint.

pub(super) mod auth;
pub(super) mod cors;
pub(super) mod drain_body;
pub(super) mod head;
pub(super) mod request_context;
