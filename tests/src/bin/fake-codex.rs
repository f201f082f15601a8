//! `fake-codex`: a scriptable Codex that speaks the parts of the Codex CLI that the gateway uses.
//!
//! Under a name that ends in `proto` (for example a link to it) it is Codex 0.42 with `proto`, else 0.169 with `app-server`.
//! A turn is scripted by its last user message, if that is `{"fake": {…}}` (see `Script`), or by `fake-turn.json`
//! in `$CODEX_HOME`; faults at the start by `fake-start.json` in `$CODEX_HOME` (see `StartFault`). All requests it gets are
//! written to `fake-log.ndjson` there, one JSON object a line, after one with the names in its environment.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "test support: a failure is a failed test"
)]

#[path = "../fake_codex/journal.rs"]
mod journal;
#[path = "../fake_codex/proto.rs"]
mod proto;
#[path = "../fake_codex/script.rs"]
mod script;
#[path = "../fake_codex/server.rs"]
mod server;
#[allow(unreachable_pub, reason = "it is a module of the library, too")]
#[path = "../tokens.rs"]
mod tokens;
#[path = "../fake_codex/turn.rs"]
mod turn;

use std::process::ExitCode;

use serde_json::{Value, json};

fn main() -> ExitCode {
    let mut arguments = std::env::args();
    let is_old = arguments.next().is_some_and(|name| name.ends_with("proto"));
    let arguments: Vec<_> = arguments.collect();
    let words: Vec<_> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["--version"] if is_old => println!("codex-cli 0.42.0"),
        ["--help"] if is_old => {
            println!("Codex CLI (fake)\n\nCommands:\n  exec   Run\n  proto  Run the protocol");
        }
        ["proto", ..] if is_old => return proto::run(&arguments),
        ["--version"] => println!("codex-cli 0.169.0"),
        ["--help"] => println!(
            "Codex CLI (fake)\n\nCommands:\n  exec        Run\n  app-server  Run the app server"
        ),
        ["debug", "models", "--bundled"] => println!("{}", models()),
        ["app-server", ..] => return server::run(&arguments),
        _ => {
            eprintln!("Error: fake-codex does not know {arguments:?}");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

fn models() -> Value {
    let model = |slug: &str, visibility: &str, priority: u64, efforts: &[&str]| {
        let levels: Vec<_> = efforts
            .iter()
            .map(|effort| json!({"effort": effort}))
            .collect();
        json!({
            "slug": slug, "visibility": visibility, "priority": priority, "supported_reasoning_levels": levels,
            "tool_mode": "code_mode_only", "use_responses_lite": true,
        })
    };
    json!({"models": [
        model("fake-mini", "list", 2, &["low"]),
        model("fake-large", "list", 1, &["low", "medium", "high"]),
        model("fake-hidden", "hide", 3, &[]),
    ]})
}
