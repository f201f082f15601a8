//! One module for each endpoint: a handler reads the request, asks the other modules and writes the answer.

pub(super) mod chat;
pub(super) mod completions;
pub(super) mod health;
pub(super) mod metrics;
pub(super) mod models;
pub(super) mod openapi;
pub(super) mod responses;
pub(super) mod usage;
pub(super) mod verify;
