//! Maps names to models and efforts: the default `model` policy of codex-gateway.

#![allow(
    clippy::result_large_err,
    reason = "a denial is the contract's record, and has half this size in a component"
)]

pub mod decide;
pub mod effort;
pub mod routes;
pub mod settings;

codex_policy::export!(model: decide::Rules);
