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

/// Whether `/livez` answers on a new connection, which may also be closed without an answer.
fn is_answered(gateway: &Running) -> bool {
    let asks = b"GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let mut answer = String::new();
    let _ = connect(gateway, asks).read_to_string(&mut answer);
    answer.starts_with("HTTP/1.1 200")
}

#[test]
fn peers_that_take_no_answer_lock_nobody_out() {
    let gateway = Running::of(few_descriptors(160));
    let mut crowd: Vec<_> = (0..500).map(|_| connect(&gateway, NO_WINDOW)).collect();
    let mut answered = 0;
    // Connections that the gateway closed are opened again.
    for _ in 0..100 {
        crowd.extend((0..5).map(|_| connect(&gateway, NO_WINDOW)));
        answered += usize::from(is_answered(&gateway));
        if answered == 10 {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    panic!("{answered} of 100 were answered");
}

/// The first request of [`NO_WINDOW`] again, on the stream of that number.
fn once_more(stream: u32) -> Vec<u8> {
    let mut frame = b"\0\0\x0d\x01\x05".to_vec();
    frame.extend(stream.to_be_bytes());
    frame.extend(b"\x82\x86\x04\x06/livez\x01\x01x");
    frame
}

#[test]
fn peers_that_take_no_answer_and_ask_again_lock_nobody_out() {
    let gateway = Running::of(few_descriptors(160));
    let mut crowd: Vec<_> = (0..110).map(|_| connect(&gateway, NO_WINDOW)).collect();
    let mut answered = 0;
    for round in 1..60 {
        // Each of them asks again before it would count as stuck.
        for peer in &mut crowd {
            if peer.write_all(&once_more(1 + 2 * round)).is_err() {
                *peer = connect(&gateway, NO_WINDOW);
            }
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
        answered += usize::from(is_answered(&gateway));
        if answered == 5 {
            return;
        }
    }
    panic!("{answered} were answered");
}

/// A window update of one byte, of the connection and of the first stream.
const ONE_BYTE: &[u8] = b"\0\0\x04\x08\0\0\0\0\0\0\0\0\x01\0\0\x04\x08\0\0\0\0\x01\0\0\0\x01";

#[test]
fn peers_that_take_a_byte_at_a_time_lock_nobody_out() {
    let gateway = Running::of(few_descriptors(160));
    let mut crowd: Vec<_> = (0..110).map(|_| connect(&gateway, NO_WINDOW)).collect();
    let mut answered = 0;
    for _ in 1..60 {
        for peer in &mut crowd {
            if peer.write_all(ONE_BYTE).is_err() {
                *peer = connect(&gateway, NO_WINDOW);
            }
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
        answered += usize::from(is_answered(&gateway));
        if answered == 5 {
            return;
        }
    }
    panic!("{answered} were answered");
}

/// An HTTP/2 request with a body of 60,000 bytes, and the first bytes of the body.
fn small_body(stream: u32) -> Vec<u8> {
    let frame = |kind: u8, flags: u8, payload: &[u8]| {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
        [head, payload.to_vec()].concat()
    };
    let field = |index: &[u8], value: &str| {
        let length = [u8::try_from(value.len()).unwrap()];
        [index, &length, value.as_bytes()].concat()
    };
    let fields = [
        // POST and http, then literal fields with names of the static table.
        b"\x83\x86".to_vec(),
        field(b"\x04", "/v1/chat/completions"),
        field(b"\x01", "x"),
        field(b"\x0f\x08", "Bearer sk-test"),
        field(b"\x0f\x0d", "60000"),
    ];
    [frame(1, 4, &fields.concat()), frame(0, 0, &[b' '; 600])].concat()
}

#[test]
fn small_bodies_in_http_2_have_a_budget_of_their_own() {
    let gateway = Running::start(&[("CODEX_BACKEND", "demo")]);
    // 1,092 such bodies fit.
    let mut crowd = Vec::new();
    for _ in 0..12 {
        let mut peer = connect(
            &gateway,
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
        );
        for stream in 0..100 {
            peer.write_all(&small_body(1 + 2 * stream)).unwrap();
        }
        crowd.push(peer);
    }
    // The bodies that arrive slowly give way to those that wait, and only to them.
    let mut told = Vec::new();
    let late = std::time::Duration::from_secs(60);
    crowd[0].set_read_timeout(Some(late)).unwrap();
    let mut piece = [0; 4 << 10];
    let slow = b"request_timeout";
    while !told.windows(slow.len()).any(|part| part == slow) {
        let bytes = crowd[0].read(&mut piece).unwrap();
        assert!(bytes > 0, "no body gave way");
        told.extend_from_slice(&piece[..bytes]);
    }
    let mut answer = String::new();
    gateway
        .post(crate::STREAM)
        .read_to_string(&mut answer)
        .unwrap();
    assert!(answer.contains("data: [DONE]"), "{answer}");
}

#[test]
fn a_peer_that_takes_no_answer_does_not_use_up_the_grace() {
    let mut command = few_descriptors(160);
    command.env("PROXY_SHUTDOWN_GRACE_MS", "600000");
    let mut gateway = Running::of(command);
    let peer = connect(&gateway, NO_WINDOW);
    gateway.get("/livez", None);
    gateway.signal("-TERM");
    let late = std::time::Instant::now() + std::time::Duration::from_secs(120);
    while gateway.child.try_wait().unwrap().is_none() {
        assert!(std::time::Instant::now() < late, "it waits for the peer");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    drop(peer);
}

/// Asks the demo for an answer of four megabytes in one piece.
fn long_answer(gateway: &Running) -> TcpStream {
    let wish = format!(
        r#"{{"demo":{{"deltas":4000,"text":"{}"}}}}"#,
        "x".repeat(1_000)
    );
    let message = serde_json::json!({"role": "user", "content": wish});
    gateway.post(&serde_json::json!({"model": "codex-5", "messages": [message]}).to_string())
}

/// Reads slowly, and does something after the first tenth.
fn read_slowly(mut answer: TcpStream, then: impl FnOnce()) -> usize {
    let (mut then, mut read, mut piece) = (Some(then), 0, [0; 64 << 10]);
    loop {
        let bytes = answer.read(&mut piece).unwrap();
        read += bytes;
        if bytes == 0 {
            return read;
        }
        std::thread::sleep(std::time::Duration::from_millis(25));
        if read > 400_000
            && let Some(then) = then.take()
        {
            then();
        }
    }
}

#[test]
fn an_answer_that_is_read_slowly_outlasts_a_crowd() {
    let gateway = Running::of(few_descriptors(160));
    let mut crowd = Vec::new();
    let read = read_slowly(long_answer(&gateway), || {
        let asks = b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n";
        crowd.extend((0..200).map(|_| connect(&gateway, asks)));
    });
    assert!(read > 4_000_000, "it was cut after {read} bytes");
}

#[test]
fn an_answer_that_is_read_slowly_is_whole_also_if_the_gateway_drains() {
    let gateway = Running::of(few_descriptors(160));
    let read = read_slowly(long_answer(&gateway), || gateway.signal("-TERM"));
    assert!(read > 4_000_000, "it was cut after {read} bytes");
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
