//! The program as the operator meets it: exit codes, words on the terminal, signals.

#![allow(clippy::unwrap_used, reason = "a failure is a failed test")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

const STREAM: &str = r#"{"messages":[{"role":"user","content":"{\"demo\":{\"deltas\":20,\"text\":\"x \",\"delay_ms\":20}}"}],"stream":true}"#;

/// The program with exactly these variables.
fn gateway(vars: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_codex-gateway"));
    command
        .env_clear()
        .envs(vars.iter().copied())
        .stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// The address in the line that says it, in either format.
fn listening(line: &str) -> Option<String> {
    if let Some((_, rest)) = line.split_once("listening address=") {
        return Some(rest.split_whitespace().next()?.to_owned());
    }
    let line: Value = serde_json::from_str(line).ok()?;
    (line["message"] == "listening").then(|| line["address"].as_str().unwrap().to_owned())
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
        let mut child = gateway(&all).spawn().unwrap();
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
        Self {
            child,
            log,
            address,
        }
    }

    /// Sends a request and gives back the connection.
    fn post(&self, body: &str) -> TcpStream {
        let mut connection = TcpStream::connect(&self.address).unwrap();
        let length = body.len();
        let head = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer sk-test\r\nuser-agent: process-test\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
        );
        connection.write_all(head.as_bytes()).unwrap();
        connection.write_all(body.as_bytes()).unwrap();
        connection
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args([name, &self.child.id().to_string()])
            .status()
            .unwrap();
        assert!(sent.success());
    }

    fn log_until(&mut self, words: &str) {
        let mut line = String::new();
        while !line.contains(words) {
            line.clear();
            assert!(
                self.log.read_line(&mut line).unwrap() > 0,
                "the log ended without `{words}`"
            );
        }
    }
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
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .contains(&format!("cannot listen on 127.0.0.1:{port}"))
    );
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
    assert_eq!(output.status.code(), Some(1));
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
    while !shown.contains("-d '{") {
        assert!(output.read_line(&mut shown).unwrap() > 0, "{shown}");
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let key = shown
        .split("the key is ")
        .nth(1)
        .unwrap()
        .lines()
        .next()
        .unwrap();
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

/// Sends a request, and reads the line that is logged of it.
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

/// What a subcommand prints, given this on standard input.
fn run(arguments: &[&str], input: &str) -> (Option<i32>, String, String) {
    let mut command = gateway(&[]);
    command.args(arguments).stdin(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[test]
fn keys_are_made_with_their_entry_and_hashed_as_the_entry_has_it() {
    let (code, made, _) = run(&["key", "new", "alice"], "");
    assert_eq!(code, Some(0));
    let key = made.lines().nth(1).unwrap().trim();
    let entry = made.lines().nth(3).unwrap();
    assert!(
        key.starts_with("sk-") && entry.contains("\"id\":\"alice\""),
        "{made}"
    );
    let (code, hash, _) = run(&["key", "hash"], &format!("{key}\n"));
    assert_eq!(code, Some(0));
    assert!(entry.contains(hash.trim()), "{entry} has not {hash}");
    let (code, _, error) = run(&["key", "hash"], "");
    assert_eq!(code, Some(1));
    assert!(
        error.contains("expected a key on standard input"),
        "{error}"
    );
}

/// A working folder with this `.env`, which only its owner may read.
fn folder_with(dot_env: &str) -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(".env");
    std::fs::write(&path, dot_env).unwrap();
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o600)).unwrap();
    folder
}

#[test]
fn the_settings_are_shown_with_where_they_come_from() {
    let folder = folder_with(
        "PORT=8080\nPROXY_HOST=::1 # not this one\nPROXY_API_KEY='sk-0123456789$abcdef'\n",
    );
    let show = |vars: &[(&str, &str)]| {
        let mut command = gateway(vars);
        let output = command
            .current_dir(folder.path())
            .arg("config")
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (
            output.status.code(),
            text(output.stdout),
            text(output.stderr),
        )
    };
    let (code, settings, warnings) = show(&[("PROXY_HOST", "127.0.0.2")]);
    assert_eq!((code, warnings.as_str()), (Some(0), ""));
    let line = |name: &str| -> Vec<String> {
        let line = settings
            .lines()
            .find(|line| line.starts_with(&format!("{name} ")));
        line.unwrap()
            .split_whitespace()
            .skip(1)
            .map(str::to_owned)
            .collect()
    };
    assert_eq!(line("PORT"), [".env", "8080"]);
    assert_eq!(line("PROXY_HOST"), ["environment", "127.0.0.2"]);
    assert_eq!(line("PROXY_API_KEY"), [".env", "***"]);
    assert_eq!(line("PROXY_LOG"), ["default", "info"]);
    assert_eq!(line("CODEX_BIN")[0], "derived");
    assert!(!settings.contains("0123456789"), "{settings}");
    assert_eq!(show(&[("PROXY_HOST", "127.0.0.2")]).1, settings);

    let (code, settings, mistakes) = show(&[("PROXY_ENV", "test"), ("PROXY_LOG_FORMAT", "")]);
    assert_eq!((code, settings.as_str()), (Some(2), ""));
    for name in ["PROXY_ENV", "PROXY_LOG_FORMAT"] {
        assert!(
            mistakes.contains(&format!("codex-gateway: {name}: expected ")),
            "{mistakes}"
        );
    }
}

#[test]
fn a_broken_env_file_is_told_by_its_line() {
    let folder = folder_with("PORT=0\nsk-very-secret\n");
    for (arguments, expected) in [(&["config"][..], 2), (&[], 78)] {
        let mut command = gateway(&[]);
        let output = command
            .current_dir(folder.path())
            .args(arguments)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(expected));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(
            said.starts_with("codex-gateway: .env: expected ") && said.ends_with("line 2\n"),
            "{said}"
        );
        assert!(!said.contains("secret"), "{said}");
    }
}

#[test]
fn it_serves_as_the_env_file_says_and_warns_of_what_has_no_effect() {
    let folder =
        folder_with("PORT=0\nPROXY_API_KEY=sk-0123456789abcdef\nPROXY_MAINTENANCE_MODE=true\n");
    let path = folder.path().join(".env");
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let mut command = gateway(&[]);
    let mut child = command.current_dir(folder.path()).spawn().unwrap();
    let mut log = String::new();
    let mut lines = BufReader::new(child.stderr.take().unwrap());
    while !log.contains("listening address=") {
        assert!(lines.read_line(&mut log).unwrap() > 0, "{log}");
    }
    child.kill().unwrap();
    child.wait().unwrap();
    for words in [
        "PROXY_MAINTENANCE_MODE: has no effect any more",
        ".env: every user of this machine may read it",
    ] {
        assert!(log.contains(words), "`{words}` is missing in:\n{log}");
    }
    let mut shown = String::new();
    child
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut shown)
        .unwrap();
    assert_eq!(shown, "", "the key was given, none is made");
}

#[test]
fn help_names_every_command_and_where_settings_are_told() {
    for ask in ["help", "--help"] {
        let (code, help, _) = run(&[ask], "");
        assert_eq!(code, Some(0));
        for words in ["serve", "config", "key", ".env", "README.md"] {
            assert!(help.contains(words), "`{words}` is missing in:\n{help}");
        }
    }
    let (code, version, _) = run(&["--version"], "");
    assert_eq!(code, Some(0));
    assert_eq!(
        version,
        concat!("codex-gateway ", env!("CARGO_PKG_VERSION"), "\n")
    );
}
