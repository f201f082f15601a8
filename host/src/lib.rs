//! The codex-gateway host: one OpenAI request becomes one Codex turn, decided by WASI policies.

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
pub mod telemetry;
pub mod turn;
