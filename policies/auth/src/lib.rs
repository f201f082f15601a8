//! Recognises API keys by their SHA-256: the default `auth` policy of codex-gateway.

pub mod decide;
pub mod settings;

#[cfg(target_family = "wasm")]
mod component;
