//! Recognises API keys by their SHA-256: the default `auth` policy of codex-gateway.

#![allow(
    clippy::result_large_err,
    reason = "a denial is the contract's record, and has half this size in a component"
)]

pub mod decide;
pub mod settings;

codex_policy::export!(auth: decide::Rules);
