//! The program as the operator uses it: exit codes, messages on the terminal, signals.

#![allow(clippy::unwrap_used, reason = "a failure is a failed test")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

#[path = "process/callers.rs"]
mod callers;
#[path = "process/commands.rs"]
mod commands;
#[path = "process/crowds.rs"]
mod crowds;
#[path = "process/documents.rs"]
mod documents;
#[path = "process/folders.rs"]
mod folders;
#[path = "process/handover.rs"]
mod handover;
#[path = "process/kills.rs"]
mod kills;
#[path = "process/last_good.rs"]
mod last_good;
#[path = "process/mistakes.rs"]
mod mistakes;
#[path = "process/models.rs"]
mod models;
#[path = "process/operators.rs"]
mod operators;
#[path = "process/records.rs"]
mod records;
#[path = "process/refusals.rs"]
mod refusals;
#[path = "process/starts.rs"]
mod starts;
#[path = "process/steering.rs"]
mod steering;
#[path = "process/streams.rs"]
mod streams;

const STREAM: &str = r#"{"messages":[{"role":"user","content":"{\"demo\":{\"deltas\":20,\"text\":\"x \",\"delay_ms\":20}}"}],"stream":true}"#;

/// The program with exactly these variables, and with a cache shared by all tests unless `vars` names one.
fn gateway(vars: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_codex-gateway"));
    let cache = concat!(env!("CARGO_TARGET_TMPDIR"), "/compiled");
    command
        .env_clear()
        .env("PROXY_CACHE_DIR", cache)
        .envs(vars.iter().copied())
        .stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// The address in the log line `listening`, in either format.
fn listening(line: &str) -> Option<String> {
    if let Some((_, rest)) = line.split_once("listening address=") {
        return Some(rest.split_whitespace().next()?.to_owned());
    }
    let line: Value = serde_json::from_str(line).ok()?;
    (line["message"] == "listening").then(|| line["address"].as_str().unwrap().to_owned())
}

/// Starts the program and stops it once its log has these words; returns its log until then, and its output.
fn told_until(words: &str, command: &mut Command) -> (String, String) {
    let mut child = command.spawn().unwrap();
    let mut log = String::new();
    let mut lines = BufReader::new(child.stderr.take().unwrap());
    while !log.contains(words) {
        assert!(lines.read_line(&mut log).unwrap() > 0, "{log}");
    }
    child.kill().unwrap();
    let rest = child.wait_with_output().unwrap();
    (log, String::from_utf8(rest.stdout).unwrap())
}

/// A running gateway; killed if a test fails.
struct Running {
    child: Child,
    log: BufReader<std::process::ChildStderr>,
    address: String,
}

impl Running {
    fn start(vars: &[(&str, &str)]) -> Self {
        let all = [&[("PORT", "0"), ("PROXY_API_KEY", "sk-test")], vars].concat();
        Self::of(gateway(&all))
    }

    fn of(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let address = loop {
            let mut line = String::new();
            assert!(
                log.read_line(&mut line).unwrap() > 0,
                "it ended before it listened"
            );
            if let Some(address) = listening(&line) {
                break address;
            }
        };
        let running = Self {
            child,
            log,
            address,
        };
        // The gateway listens before its policies are ready, and a request waits for them only for a limited time.
        while !running.get("/readyz", None).starts_with("HTTP/1.1 200") {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        running
    }

    /// Sends a request and returns the connection.
    fn post(&self, body: &str) -> TcpStream {
        post(&self.address, body)
    }

    /// Sends a request from this machine, and returns the whole answer.
    fn get(&self, path: &str, key: Option<&str>) -> String {
        let mut connection = TcpStream::connect(&self.address).unwrap();
        let key = key.map(|key| format!("authorization: Bearer {key}\r\n"));
        let head = format!(
            "GET {path} HTTP/1.1\r\nhost: localhost\r\n{}connection: close\r\n\r\n",
            key.unwrap_or_default()
        );
        connection.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).unwrap();
        answer
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args([name, &self.child.id().to_string()])
            .status()
            .unwrap();
        assert!(sent.success());
    }

    fn log_until(&mut self, words: &str) {
        self.line_with(words);
    }

    /// The next line of the log with these words.
    fn line_with(&mut self, words: &str) -> String {
        let mut line = String::new();
        while !line.contains(words) {
            line.clear();
            assert!(
                self.log.read_line(&mut line).unwrap() > 0,
                "the log ended without `{words}`"
            );
        }
        line
    }
}

/// Sends a request on a new connection, which is closed after the answer.
fn post(address: &str, body: &str) -> TcpStream {
    post_with(address, "sk-test", body)
}

/// The same with a key.
fn post_with(address: &str, key: &str, body: &str) -> TcpStream {
    let mut connection = TcpStream::connect(address).unwrap();
    let length = body.len();
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\nuser-agent: process-test\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
    );
    connection.write_all(head.as_bytes()).unwrap();
    connection.write_all(body.as_bytes()).unwrap();
    connection
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_wrong_configuration_is_told_whole_and_ends_with_78() {
    let output = gateway(&[
        ("PORT", "no"),
        ("PROXY_ENV", "prod"),
        ("PROXY_LOG_FORMAT", "xml"),
    ])
    .output()
    .unwrap();
    assert_eq!(output.status.code(), Some(78));
    let said = String::from_utf8(output.stderr).unwrap();
    for name in ["PORT", "PROXY_API_KEY", "CODEX_BIN", "PROXY_LOG_FORMAT"] {
        assert!(
            said.contains(&format!("codex-gateway: {name}: expected ")),
            "{name} is missing in:\n{said}"
        );
    }
}

#[test]
fn an_address_that_is_taken_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let output = gateway(&[("PORT", &port)]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    let cause = format!("cannot listen on 127.0.0.1:{port}");
    let remedy =
        format!("`ss -ltnp 'sport = :{port}'` shows which): end that, or set PORT to another port");
    assert!(said.contains(&cause) && said.contains(&remedy), "{said}");
    let free = [("PORT", "0"), ("AUTH_PORT", port.as_str())];
    let output = gateway(&free).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("or set AUTH_PORT to another port"), "{said}");
}

#[test]
fn a_program_that_is_no_codex_ends_the_start_with_78() {
    let output = gateway(&[("PORT", "0"), ("CODEX_BIN", "/bin/echo")])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(78));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("does not look like Codex"), "{said}");
}

#[test]
fn the_first_policies_must_be_right() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("auth.json"), r#"{"keyz": []}"#).unwrap();
    let output = gateway(&[
        ("PORT", "0"),
        ("POLICY_DIR", &folder.path().to_string_lossy()),
    ])
    .output()
    .unwrap();
    assert_eq!(output.status.code(), Some(78));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("auth.json (auth policy)") && said.contains("keyz"),
        "{said}"
    );
}

#[test]
fn without_a_key_one_is_made_and_shown_with_a_line_to_paste() {
    let mut child = gateway(&[("PORT", "0")]).spawn().unwrap();
    let mut shown = String::new();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    while !shown.contains("codex-gateway config") {
        assert!(output.read_line(&mut shown).unwrap() > 0, "{shown}");
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let key = shown
        .split("  key       ")
        .nth(1)
        .unwrap()
        .lines()
        .next()
        .unwrap();
    for words in [
        "serves http://127.0.0.1:",
        "a built-in demo, no Codex",
        "-d '{",
    ] {
        assert!(shown.contains(words), "`{words}` is missing in:\n{shown}");
    }
    let longest = shown.lines().map(|line| line.chars().count()).max();
    assert!(longest < Some(120), "{shown}");
    assert!(key.starts_with("sk-local-") && key.len() > 30, "{shown}");
    assert!(shown.contains(&format!("Authorization: Bearer {key}")));
    let mut log = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut log)
        .unwrap();
    assert!(!log.contains(key), "the key is not in the log");
}

#[test]
fn on_sigterm_a_running_stream_is_finished_and_the_exit_is_clean() {
    let mut running = Running::start(&[]);
    let mut connection = running.post(STREAM);
    let mut first = [0; 512];
    assert!(connection.read(&mut first).unwrap() > 0);
    running.signal("-TERM");
    running.log_until("draining");
    // The listener is closed a moment after the line is logged.
    let closed = (0..1_000).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(5));
        TcpStream::connect(&running.address).is_err()
    });
    assert!(closed, "intake is closed");
    let mut rest = String::new();
    connection.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("data: [DONE]"), "{rest}");
    assert_eq!(running.child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_stream_that_outlasts_the_grace_ends_with_an_error() {
    let mut running = Running::start(&[("PROXY_SHUTDOWN_GRACE_MS", "50")]);
    let mut connection =
        running.post(&STREAM.replace("\\\"deltas\\\":20", "\\\"deltas\\\":100000"));
    let mut first = [0; 512];
    assert!(connection.read(&mut first).unwrap() > 0);
    running.signal("-INT");
    let mut rest = String::new();
    connection.read_to_string(&mut rest).unwrap();
    assert!(
        rest.contains("shutting_down") && !rest.contains("[DONE]"),
        "{rest}"
    );
    assert_eq!(running.child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let mut running = Running::start(&[]);
    let mut connection =
        running.post(&STREAM.replace("\\\"deltas\\\":20", "\\\"deltas\\\":100000"));
    let mut first = [0; 512];
    assert!(connection.read(&mut first).unwrap() > 0);
    running.signal("-TERM");
    running.log_until("draining");
    running.signal("-TERM");
    assert_eq!(running.child.wait().unwrap().code(), Some(1));
}

/// Sends a request, and reads its line in the access log.
fn logged(running: &Running, lines: &mut impl BufRead, body: &str) -> Value {
    let mut answer = String::new();
    let mut connection = running.post(body);
    connection.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("x x x") || answer.contains("error"));
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    for hidden in ["sk-test", "mellon", "x x x"] {
        assert!(!line.contains(hidden), "{hidden} is in {line}");
    }
    serde_json::from_str(&line).unwrap()
}

#[test]
fn every_request_is_one_line_of_json_without_what_was_said() {
    let mut running = Running::start(&[("PROXY_LOG_FORMAT", "json")]);
    let mut lines = BufReader::new(running.child.stdout.take().unwrap());
    let said = r#"{"messages":[{"role":"system","content":"mellon"},{"role":"user","content":"{\"demo\":{\"deltas\":3,\"text\":\"x \"}}"}],"model":"codex-5-low"}"#;
    let line = logged(&running, &mut lines, said);
    let expected = json!({
        "message": "request", "target": "access", "level": "INFO",
        "method": "POST", "route": "/v1/chat/completions", "path": "/v1/chat/completions", "status": 200,
        "client": "127.0.0.1", "user_agent": "process-test", "caller": "default", "generation": 1,
        "model": "codex-5-low", "runs": "demo", "stream": false, "finish": "stop", "complete": true,
    });
    for (field, value) in expected.as_object().unwrap() {
        assert_eq!(line[field], *value, "{field} in {line}");
    }
    assert!(line["request"].as_str().unwrap().starts_with("req_"));
    for figure in [
        "duration_ms",
        "first_token_ms",
        "input_tokens",
        "cached_tokens",
        "output_tokens",
        "reasoning_tokens",
    ] {
        assert!(line[figure].is_u64(), "{figure} in {line}");
    }
    assert!(line["policy_us"].as_u64() > Some(0) && line["bytes"].as_u64() > Some(0));
    assert!(line["estimated"].is_boolean() && line.get("error").is_none());
    let line = logged(&running, &mut lines, r#"{"messages":["mellon"]}"#);
    assert!(line["status"] == 400 && line["error"].is_string(), "{line}");
    assert!(line.get("input_tokens").is_none() && line.get("stream").is_none());
}
