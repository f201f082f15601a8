//! Starts that take long, are cancelled, or run beside another gateway.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::*;

/// A Codex program that never answers a question about itself, and the file that it makes when it is asked.
fn silent(folder: &Path) -> (PathBuf, PathBuf) {
    use std::os::unix::fs::PermissionsExt;
    let (program, asked) = (folder.join("codex"), folder.join("asked"));
    let script = format!("#!/bin/sh\n: > {}\nexec /bin/sleep 1000\n", asked.display());
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    (program, asked)
}

/// A gateway that asks the program of [`silent`] and waits, with its log.
fn asking(folder: &Path, vars: &[(&str, &str)]) -> (Child, BufReader<std::process::ChildStderr>) {
    let (program, asked) = silent(folder);
    let program = program.to_string_lossy().into_owned();
    let usual = [
        ("CODEX_BIN", program.as_str()),
        ("PROXY_API_KEY", "sk-test"),
    ];
    let mut child = gateway(&[&usual[..], vars].concat()).spawn().unwrap();
    let log = BufReader::new(child.stderr.take().unwrap());
    while !asked.exists() {
        std::thread::sleep(Duration::from_millis(5));
    }
    (child, log)
}

fn terminate(child: &Child) {
    let id = child.id().to_string();
    let sent = Command::new("kill").args(["-TERM", &id]).status().unwrap();
    assert!(sent.success());
}

fn get(address: &str, path: &str) -> TcpStream {
    let mut connection = TcpStream::connect(address).unwrap();
    let head = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    connection.write_all(head.as_bytes()).unwrap();
    connection
}

#[test]
fn a_start_that_asks_codex_ends_when_told_and_answers_who_waits() {
    let folder = tempfile::tempdir().unwrap();
    let (mut child, mut log) = asking(folder.path(), &[("PORT", "0")]);
    let address = loop {
        let mut line = String::new();
        assert!(log.read_line(&mut line).unwrap() > 0);
        if let Some(address) = listening(&line) {
            break address;
        }
    };
    let mut waiting = get(&address, "/v1/models");
    let mut state = String::new();
    get(&address, "/readyz").read_to_string(&mut state).unwrap();
    assert!(state.contains("looking for Codex"), "{state}");
    terminate(&child);
    let mut answer = String::new();
    waiting.read_to_string(&mut answer).unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 503") && answer.contains("retry-after: 5"),
        "{answer}"
    );
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_second_gateway_on_the_port_takes_nobody_before_it_can_answer() {
    let shared = ("PROXY_REUSE_PORT", "true");
    let running = Running::start(&[shared]);
    let (_, port) = running.address.rsplit_once(':').unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (mut child, _log) = asking(folder.path(), &[("PORT", port), shared]);
    for _ in 0..40 {
        let mut answer = String::new();
        get(&running.address, "/v1/models")
            .read_to_string(&mut answer)
            .unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    terminate(&child);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_mistake_of_a_second_gateway_is_found_before_it_prepares_anything() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let vars = [("PORT", port.as_str()), ("PROXY_REUSE_PORT", "true")];
    let output = gateway(&vars).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("cannot listen on"), "{said}");
}

#[test]
fn warnings_are_shown_whatever_the_filter_says() {
    for filter in ["error", "off", "access=info"] {
        let vars = [
            ("PORT", "0"),
            ("PROXY_API_KEY", "sk-0123456789abcdef"),
            ("PROXY_MAINTENANCE_MODE", "true"),
            ("PROXY_LOG", filter),
        ];
        let mut child = gateway(&vars).spawn().unwrap();
        let mut line = String::new();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        log.read_line(&mut line).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(
            line.starts_with("codex-gateway: PROXY_MAINTENANCE_MODE: "),
            "{filter}: {line}"
        );
    }
}
