//! A guest for tests; see `component.rs`.

#[cfg(target_family = "wasm")]
mod component;
