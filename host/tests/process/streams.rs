//! Logs that are no longer read, and limits set on the process from outside: requests do not wait, and no answer is lost.

use std::io::PipeReader;
use std::time::{Duration, Instant};

use super::*;

/// The number of requests that fill every pipe and queue: each is a line of more than half a KiB.
const MANY: usize = 12_000;

/// Sends requests on one connection, and reads all their answers.
fn crowd(address: &str, requests: usize) {
    let name = "x".repeat(250);
    let request = format!("GET /{name} HTTP/1.1\r\nhost: localhost\r\nuser-agent: {name}\r\n\r\n");
    let connection = TcpStream::connect(address).unwrap();
    let mut writing = connection.try_clone().unwrap();
    let writer = std::thread::spawn(move || {
        for _ in 0..requests {
            writing.write_all(request.as_bytes()).unwrap();
        }
    });
    let answers = BufReader::new(connection).lines();
    let heads = answers.filter(|line| line.as_ref().unwrap().ends_with("HTTP/1.1 404 Not Found"));
    assert_eq!(heads.take(requests).count(), requests);
    writer.join().unwrap();
}

/// A process that is killed if a test fails.
struct Guarded(Child);

impl Drop for Guarded {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A gateway whose stdout and stderr are one pipe, read until it listens.
fn on_one_pipe(vars: &[(&str, &str)]) -> (Guarded, BufReader<PipeReader>, String) {
    let (reader, writer) = std::io::pipe().unwrap();
    let all = [&[("PORT", "0"), ("PROXY_API_KEY", "sk-test")], vars].concat();
    let mut command = gateway(&all);
    command.stdout(writer.try_clone().unwrap()).stderr(writer);
    let child = Guarded(command.spawn().unwrap());
    // The command has the other end of the pipe open.
    drop(command);
    let mut reader = BufReader::with_capacity(1, reader);
    loop {
        let mut line = String::new();
        assert!(reader.read_line(&mut line).unwrap() > 0, "it ended");
        if let Some(address) = listening(&line) {
            return (child, reader, address);
        }
    }
}

fn health(address: &str) -> Value {
    let mut connection = TcpStream::connect(address).unwrap();
    let head = "GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    connection.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    serde_json::from_str(body).unwrap()
}

fn until_ready(address: &str) {
    while health(address)["ok"] != true {
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn terminate(child: &Child) {
    let pid = child.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-TERM", &pid])
            .status()
            .unwrap()
            .success()
    );
}

/// The exit code; the timeout is only reached by a hang.
fn ended(child: &mut Child) -> Option<i32> {
    let late = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        assert!(Instant::now() < late, "it did not end");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_log_reader_that_stops_reading_stops_nothing() {
    let (mut child, reader, address) = on_one_pipe(&[]);
    until_ready(&address);
    crowd(&address, MANY);
    let health = health(&address);
    assert!(health["log_lines_dropped"].as_u64() > Some(0), "{health}");
    terminate(&child.0);
    assert_eq!(ended(&mut child.0), Some(0));
    drop(reader);
}

#[test]
fn lines_that_were_dropped_are_told_when_the_reader_goes_on() {
    let (mut child, mut reader, address) = on_one_pipe(&[("PROXY_ENABLE_METRICS", "true")]);
    until_ready(&address);
    crowd(&address, MANY);
    let dropped = health(&address)["log_lines_dropped"].as_u64().unwrap();
    let (mut line, mut requests) = (String::new(), 0);
    while !line.contains("log lines were dropped") {
        requests += usize::from(line.contains("access: request"));
        line.clear();
        assert!(reader.read_line(&mut line).unwrap() > 0, "it was not told");
    }
    assert!(line.contains(&format!("lines={dropped}")), "{line}");
    assert_eq!(requests + dropped as usize, MANY);
    let metrics = {
        let mut connection = TcpStream::connect(&address).unwrap();
        let head = "GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        connection.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).unwrap();
        answer
    };
    let counter = format!("codex_log_lines_dropped_total {dropped}");
    assert!(metrics.contains(&counter), "{metrics}");
    terminate(&child.0);
    assert_eq!(ended(&mut child.0), Some(0));
}

#[test]
fn every_line_of_a_reader_that_reads_is_there_at_the_end() {
    let (mut child, mut reader, address) = on_one_pipe(&[]);
    until_ready(&address);
    let reading = std::thread::spawn(move || {
        let mut log = String::new();
        reader.read_to_string(&mut log).unwrap();
        log
    });
    crowd(&address, 2_000);
    terminate(&child.0);
    assert_eq!(ended(&mut child.0), Some(0));
    let log = reading.join().unwrap();
    assert_eq!(log.matches("access: request").count(), 2_000);
    assert!(log.trim_end().ends_with("stopped"), "{log}");
}

#[test]
fn a_limit_of_the_size_of_files_costs_the_files_only() {
    let state = tempfile::tempdir().unwrap();
    // The file has the size of the limit already. wasmtime's own files, in memory, are shorter.
    const LIMIT: usize = 8 << 20;
    let usage = state.path().join("usage.ndjson");
    std::fs::write(&usage, vec![b'\n'; LIMIT]).unwrap();
    let mut command = Command::new("sh");
    command
        .args(["-c", &format!("ulimit -f {}; exec \"$0\"", LIMIT / 512)])
        .arg(env!("CARGO_BIN_EXE_codex-gateway"))
        .env_clear()
        .envs([("PORT", "0"), ("PROXY_API_KEY", "sk-test")])
        .env("PROXY_STATE_DIR", state.path())
        .env("TOKEN_LOG_PATH", &usage)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut running = Running::of(command);
    for _ in 0..10 {
        let mut answer = String::new();
        running.post(STREAM).read_to_string(&mut answer).unwrap();
        assert!(answer.contains("data: [DONE]"), "{answer}");
    }
    running.log_until("usage events were not recorded");
    assert!(running.get("/livez", None).starts_with("HTTP/1.1 200"));
    terminate(&running.child);
    assert_eq!(ended(&mut running.child), Some(0));
}

#[test]
fn children_have_the_signals_that_the_gateway_catches() {
    let folder = tempfile::tempdir().unwrap();
    let (script, seen) = (folder.path().join("codex"), folder.path().join("seen"));
    let text = format!(
        "#!/bin/sh\ngrep SigIgn /proc/self/status > {}\n",
        seen.display()
    );
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let script = script.to_string_lossy().into_owned();
    let vars = [
        ("PORT", "0"),
        ("CODEX_BIN", &script),
        ("PATH", "/usr/bin:/bin"),
    ];
    assert_eq!(gateway(&vars).output().unwrap().status.code(), Some(78));
    let line = std::fs::read_to_string(seen).unwrap();
    let ignored = u64::from_str_radix(line.split_whitespace().nth(1).unwrap(), 16).unwrap();
    for signal in [rustix::process::Signal::PIPE, rustix::process::Signal::XFSZ] {
        assert_eq!(ignored & 1 << (signal.as_raw() - 1), 0, "{line}");
    }
}

#[test]
#[ignore = "needs unshare"]
fn full_access_is_allowed_where_the_policies_are_mounted_read_only() {
    let policies = tempfile::tempdir().unwrap();
    let config = |mount: &str| {
        let mut command = Command::new("unshare");
        command
            .args(["-Urm", "sh", "-c", &format!("{mount} exec \"$0\" config")])
            .arg(env!("CARGO_BIN_EXE_codex-gateway"))
            .env_clear()
            .envs([("PATH", "/usr/bin:/bin"), ("CODEX_BIN", "/bin/true")])
            .envs([
                ("CODEX_MODE", "agent"),
                ("PROXY_SANDBOX_MODE", "danger-full-access"),
            ])
            .env("POLICY_DIR", policies.path());
        let output = command.output().unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let (code, said) = config("");
    assert_eq!(code, Some(78), "{said}");
    assert!(
        said.contains("PROXY_SANDBOX_MODE: expected POLICY_DIR on a read-only mount"),
        "{said}"
    );
    let read_only = "mount --bind \"$POLICY_DIR\" \"$POLICY_DIR\" && mount -o remount,ro,bind \"$POLICY_DIR\" &&";
    // The remaining mistake is that the program is not Codex.
    let (_, said) = config(read_only);
    assert!(!said.contains("PROXY_SANDBOX_MODE: expected"), "{said}");
    assert!(said.contains("agents may make a .env in"), "{said}");
}

#[test]
fn a_start_with_a_limit_of_file_sizes_that_is_too_low_names_it() {
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -f 8; exec \"$0\""]);
    command.arg(env!("CARGO_BIN_EXE_codex-gateway")).env_clear();
    command.envs([
        ("PORT", "0"),
        ("PROXY_API_KEY", "sk-test"),
        ("CODEX_BACKEND", "demo"),
    ]);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    let last = said.lines().last().unwrap();
    assert!(last.contains("ulimit -f"), "{said}");
}
