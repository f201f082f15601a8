//! The real Codex behind a gateway on a scripted provider, and real client programs. `.ci/run` installs the programs
//! needed here: `TEST_CODEX_BIN` is a `codex` 0.171.0, `TEST_CODEX_OTHERS` has others with colons between them, `TEST_PYTHON` a Python with the packages of
//! `requirements.txt`, `TEST_NODE_MODULES` a `node_modules` with those of `sdk/node/package-lock.json`,
//! `TEST_OPENAI_SDIST` the unpacked source distribution of the Python SDK, `TEST_CHROMIUM_BIN` a browser; `TEST_CLAUDE_BIN`,
//! `TEST_OPENCODE_BIN`, `TEST_CLINE_BIN` and `TEST_AIDER_BIN` are client programs.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;

use crate::gateway::{Gateway, KEY, Setup};
use crate::provider::{self, Provider, Recorded};
use crate::remains::Process;
use crate::sse::{self, Event, Events, finishes};

/// The timeout of a client program.
const PATIENCE: Duration = Duration::from_secs(180);

/// A gateway with the real Codex, on a scripted provider.
pub async fn real() -> (Gateway, Provider) {
    on_provider("TEST_CODEX_BIN", "gpt-5.4").await
}

/// A gateway with the Codex that the variable `program` names, with this model, on a scripted provider.
pub async fn on_provider(program: &str, model: &str) -> (Gateway, Provider) {
    let (setup, provider) = set_up(program, model).await;
    (setup.start().await, provider)
}

/// A gateway like [`real`] with Codex as an agent, whose commands run in this sandbox mode.
pub async fn agent(sandbox: &str, change: impl FnOnce(Setup) -> Setup) -> (Gateway, Provider) {
    let (setup, provider) = set_up_agent(sandbox).await;
    (change(setup).start().await, provider)
}

/// The setup of [`agent`], before the start.
pub async fn set_up_agent(sandbox: &str) -> (Setup, Provider) {
    let (setup, provider) = set_up("TEST_CODEX_BIN", "gpt-5.4").await;
    let setup = setup
        .var("CODEX_MODE", "agent")
        .var("PROXY_SANDBOX_MODE", sandbox)
        // Not Codex's folder, which is hidden: shells read their settings from `HOME`.
        .var("HOME", "/");
    (setup, provider)
}

/// The setup of [`on_provider`], before the start.
pub async fn set_up(program: &str, model: &str) -> (Setup, Provider) {
    set_up_at(&variable(program), model).await
}

/// The same as [`set_up`], with the path of the program.
pub async fn set_up_at(program: &str, model: &str) -> (Setup, Provider) {
    let provider = Provider::spawn().await;
    let setup = Setup::codex(program)
        .var(provider::KEY_VARIABLE, provider::KEY)
        .var("PATH", &variable("PATH"))
        .var("CODEX_MODEL", model);
    provider::codex_home(setup.home(), provider.url());
    (setup, provider)
}

/// A chat request with a script for the provider.
#[must_use]
pub fn script(script: Value, stream: bool) -> Value {
    let text = json!({"provider": script}).to_string();
    json!({
        "model": "codex-5",
        "messages": [{"role": "user", "content": text}],
        "stream": stream,
        "stream_options": {"include_usage": true},
    })
}

/// Sends a chat request; its status and body.
pub async fn ask(gateway: &Gateway, body: &Value) -> (u16, Value) {
    let response = gateway.chat(body).send().await.expect("an answer");
    let status = response.status().as_u16();
    (status, response.json().await.expect("JSON"))
}

/// Sends a chat request that is not streamed, with a script for the provider; its status and body.
pub async fn whole(gateway: &Gateway, answer: Value) -> (u16, Value) {
    ask(gateway, &script(answer, false)).await
}

/// Asserts that an answer has its reasoning, finish reason and usage, whole and streamed.
///
/// # Panics
/// If it does not.
pub async fn assert_answers_whole_and_streamed(gateway: &Gateway) {
    let answer = json!({
        "reasoning": ["First this.", "Then that."],
        "text": ["Sky ", "is ", "blue."],
        "usage": {"input": 50, "cached": 20, "output": 9, "reasoning": 4},
    });
    let (status, body) = whole(gateway, answer.clone()).await;
    assert_eq!(status, 200, "{body}");
    let message = &body["choices"][0]["message"];
    assert_eq!(message["content"], "Sky is blue.");
    assert_eq!(message["reasoning_content"], "First this.\n\nThen that.");
    assert_eq!(body["choices"][0]["finish_reason"], "stop");
    let usage = json!({
        "prompt_tokens": 50, "completion_tokens": 9, "total_tokens": 59,
        "prompt_tokens_details": {"cached_tokens": 20},
        "completion_tokens_details": {"reasoning_tokens": 4},
    });
    assert_eq!(body["usage"], usage);

    let response = gateway
        .chat(&script(answer, true))
        .send()
        .await
        .expect("an answer");
    let events = Events::of(response).rest().await;
    assert_eq!(sse::text(&events), "Sky is blue.");
    assert_eq!(finishes(&events), ["stop"]);
    assert_eq!(events.last(), Some(&Event::Done));
    let Event::Data(last) = &events[events.len() - 2] else {
        panic!("no usage chunk: {events:?}")
    };
    assert_eq!((&last["choices"], &last["usage"]), (&json!([]), &usage));
}

/// Begins a streamed answer that does not end by itself, and waits until Codex and the client have part of it.
///
/// # Panics
/// If the answer does not begin.
pub async fn endless(gateway: &Gateway, provider: &Provider) -> Events {
    let endless = json!({"text": ["x "], "repeat": 1000, "stall": 3});
    let response = gateway.chat(&script(endless, true)).send().await;
    let mut events = Events::of(response.expect("an answer"));
    provider.wait_for(|counts| counts.stalled == 1).await;
    assert!(events.next().await.is_some(), "the answer has begun");
    events
}

/// Asserts that a turn is stopped, at the provider too, when its client leaves.
pub async fn assert_leaving_stops_the_turn(gateway: &Gateway, provider: &Provider) {
    drop(endless(gateway, provider).await);
    provider.wait_for(|counts| counts.abandoned == 1).await;
    gateway.idle().await;
}

/// Asserts that a Codex process has the variables it needs, and none of the gateway's or its parent's.
///
/// # Panics
/// If it has others.
pub fn assert_bare_environment(process: &Process) {
    let needed = [
        "CODEX_HOME",
        "HOME",
        "PATH",
        "SSL_CERT_DIR",
        "SSL_CERT_FILE",
        "TERM",
        "TMPDIR",
        provider::KEY_VARIABLE,
    ];
    for variable in &process.environment {
        let (name, value) = variable.split_once('=').unwrap_or((variable, ""));
        assert!(
            needed.contains(&name),
            "{variable} in a child's environment"
        );
        assert!(!value.contains(KEY), "the gateway's key in {variable}");
    }
    let key = format!("{}={}", provider::KEY_VARIABLE, provider::KEY);
    assert!(process.environment.contains(&key), "Codex's own key");
}

/// Runs a script of `sdk/` against a gateway like [`real`]. Returns the provider's requests.
///
/// # Panics
/// If the script fails, or does not end with `all well`.
pub async fn python(script: &str) -> Vec<Recorded> {
    python_at(real().await, script).await
}

/// Runs a script of `sdk/` against another gateway.
///
/// # Panics
/// As [`python`].
pub async fn python_at(served: (Gateway, Provider), script: &str) -> Vec<Recorded> {
    be_served(python_script(script), served).await
}

/// A script of `sdk/`, without arguments.
#[must_use]
pub fn python_script(script: &str) -> Command {
    let mut program = Command::new(variable("TEST_PYTHON"));
    program.arg("-B").arg(sources().join(script));
    program
}

/// Runs a script of `sdk/node/` against a gateway like [`real`]. Returns the provider's requests.
///
/// # Panics
/// As [`python`].
pub async fn node(script: &str) -> Vec<Recorded> {
    node_at(real().await, script).await
}

/// Runs a script of `sdk/node/` against another gateway.
///
/// # Panics
/// As [`python`].
pub async fn node_at(served: (Gateway, Provider), script: &str) -> Vec<Recorded> {
    let folder = node_folder();
    let mut client = Command::new("node");
    client.arg(folder.path().join(script));
    be_served(client, served).await
}

/// A folder with the scripts of `sdk/node/` and the modules they import: Node looks for modules beside a script, not in
/// the working folder.
///
/// # Panics
/// If the folder cannot be made.
#[must_use]
pub fn node_folder() -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for entry in std::fs::read_dir(sources().join("node")).expect("sdk/node") {
        let path = entry.expect("an entry of sdk/node").path();
        if path.extension() == Some(OsStr::new("mjs")) {
            let name = path.file_name().expect("a file's name");
            std::fs::copy(&path, folder.path().join(name)).expect("a copy");
        }
    }
    let modules = folder.path().join("node_modules");
    std::os::unix::fs::symlink(variable("TEST_NODE_MODULES"), modules).expect("a link");
    folder
}

/// Runs a program with the base URL and the key of a gateway as arguments.
async fn be_served(mut client: Command, served: (Gateway, Provider)) -> Vec<Recorded> {
    let (gateway, provider) = served;
    client.args([&format!("{}/v1", gateway.origin), KEY]);
    succeed(client).await;
    gateway.stop().await;
    provider.requests()
}

/// Waits for a program to end.
///
/// # Panics
/// If it fails, or does not end with `all well`.
pub async fn succeed(mut program: Command) {
    program.stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE, program.output())
        .await
        .expect("the program ends")
        .expect("the program starts");
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{errors}");
    assert!(said.trim_end().ends_with("all well"), "{said}\n{errors}");
}

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("sdk")
}

/// Whether a variable of the test run is set.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the test run's own environment")]
pub fn is_set(name: &str) -> bool {
    std::env::var_os(name).is_some()
}

/// A variable of the test run's own environment.
///
/// # Panics
/// If the variable is not set.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the test run's own environment")]
pub fn variable(name: &str) -> String {
    std::env::var(name)
        .unwrap_or_else(|_| panic!("{name} is not set: run .ci/run, or see CONTRIBUTING.md"))
}

/// Scripts of failures at the provider, and the status and code a client gets for each.
#[must_use]
pub fn upstream_failures() -> [(Value, u16, &'static str); 8] {
    let refusal = |status: u16, code: &str| {
        let error = json!({"message": "said the provider", "type": "t", "code": code});
        json!({"status": status, "body": {"error": error}})
    };
    [
        (refusal(400, "invalid_value"), 400, "invalid_value"),
        (
            refusal(400, "context_length_exceeded"),
            400,
            "context_length_exceeded",
        ),
        (refusal(401, "invalid_api_key"), 503, "backend_unauthorized"),
        (refusal(404, "model_not_found"), 404, "model_not_found"),
        (
            refusal(429, "rate_limit_exceeded"),
            429,
            "rate_limit_exceeded",
        ),
        (
            refusal(429, "insufficient_quota"),
            429,
            "insufficient_quota",
        ),
        (refusal(500, "server_error"), 502, "upstream_error"),
        (
            json!({"text": ["never sent"], "cut": 0}),
            502,
            "upstream_error",
        ),
    ]
}
