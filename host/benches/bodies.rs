//! Measures the cost of large request bodies: `cargo bench -p codex-gateway --bench bodies`.
//!
//! Memory at its peak per byte of body, for bodies of several shapes; the longest pause of a stream meanwhile, against the same
//! same stream alone; and what is left of the memory a minute later, without stored responses, which stay.

#![allow(clippy::unwrap_used, reason = "a bench has nobody to report to")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The largest body a gateway takes by default.
const LARGEST: usize = 16 << 20;
/// Of the crowd.
const CLIENTS: usize = 20;
const MIB: f64 = 1_048_576.0;

struct Gateway {
    child: Child,
    address: String,
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Gateway {
    /// The program that is named (`-- PROGRAM`), to compare with another; else the one that was built with this.
    fn start() -> Self {
        let built = env!("CARGO_BIN_EXE_codex-gateway");
        let named = std::env::args().skip(1).find(|word| !word.starts_with('-'));
        let program = named.unwrap_or_else(|| built.to_owned());
        let mut child = Command::new(program)
            .env_clear()
            .envs([
                ("PORT", "0"),
                ("PROXY_API_KEY", "sk-test"),
                ("CODEX_BACKEND", "demo"),
            ])
            .env("HOME", std::env::temp_dir())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        let address = loop {
            line.clear();
            assert!(log.read_line(&mut line).unwrap() > 0, "it ended");
            if let Some((_, rest)) = line.split_once("listening address=") {
                break rest.split_whitespace().next().unwrap().to_owned();
            }
        };
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Self { child, address }
    }

    /// Posts a body: the answer's status.
    fn post(&self, path: &str, body: &str) -> u16 {
        let mut connection = TcpStream::connect(&self.address).unwrap();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer sk-test\r\nconnection: close\r\n\
             content-length: {}\r\n\r\n",
            body.len()
        );
        connection.write_all(head.as_bytes()).unwrap();
        connection.write_all(body.as_bytes()).unwrap();
        let mut answer = Vec::new();
        connection.read_to_end(&mut answer).unwrap();
        String::from_utf8_lossy(&answer[9..12]).parse().unwrap()
    }

    /// Memory in use now, and at its peak since the last look.
    fn memory(&self) -> (usize, usize) {
        let process = format!("/proc/{}", self.child.id());
        let status = std::fs::read_to_string(format!("{process}/status")).unwrap();
        let number = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap();
            let kib: usize = line.split_whitespace().nth(1).unwrap().parse().unwrap();
            kib << 10
        };
        std::fs::write(format!("{process}/clear_refs"), "5").unwrap();
        (number("VmRSS:"), number("VmHWM:"))
    }

    /// Streams until `over`, and returns the longest pause between two pieces.
    fn longest_pause(&self, over: &AtomicBool) -> Duration {
        let mut longest = Duration::ZERO;
        let told = r#"{\"demo\":{\"deltas\":400,\"text\":\"x \",\"delay_ms\":5}}"#;
        let body =
            format!(r#"{{"stream":true,"messages":[{{"role":"user","content":"{told}"}}]}}"#);
        while !over.load(Ordering::SeqCst) {
            let mut connection = TcpStream::connect(&self.address).unwrap();
            let head = format!(
                "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer sk-test\r\n\
                 connection: close\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            );
            connection.write_all(head.as_bytes()).unwrap();
            let mut last = Instant::now();
            let mut piece = [0; 4096];
            while connection.read(&mut piece).unwrap() > 0 && !over.load(Ordering::SeqCst) {
                longest = longest.max(last.elapsed());
                last = Instant::now();
            }
        }
        longest
    }

    /// The work that runs beside a stream, and the stream's longest pause.
    fn beside_a_stream(&self, work: impl FnOnce()) -> Duration {
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let stream = scope.spawn(|| self.longest_pause(&over));
            work();
            over.store(true, Ordering::SeqCst);
            stream.join().unwrap()
        })
    }
}

fn repeated(item: &str, most: usize, bytes: usize) -> String {
    let count = most.min(bytes / (item.len() + 1));
    vec![item; count].join(",")
}

/// One measurement: its name, the path it is posted to, and the body.
fn shapes() -> Vec<(&'static str, &'static str, String)> {
    let (chat, responses) = ("/v1/chat/completions", "/v1/responses");
    let text = "word ".repeat(LARGEST / 5 - 100);
    let message = |bytes: usize| format!(r#"{{"role":"user","content":"{}"}}"#, "x".repeat(bytes));
    let messages = |bytes| repeated(&message(bytes), 49_000, LARGEST - 200);
    let zeros = |most| repeated("0", most, LARGEST - 200);
    let tool = |numbers: &str| {
        let tool = format!(
            r#"{{"type":"function","function":{{"name":"f","parameters":{{"enum":[{numbers}]}}}}}}"#
        );
        format!(r#"{{"messages":[{}],"tools":[{tool}]}}"#, message(1))
    };
    vec![
        (
            "chat, one long text",
            chat,
            format!(r#"{{"messages":[{{"role":"user","content":"{text}"}}]}}"#),
        ),
        (
            "chat, 49,000 messages",
            chat,
            format!(r#"{{"messages":[{}]}}"#, messages(300)),
        ),
        (
            "chat, 49,000 short messages",
            chat,
            format!(r#"{{"messages":[{}]}}"#, messages(1)),
        ),
        (
            "chat, a tool of 190,000 numbers",
            chat,
            tool(&zeros(190_000)),
        ),
        (
            "chat, numbers and nothing else",
            chat,
            tool(&zeros(usize::MAX)),
        ),
        (
            "responses, one long text",
            responses,
            format!(r#"{{"store":false,"input":"{text}"}}"#),
        ),
        (
            "responses, 49,000 messages",
            responses,
            format!(r#"{{"store":false,"input":[{}]}}"#, messages(300)),
        ),
    ]
}

fn main() {
    let gateway = Gateway::start();
    let warm = r#"{"messages":[{"role":"user","content":"hi"}]}"#;
    while gateway.post("/v1/chat/completions", warm) != 200 {}
    (0..200).for_each(|_| assert_eq!(gateway.post("/v1/chat/completions", warm), 200));
    let quiet = gateway.beside_a_stream(|| std::thread::sleep(Duration::from_secs(3)));
    let (before, _) = gateway.memory();
    println!(
        "before: {:.0} MiB, longest pause of a stream {quiet:.0?}",
        before as f64 / MIB
    );
    for (name, path, body) in shapes() {
        let (rest, _) = gateway.memory();
        let mut status = 0;
        let pause = gateway.beside_a_stream(|| status = gateway.post(path, &body));
        let (_, peak) = gateway.memory();
        let each = peak.saturating_sub(rest) as f64 / body.len() as f64;
        println!(
            "{name}: {status}, {:.1} MiB, {each:.1} bytes of memory a byte, longest pause {pause:.0?}",
            body.len() as f64 / MIB
        );
    }
    let body = shapes().swap_remove(1).2;
    let pause = gateway.beside_a_stream(|| {
        std::thread::scope(|scope| {
            (0..CLIENTS)
                .for_each(|_| drop(scope.spawn(|| gateway.post("/v1/chat/completions", &body))));
        });
    });
    let (_, peak) = gateway.memory();
    println!(
        "{CLIENTS} of 49,000 messages at once: peak {:.0} MiB, longest pause {pause:.0?}",
        peak as f64 / MIB
    );
    for seconds in [1, 9, 50] {
        std::thread::sleep(Duration::from_secs(seconds));
        let (now, _) = gateway.memory();
        println!(
            "{seconds} s later: {:.0} MiB, {:.2} x",
            now as f64 / MIB,
            now as f64 / before as f64
        );
    }
}
