//! Restarts under load: with a listening socket from a supervisor, or a port shared by two gateways.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use super::*;

const CLIENTS: usize = 6;
const QUICK: &str =
    r#"{"messages":[{"role":"user","content":"{\"demo\":{\"deltas\":3,\"text\":\"x \"}}"}]}"#;
const SHORT_STREAM: &str = r#"{"messages":[{"role":"user","content":"{\"demo\":{\"deltas\":10,\"text\":\"x \",\"delay_ms\":10}}"}],"stream":true}"#;

/// The program with a socket as descriptor 3, as a supervisor starts it.
fn handed(socket: impl Into<OwnedFd>, vars: &[(&str, &str)]) -> Command {
    let mut command = Command::new("/bin/sh");
    let script =
        r#"exec 3<&0 0</dev/null; test -n "$LISTEN_PID" || export LISTEN_PID=$$; exec "$0""#;
    command
        .args(["-c", script, env!("CARGO_BIN_EXE_codex-gateway")])
        .env_clear()
        .envs([("LISTEN_FDS", "1"), ("PROXY_API_KEY", "sk-test")])
        .envs(vars.iter().copied())
        .stdin(Stdio::from(socket.into()))
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    command
}

/// Sends requests one after another, each on a new connection, until `over`; asserts that all are answered to their end.
fn ask(address: &str, answered: &AtomicUsize, over: &AtomicBool) {
    for turn in 0.. {
        if over.load(Ordering::SeqCst) {
            return;
        }
        let body = if turn % 3 == 0 { SHORT_STREAM } else { QUICK };
        let mut answer = String::new();
        let read = post(address, body).read_to_string(&mut answer);
        assert!(read.is_ok(), "cut: {read:?}: {answer}");
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert!(
            answer.contains("[DONE]") || answer.ends_with('}'),
            "{answer}"
        );
        answered.fetch_add(1, Ordering::SeqCst);
    }
}

/// Runs `restarts` while clients send requests. Its argument waits for a number of further answers.
fn under_load(address: &str, restarts: impl FnOnce(&dyn Fn(usize))) {
    let (answered, over) = (AtomicUsize::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let _end = End(&over);
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| scope.spawn(|| ask(address, &answered, &over)))
            .collect();
        let more = |number: usize| {
            let enough = answered.load(Ordering::SeqCst) + number;
            while answered.load(Ordering::SeqCst) < enough
                && !clients
                    .iter()
                    .any(std::thread::ScopedJoinHandle::is_finished)
            {
                std::thread::sleep(Duration::from_millis(5));
            }
        };
        restarts(&more);
    });
}

/// Stops the clients, also if the test fails.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn with_a_socket_that_is_handed_over_a_restart_refuses_and_cuts_nobody() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap().to_string();
    let start = || {
        // The socket replaces PORT: port 1 must not be bound.
        let command = handed(socket.try_clone().unwrap(), &[("PORT", "1")]);
        Running::of(command)
    };
    let mut running = start();
    assert_eq!(running.address, address);
    under_load(&address, |more| {
        for _ in 0..3 {
            more(30);
            running.signal("-TERM");
            assert_eq!(running.child.wait().unwrap().code(), Some(0));
            running = start();
        }
        more(30);
    });
}

#[test]
fn a_socket_that_is_handed_over_is_not_for_children() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let running = Running::of(handed(socket, &[]));
    let info = format!("/proc/{}/fdinfo/3", running.child.id());
    let info = std::fs::read_to_string(info).unwrap();
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = u32::from_str_radix(flags.unwrap().trim(), 8).unwrap();
    assert_ne!(flags & 0o2_000_000, 0, "close-on-exec: {info}");
}

#[test]
fn sockets_of_another_kind_or_for_another_process_are_not_taken() {
    let folder = tempfile::tempdir().unwrap();
    let unix = std::os::unix::net::UnixListener::bind(folder.path().join("socket")).unwrap();
    let output = handed(unix, &[]).output().unwrap();
    assert_eq!(output.status.code(), Some(78));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("found descriptor 3 (``) to be a unix-domain socket: write ListenStream="),
        "{said}"
    );

    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap().to_string();
    let running = Running::of(handed(socket, &[("LISTEN_PID", "1"), ("PORT", "0")]));
    assert_ne!(running.address, address);
}

#[test]
fn a_gateway_that_shares_its_port_leaves_without_refusing_or_cutting_anybody() {
    let start = |port: &str| {
        let vars = [
            ("PORT", port),
            ("PROXY_REUSE_PORT", "true"),
            ("PROXY_API_KEY", "sk-test"),
        ];
        let mut command = gateway(&vars);
        // The access log has a line per request, and is not read here.
        command.stdout(Stdio::null());
        Running::of(command)
    };
    let mut running = start("0");
    let address = running.address.clone();
    let (_, port) = address.rsplit_once(':').unwrap();
    under_load(&address, |more| {
        for _ in 0..3 {
            more(30);
            let next = start(port);
            more(10);
            running.signal("-TERM");
            assert_eq!(running.child.wait().unwrap().code(), Some(0));
            running = next;
        }
        more(30);
    });
}

#[test]
fn a_number_of_sockets_that_were_not_handed_over_ends_the_start() {
    for (number, words) in [
        ("5", "found 4 closed"),
        (
            "1000000",
            "expected two sockets at most, found LISTEN_FDS=1000000",
        ),
    ] {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let output = handed(socket, &[("LISTEN_FDS", number)]).output().unwrap();
        assert_eq!(output.status.code(), Some(78));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(words) && said.lines().count() == 1, "{said}");
    }
}
