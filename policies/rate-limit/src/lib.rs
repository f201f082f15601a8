//! Names the buckets that a request is charged to: the default `rate-limit` policy of codex-gateway.

#![allow(
    clippy::result_large_err,
    reason = "a denial is the contract's record, and has half this size in a component"
)]

pub mod decide;
pub mod headers;
pub mod scope;
pub mod settings;

codex_policy::export!(rate_limit: decide::Rules);
