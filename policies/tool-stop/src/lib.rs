//! Decides whether a turn stops after a tool call: the default `tool-stop` policy of codex-gateway.

pub mod decide;
pub mod settings;

codex_policy::export!(tool_stop: decide::Rules);
