//! Claude Code as a client of the gateway: its tools are called by the model of the real Codex.

use std::path::Path;

use codex_gateway_tests::clients::{self, CLAUDE};
use codex_gateway_tests::gateway::Gateway;
use codex_gateway_tests::real::{set_up, variable};
use serde_json::{Value, json};

/// Runs Claude Code with a prompt, and with a model or without one; all that it wrote.
async fn claude(gateway: &Gateway, folder: &Path, prompt: &Value, is_named: bool) -> String {
    let mut program = CLAUDE.command(&variable("TEST_CLAUDE_BIN"), gateway, folder);
    program.args(["-p", &prompt.to_string(), "--allowedTools", "Bash"]);
    if !is_named {
        program.env_remove("ANTHROPIC_MODEL");
    }
    clients::said(program, "").await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex and Claude Code"]
async fn claude_code_runs_the_commands_that_the_model_calls() {
    let (setup, provider) = set_up("TEST_CODEX_BIN", "gpt-5.4").await;
    // The model that it asks for by itself has a meaning, too.
    let aliases = json!({"aliases": {"claude-opus-5-5": "codex-5"}});
    let gateway = setup
        .policy("model.json", aliases.to_string().as_bytes())
        .start()
        .await;
    let folder = tempfile::tempdir().unwrap();
    let run = |command: &str| {
        let arguments = json!({"command": command, "description": "Adds."});
        json!({"name": "Bash", "arguments": arguments.to_string()})
    };
    let both = [run("echo one-$((40 + 2))"), run("echo two-$((40 + 3))")];
    let prompt = json!({"provider": {"text": ["Let me look."], "calls": both, "then": {"text": ["Both ", "done."]}}});
    for is_named in [true, false] {
        let said = claude(&gateway, folder.path(), &prompt, is_named).await;
        assert_eq!(said.trim(), "Both done.");
        let asked = provider.requests();
        let last = asked.last().expect("requests").conversation();
        let results = last
            .into_iter()
            .filter(|(role, _)| role == "function_call_output");
        let results: Vec<String> = results.map(|(_, text)| text).collect();
        assert_eq!(results, ["one-42", "two-43"]);
    }
    gateway.stop().await;
}
