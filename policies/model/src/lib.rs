//! Maps names to models and efforts: the default `model` policy of codex-gateway.

pub mod decide;
pub mod effort;
pub mod routes;
pub mod settings;

codex_policy::export!(model: decide::Rules);
