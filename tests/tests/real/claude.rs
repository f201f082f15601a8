//! Claude Code as a client of the gateway: its tools are called by the model of the real Codex.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use codex_gateway_tests::gateway::{Gateway, KEY};
use codex_gateway_tests::real::{set_up, variable};
use serde_json::{Value, json};
use tokio::process::Command;

/// The timeout of Claude Code.
const PATIENCE: Duration = Duration::from_secs(120);

/// Runs Claude Code with a prompt; all that it wrote.
async fn claude(gateway: &Gateway, folder: &Path, prompt: &Value, model: Option<&str>) -> String {
    let mut program = Command::new(variable("TEST_CLAUDE_BIN"));
    program
        .args(["-p", &prompt.to_string(), "--allowedTools", "Bash"])
        .env_clear()
        .env("PATH", variable("PATH"))
        .env("HOME", folder)
        .env("ANTHROPIC_BASE_URL", &gateway.origin)
        .env("ANTHROPIC_API_KEY", KEY)
        .env("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1")
        .current_dir(folder)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    if let Some(model) = model {
        program.env("ANTHROPIC_MODEL", model);
    }
    let output = tokio::time::timeout(PATIENCE, program.output()).await;
    let output = output.expect("Claude Code ends").expect("it starts");
    let [said, errors] = [output.stdout, output.stderr].map(|bytes| {
        let text = String::from_utf8_lossy(&bytes);
        text.into_owned()
    });
    assert!(output.status.success(), "{said}\n{errors}");
    said
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
    for model in [Some("codex-5"), None] {
        let said = claude(&gateway, folder.path(), &prompt, model).await;
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
