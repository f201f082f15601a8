//! The codex-gateway host: one OpenAI request becomes one Codex turn, decided by WASI policies.
//!
//! | module | layer | does |
//! |---|---|---|
//! | [`app`] | 5 | builds everything, serves, drains |
//! | [`api`] | 4 | HTTP: middleware, endpoints, connections, bodies; the only module that says axum |
//! | [`openai`] | 3 | OpenAI's words to ours and back; pure |
//! | [`turn`] | 2 | one exchange with Codex: a pure machine, and what drives it |
//! | [`codex`] | 1 | Codex child processes: backends, workers, events |
//! | [`policy`] | 1 | WASI components: prepared, frozen, swapped, asked; the only module that says wasmtime |
//! | [`quota`] | 1 | the counters behind rate limits |
//! | [`telemetry`] | 0 | log, metrics, usage, traces |
//! | [`config`] | | environment variables to settings, all mistakes at once |
//! | [`listen`], [`file`](mod@file), [`secret`], [`memory`] | 0 | sockets, bounded reading, secrets, memory given back |
//!
//! A module names those of lower layers only; tests read the paths. The book (`docs/`) walks through a request, a delta and
//! a swap.

pub mod api;
pub mod app;
pub mod codex;
pub mod config;
pub mod file;
pub mod listen;
pub mod memory;
pub mod openai;
pub mod policy;
pub mod quota;
pub mod secret;
mod spelling;
pub mod telemetry;
pub mod turn;
