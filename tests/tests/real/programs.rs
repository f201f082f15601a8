//! Programs that write code, as clients of the gateway: opencode, Cline and aider, with the settings of the book.

use std::path::{Path, PathBuf};

use codex_gateway_tests::clients::{self, AIDER, CLINE, OPENCODE};
use codex_gateway_tests::gateway::Gateway;
use codex_gateway_tests::provider::{Provider, Script};
use codex_gateway_tests::real::{set_up, variable};
use serde_json::{Value, json};
use tokio::process::Command;

/// A prompt that makes the model call two functions at once, and say that both are done when it has their results.
fn both(calls: [Value; 2]) -> String {
    let then = json!({"text": ["Both ", "done."]});
    json!({"provider": {"text": ["Let me look."], "calls": calls, "then": then}}).to_string()
}

/// A gateway with the real Codex that records its requests in a file of this folder.
async fn real(home: &Path) -> (Gateway, Provider) {
    let (setup, provider) = set_up("TEST_CODEX_BIN", "gpt-5.4").await;
    let records = records(home).to_string_lossy().into_owned();
    let gateway = setup.var("TOKEN_LOG_PATH", &records).start().await;
    (gateway, provider)
}

fn records(home: &Path) -> PathBuf {
    home.join("requests.ndjson")
}

/// Whether each request asked for a stream.
fn streams(home: &Path) -> Vec<bool> {
    let text = std::fs::read_to_string(records(home)).unwrap();
    let lines = text.lines().map(serde_json::from_str::<Value>);
    lines
        .map(|line| line.unwrap()["stream"].as_bool().unwrap())
        .collect()
}

/// The results that the model got last.
fn results(provider: &Provider) -> Vec<String> {
    let asked = provider.requests();
    asked.last().expect("a request").outputs()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex and opencode"]
async fn opencode_runs_the_commands_that_the_model_calls() {
    let home = tempfile::tempdir().unwrap();
    let (gateway, provider) = real(home.path()).await;
    let program = variable("TEST_OPENCODE_BIN");
    let run = |words: &[&str]| {
        let mut command = OPENCODE.command(&program, &gateway, home.path());
        command.arg("run").args(words);
        command
    };
    let call = |command: &str| {
        let arguments = json!({"command": command, "description": "Adds."});
        json!({"name": "bash", "arguments": arguments.to_string()})
    };
    // It asks for a title of the conversation, too, and at the same time: with the same words, and without tools.
    let calls = [call("echo one-$((40 + 2))"), call("echo two-$((40 + 3))")];
    let said = clients::said(run(&[]), &both(calls)).await;
    assert!(said.contains("Both done."), "{said}");
    let is_answered = |asked: &[String]| asked == ["one-42\n", "two-43\n"];
    let asked = provider.requests();
    assert!(
        asked.iter().any(|request| is_answered(&request.outputs())),
        "{asked:?}"
    );

    // The conversation goes on, in another process.
    let more =
        json!({"calls": [call("echo three-$((40 + 4))")], "then": {"text": ["Done ", "again."]}});
    let more = json!({ "provider": more }).to_string();
    let said = clients::said(run(&["--continue"]), &more).await;
    assert!(said.contains("Done again."), "{said}");
    assert_eq!(results(&provider), ["one-42\n", "two-43\n", "three-44\n"]);
    gateway.stop().await;
    let streams = streams(home.path());
    assert!(
        streams.len() >= 4 && !streams.contains(&false),
        "{streams:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex and Cline"]
async fn cline_runs_the_commands_that_the_model_calls() {
    let home = tempfile::tempdir().unwrap();
    let (gateway, provider) = real(home.path()).await;
    let program = variable("TEST_CLINE_BIN");
    // Without a folder of its own it leaves a process behind, on a port of this machine.
    let data = home.path().join("data");
    let data = ["--data-dir", data.to_str().unwrap()];
    let mut login = CLINE.login(&program, &gateway, home.path());
    login.args(data);
    clients::said(login, "").await;

    let call = |command: &str| {
        let arguments = json!({"commands": [command]});
        json!({"name": "run_commands", "arguments": arguments.to_string()})
    };
    let calls = [call("echo one-$((40 + 2))"), call("echo two-$((40 + 3))")];
    let mut run = CLINE.command(&program, &gateway, home.path());
    run.args(data).args(["--json", &both(calls)]);
    let said = clients::said(run, "").await;
    let events = said.lines().flat_map(serde_json::from_str::<Value>);
    let mut ends = events.filter(|event| event["type"] == "run_result");
    let result = ends.next_back().unwrap_or_else(|| panic!("{said}"));
    assert_eq!(
        (&result["finishReason"], &result["text"]),
        (&json!("completed"), &json!("Both done."))
    );
    assert_eq!(result["usage"]["inputTokens"], 2 * 120, "{result}");
    let results = results(&provider);
    assert_eq!(results.len(), 2, "{results:?}");
    for (result, expected) in results.iter().zip(["one-42", "two-43"]) {
        assert!(result.contains(expected), "{result}");
    }
    gateway.stop().await;
    assert_eq!(streams(home.path()), [true; 2]);
}

/// A repository with an empty file.
async fn repository(folder: &Path, file: &str) {
    std::fs::write(folder.join(file), "").unwrap();
    let commit = "-c user.name=Ann -c user.email=ann@example.com commit --quiet --message empty";
    let add = format!("add {file}");
    for words in ["init --quiet", &add, commit] {
        let mut git = Command::new("git");
        git.args(words.split(' ')).current_dir(folder);
        clients::said(git, "").await;
    }
}

/// aider has no tools: the model writes a file into its answer, and then the message of the commit.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex and aider"]
async fn aider_writes_and_commits_what_the_model_says() {
    let home = tempfile::tempdir().unwrap();
    let (gateway, provider) = real(home.path()).await;
    repository(home.path(), "made.txt").await;
    for text in [
        ["Here.\n\nmade.txt\n", "```\nby aider\n```\n"],
        ["feat: ", "make it"],
        ["Changed.\n\nmade.txt\n", "```\nby aider\ntwice\n```\n"],
        ["fix: ", "change it"],
    ] {
        provider.push(Script {
            text: text.map(str::to_owned).to_vec(),
            ..Script::default()
        });
    }
    let program = variable("TEST_AIDER_BIN");
    let mut aider = AIDER.command(&program, &gateway, home.path());
    // It neither asks, nor looks for a newer version of itself, nor opens a browser.
    aider.args([
        "--yes-always",
        "--no-check-update",
        "--no-show-release-notes",
        "made.txt",
    ]);
    let said = clients::said(aider, "Make it.\nChange it.\n/exit\n").await;
    let made = std::fs::read_to_string(home.path().join("made.txt")).unwrap();
    assert_eq!(made, "by aider\ntwice\n", "{said}");
    let mut git = Command::new("git");
    git.args(["log", "--format=%s"]).current_dir(home.path());
    let log = clients::said(git, "").await;
    let commits: Vec<&str> = log.lines().collect();
    assert_eq!(commits, ["fix: change it", "feat: make it", "empty"]);
    let conversation = provider.requests()[2].conversation();
    let made = |(role, text): &(String, String)| role == "assistant" && text.contains("by aider");
    assert!(conversation.iter().any(made), "{conversation:?}");
    gateway.stop().await;
    assert_eq!(streams(home.path()), [true, false, true, false]);
}
