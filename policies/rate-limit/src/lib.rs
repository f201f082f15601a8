//! Names the buckets that a request is charged to: the default `rate-limit` policy of codex-gateway.

pub mod decide;
pub mod headers;
pub mod scope;
pub mod settings;

codex_policy::export!(rate_limit: decide::Rules);
