//! Decides whether a turn stops after a tool call: the default `tool-stop` policy of codex-gateway.

pub mod decide;
pub mod settings;

#[cfg(target_family = "wasm")]
mod component;
