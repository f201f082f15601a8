//! The codex-gateway host: one OpenAI request becomes one Codex turn, as WASI policies decide.
//!
//! | module | layer | does |
//! |---|---|---|
//! | [`app`] | 5 | builds everything, serves, drains |
//! | [`api`] | 4 | HTTP: middleware, endpoints, connections, bodies; the only module that uses axum |
//! | [`openai`] | 3 | translates OpenAI's format to ours and back; pure |
//! | [`turn`] | 2 | one exchange with Codex: a pure state machine and its driver |
//! | [`codex`] | 1 | Codex child processes: backends, workers, events |
//! | [`policy`] | 1 | WASI components: prepared, frozen, swapped, called; the only module that uses wasmtime |
//! | [`quota`] | 1 | the counters behind rate limits |
//! | [`telemetry`] | 0 | log, metrics, usage, traces |
//! | [`config`] | | reads environment variables into settings, and reports all mistakes at once |
//! | [`listen`], [`file`](mod@file), [`secret`], [`memory`], `hex` | 0 | sockets, limited file reads, secrets, return of freed memory, digits |
//!
//! A module uses only modules of lower layers, which a test checks. The book (`docs/`) walks through a request, a delta and
//! a swap.

pub mod api;
pub mod app;
pub mod codex;
pub mod config;
pub mod file;
mod hex;
pub mod listen;
pub mod memory;
pub mod openai;
pub mod policy;
pub mod quota;
pub mod registry;
pub mod secret;
mod spelling;
pub mod telemetry;
pub mod turn;
