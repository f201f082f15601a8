//! May they call now? Names the buckets a request is paid from; the default `rate-limit` policy of codex-gateway.

pub mod decide;
pub mod headers;
pub mod scope;
pub mod settings;

#[cfg(target_family = "wasm")]
mod component;
