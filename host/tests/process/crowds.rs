//! More connections than descriptors: honest requests are still answered.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use crate::Running;

/// The HTTP/2 preface, and half of a head.
const HALF_OF_HTTP_2: &[u8] =
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\x07\x01\0\0\0\0\x01";

/// The program with this limit of descriptors.
fn few_descriptors(limit: u32) -> Command {
    let mut command = Command::new("sh");
    command
        .args([
            "-c",
            &format!("ulimit -n {limit} && exec \"$0\""),
            env!("CARGO_BIN_EXE_codex-gateway"),
        ])
        .env_clear()
        .envs([
            ("PORT", "0"),
            ("PROXY_API_KEY", "sk-test"),
            ("CODEX_BACKEND", "demo"),
        ])
        .env("PROXY_ENABLE_METRICS", "true")
        .env(
            "PROXY_CACHE_DIR",
            concat!(env!("CARGO_TARGET_TMPDIR"), "/compiled"),
        )
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    command
}

fn connect(gateway: &Running, said: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(&gateway.address).unwrap();
    // A connection over the limit may be closed already.
    let _ = stream.write_all(said);
    stream
}

#[test]
fn half_sent_requests_lock_nobody_out() {
    let gateway = Running::of(few_descriptors(160));
    for half in [&b"POST /v1/chat/completions HT"[..], b"", HALF_OF_HTTP_2] {
        let crowd: Vec<_> = (0..500).map(|_| connect(&gateway, half)).collect();
        let alive = gateway.get("/livez", None);
        assert!(alive.starts_with("HTTP/1.1 200"), "{alive}");
        let models = gateway.get("/v1/models", Some("sk-test"));
        assert!(models.starts_with("HTTP/1.1 200"), "{models}");
        drop(crowd);
    }
    let metrics = gateway.get("/metrics", None);
    let displaced = metrics
        .lines()
        .find_map(|line| line.strip_prefix("codex_connections_displaced_total "));
    assert!(
        displaced.unwrap().parse::<u32>().unwrap() > 500,
        "{metrics}"
    );
}

/// A request for `/livez` in HTTP/2, with a flow-control window of zero, so that its answer cannot be sent.
const NO_WINDOW: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x06\x04\0\0\0\0\0\0\x04\0\0\0\0\
\0\0\x0d\x01\x05\0\0\0\x01\x82\x86\x04\x06/livez\x01\x01x";

#[test]
fn peers_that_take_no_answer_lock_nobody_out() {
    let gateway = Running::of(few_descriptors(160));
    let mut crowd: Vec<_> = (0..500).map(|_| connect(&gateway, NO_WINDOW)).collect();
    let mut answered = 0;
    // Connections that the gateway closed are opened again.
    for _ in 0..100 {
        crowd.extend((0..5).map(|_| connect(&gateway, NO_WINDOW)));
        let mut asked = connect(
            &gateway,
            b"GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
        );
        let mut answer = String::new();
        let _ = asked.read_to_string(&mut answer);
        answered += usize::from(answer.starts_with("HTTP/1.1 200"));
        if answered == 10 {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    panic!("{answered} of 100 were answered");
}

#[test]
fn streams_outlast_a_crowd() {
    let gateway = Running::of(few_descriptors(160));
    let mut stream = gateway.post(crate::STREAM);
    let crowd: Vec<_> = (0..500).map(|_| connect(&gateway, b"GET")).collect();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("data: [DONE]"), "{answer}");
    drop(crowd);
}

#[test]
fn a_start_short_of_open_files_says_so_and_may_be_tried_again() {
    for limit in 8..64 {
        let mut child = few_descriptors(limit).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut said = String::new();
        let serves = lines.any(|line| {
            let line = line.unwrap();
            said += &format!("{line}\n");
            line.contains("policies serve")
        });
        if serves {
            child.kill().unwrap();
            child.wait().unwrap();
            assert!(limit > 8, "it was never short of any");
            return;
        }
        let code = child.wait().unwrap().code();
        assert_eq!(code, Some(1), "with {limit}: {said}");
        assert!(said.contains("open files"), "with {limit}: {said}");
    }
    panic!("it never serves");
}
