//! Recognises API keys by their SHA-256: the default `auth` policy of codex-gateway.

pub mod decide;
pub mod settings;

codex_policy::export!(auth: decide::Rules);
