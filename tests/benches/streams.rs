//! Measures what open streams cost a gateway with a real Codex: `TEST_CODEX_BIN=… cargo bench -p codex-gateway-tests --bench streams`.
//!
//! Prints the descriptors and the memory of the gateway's process and of its Codex child with 0, 50 and 200 streams. Clients and
//! provider speak HTTP/1.1, with a connection for each stream.

use std::process::Stdio;
use std::time::Duration;

use codex_gateway_tests::gateway::KEY;
use codex_gateway_tests::provider::{self, Provider};
use codex_gateway_tests::real::{is_set, script, variable};
use codex_gateway_tests::remains::processes;
use codex_gateway_tests::sse::Events;
use serde_json::{Value, json};
use tokio::process::{Child, Command};

const CROWDS: [usize; 5] = [0, 1, 50, 200, 0];

/// How long Codex may take to begin this many streams.
const PATIENCE: Duration = Duration::from_secs(120);

fn main() {
    if !is_set("TEST_CODEX_BIN") {
        return println!("TEST_CODEX_BIN is not set: not measured");
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let provider = Provider::spawn().await;
        let site = Site::start(&provider).await;
        for crowd in CROWDS {
            let streams = site.open(crowd).await;
            println!("{crowd} streams: {}", site.cost());
            drop(streams);
            site.until(0).await;
            provider.release();
        }
    });
}

/// A gateway in a process of its own.
struct Site {
    home: tempfile::TempDir,
    origin: String,
    client: reqwest::Client,
    gateway: Child,
}

impl Site {
    async fn start(provider: &Provider) -> Self {
        let home = tempfile::tempdir().expect("a folder");
        provider::codex_home(home.path(), provider.url());
        let port = free_port();
        let gateway = Command::new(env!("CARGO_BIN_EXE_gateway"))
            .env_clear()
            .env(provider::KEY_VARIABLE, provider::KEY)
            .env("PATH", variable("PATH"))
            .env("HOME", home.path())
            .env("CODEX_HOME", home.path())
            .env("CODEX_BIN", variable("TEST_CODEX_BIN"))
            .env("CODEX_MODEL", "gpt-5.4")
            .env("PORT", port.to_string())
            .env("PROXY_API_KEY", KEY)
            .env("PROXY_TEST_ENDPOINTS", "true")
            .env("WORKER_MAX_CONCURRENCY", "256")
            .current_dir(home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("the gateway starts");
        let site = Self {
            home,
            origin: format!("http://127.0.0.1:{port}"),
            client: reqwest::Client::new(),
            gateway,
        };
        let ready = async {
            loop {
                let answer = site.client.get(format!("{}/readyz", site.origin)).send();
                if answer.await.is_ok_and(|answer| answer.status() == 200) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let in_time = tokio::time::timeout(PATIENCE, ready).await;
        in_time.expect("the gateway is ready");
        site
    }

    /// Opens streams that have begun and do not end.
    async fn open(&self, crowd: usize) -> Vec<Events> {
        let body = script(json!({"text": ["x "], "repeat": 1000, "stall": 3}), true);
        let opening = (0..crowd).map(|_| async {
            let request = self
                .client
                .post(format!("{}/v1/chat/completions", self.origin));
            let answer = request.bearer_auth(KEY).json(&body).send().await;
            let mut events = Events::of(answer.expect("an answer"));
            assert!(events.next().await.is_some(), "it has begun");
            events
        });
        let streams = futures_util::future::join_all(opening).await;
        self.until(crowd).await;
        streams
    }

    /// Waits until this many streams are open, and as many turns run.
    async fn until(&self, streams: usize) {
        let counted = async {
            loop {
                let answer = self
                    .client
                    .get(format!("{}/__test/conc", self.origin))
                    .send();
                let answer = answer.await.expect("an answer");
                let counts: Value = answer.json().await.expect("JSON");
                if counts["conc"] == streams && counts["turns"]["running"] == streams {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let in_time = tokio::time::timeout(PATIENCE, counted).await;
        in_time.expect("the streams are open");
    }

    fn cost(&self) -> String {
        let gateway = self.gateway.id().expect("it runs");
        let children = processes(self.home.path());
        // The gateway has the same variable; a wrapper of npm is no Codex.
        let codex = children.iter().filter(|child| child.pid != gateway);
        let codex = codex.max_by_key(|child| memory_kib(child.pid));
        let codex = codex.expect("a Codex child").pid;
        let of = |pid| {
            let (open, most) = (descriptors(pid), limit(pid));
            format!("{open} of {most} descriptors, {} KiB", memory_kib(pid))
        };
        format!("gateway {}; Codex {}", of(gateway), of(codex))
    }
}

fn free_port() -> u16 {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    socket.local_addr().expect("an address").port()
}

fn descriptors(pid: u32) -> usize {
    let open = std::fs::read_dir(format!("/proc/{pid}/fd"));
    open.map_or(0, Iterator::count)
}

/// The soft limit of a process's descriptors.
fn limit(pid: u32) -> String {
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap_or_default();
    let mut lines = limits.lines();
    let line = lines.find_map(|line| line.strip_prefix("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().next());
    soft.unwrap_or_default().to_owned()
}

/// Memory of a process that no file backs.
fn memory_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let mut lines = status.lines();
    let line = lines.find_map(|line| line.strip_prefix("RssAnon:"));
    let number = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
    number.unwrap_or(0)
}
