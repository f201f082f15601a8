//! Should the turn stop after this tool call? The default `tool-stop` policy of codex-gateway.

pub mod decide;
pub mod settings;

#[cfg(target_family = "wasm")]
mod component;
