//! What the end-to-end tests share: a gateway to talk to, and the neighbours it talks to.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test support: a failure is a failed test"
)]

pub mod gateway;
pub mod guests;
pub mod provider;
pub mod sse;
