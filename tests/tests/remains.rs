//! No fault leaves anything behind: no turn, permit, task, process or file. Alone in its process, because it counts the
//! files and tasks of the process.

use std::path::Path;
use std::time::Duration;

use codex_gateway_tests::gateway::{Gateway, KEY, Setup, say, stream};
use codex_gateway_tests::remains::{children, kill, processes};
use codex_gateway_tests::sse::{Event, Events};
use serde_json::{Value, json};

const ROUNDS: usize = 3;
/// The most polls for resources to be released.
const LOOKS: usize = 500;
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

/// The faults of a child, and the code a client gets if the whole answer fails.
fn faults() -> Vec<(Value, Option<&'static str>)> {
    let text = json!(["a", "b", "c"]);
    let error = json!({"codexErrorInfo": "other", "message": "no"});
    vec![
        (
            json!({"text": text, "exit_after": 0}),
            Some("worker_exited"),
        ),
        (
            json!({"text": text, "exit_after": 2}),
            Some("worker_exited"),
        ),
        (
            json!({"text": text, "exit_after": 3}),
            Some("worker_exited"),
        ),
        (json!({"half_line": true}), Some("worker_exited")),
        (json!({"garbage": true}), None),
        (json!({"flood": 20_000}), None),
        (json!({"ask": "something/new"}), None),
        (json!({"hang": true}), Some("idle_timeout")),
        (json!({"retry": "cut"}), Some("upstream_restarted")),
        (json!({"error": error}), Some("invalid_request_error")),
        (json!({"incomplete": "content_filter"}), None),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn no_fault_leaves_a_turn_a_permit_a_task_a_process_or_a_file() {
    // One permit of each kind: a lost one would block all later requests.
    let gateway = Setup::codex(env!("CARGO_BIN_EXE_fake-codex"))
        .var("PROXY_SSE_MAX_CONCURRENCY", "1")
        .var("WORKER_MAX_CONCURRENCY", "1")
        .var("WORKER_BACKOFF_INITIAL_MS", "1")
        .var("WORKER_BACKOFF_MAX_MS", "10")
        .var("PROXY_IDLE_TIMEOUT_MS", "300")
        .var("PROXY_STREAM_IDLE_TIMEOUT_MS", "300")
        .start()
        .await;
    // After one round, everything that is allocated once has been allocated.
    everything_goes_wrong(&gateway).await;
    let before = BucketStatus::settled(&gateway).await;
    for _ in 0..ROUNDS {
        everything_goes_wrong(&gateway).await;
    }
    let after = BucketStatus::within(&gateway, &before).await;
    assert!(after.is_within(&before), "{before:?}, and then {after:?}");
    gateway.stop().await;
}

async fn everything_goes_wrong(gateway: &Gateway) {
    for (fault, code) in faults() {
        let text = json!({"fake": fault}).to_string();
        for body in [say(&text), stream(&text)] {
            let response = send(gateway, &body).await;
            let status = response.status();
            let told = response.text().await.unwrap_or_default();
            match code {
                Some(code) => assert!(told.contains(code), "{fault}: {status} {told}"),
                None => assert_eq!(status, 200, "{fault}: {told}"),
            }
            recovers(gateway).await;
        }
    }
    let endless = json!({"fake": {"text": ["x".repeat(1000)], "repeat": 1_000_000}}).to_string();
    // The client disconnects.
    let mut events = Events::of(send(gateway, &stream(&endless)).await);
    assert!(events.next().await.is_some());
    drop(events);
    recovers(gateway).await;
    // The client stops reading.
    let slow = send(gateway, &stream(&endless)).await;
    gateway.idle().await;
    drop(slow);
    recovers(gateway).await;
    // The client sends half of its request, and disconnects.
    let half = futures_util::stream::iter([
        Ok("{\"messages\":"),
        Err(std::io::Error::other("the client is gone")),
    ]);
    let url = format!("{}/v1/chat/completions", gateway.origin);
    let body = reqwest::Body::wrap_stream(half);
    let sent = client().post(url).bearer_auth(KEY).body(body).send().await;
    assert!(sent.is_err());
    recovers(gateway).await;
    // The child is killed while it has no turn.
    for child in children(&gateway.home()) {
        kill(child.pid);
    }
    recovers(gateway).await;
}

/// A client that keeps no connection.
fn client() -> reqwest::Client {
    let client = reqwest::Client::builder().pool_max_idle_per_host(0);
    client.build().expect("a client")
}

async fn send(gateway: &Gateway, body: &Value) -> reqwest::Response {
    let url = format!("{}/v1/chat/completions", gateway.origin);
    let request = client().post(url).bearer_auth(KEY).json(body);
    request.send().await.expect("an answer")
}

/// Asserts that a stream runs to its end, as soon as there is a child again, and that nothing runs after it.
async fn recovers(gateway: &Gateway) {
    let fine = stream(&json!({"fake": {"text": ["fine"]}}).to_string());
    let streamed = async {
        loop {
            let response = send(gateway, &fine).await;
            if response.status() == 200 {
                let events = Events::of(response).rest().await;
                assert_eq!(events.last(), Some(&Event::Done), "{events:?}");
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), streamed)
        .await
        .expect("a stream is let in again");
    gateway.idle().await;
}

/// The resources in use while there is no request: counted without a connection, which would be counted too.
#[derive(Debug, PartialEq)]
struct BucketStatus {
    turns: usize,
    tasks: usize,
    open_files: usize,
    processes: usize,
    files: usize,
}

impl BucketStatus {
    fn of(gateway: &Gateway) -> Self {
        let processes = processes(&gateway.home());
        let folders = processes.iter().flat_map(|process| &process.folders);
        let files: usize = folders.map(|folder| count(folder)).sum();
        Self {
            turns: gateway.backend.status().turns,
            tasks: tokio::runtime::Handle::current()
                .metrics()
                .num_alive_tasks(),
            open_files: count(Path::new("/proc/self/fd")),
            processes: processes.len(),
            files: files + count(&gateway.home()),
        }
    }

    /// The resources, once they have been the same for a while.
    async fn settled(gateway: &Gateway) -> Self {
        let mut last = Self::of(gateway);
        let mut same = 0;
        for _ in 0..LOOKS {
            tokio::time::sleep(BETWEEN_LOOKS).await;
            let now = Self::of(gateway);
            same = if now == last { same + 1 } else { 0 };
            last = now;
            if same == 20 {
                return last;
            }
        }
        panic!("it never rests: {last:?}");
    }

    /// The resources once they are at most `other`, or after the last poll: connections take a moment to close.
    async fn within(gateway: &Gateway, other: &Self) -> Self {
        let mut now = Self::of(gateway);
        for _ in 0..LOOKS {
            if now.is_within(other) {
                break;
            }
            tokio::time::sleep(BETWEEN_LOOKS).await;
            now = Self::of(gateway);
        }
        now
    }

    fn is_within(&self, other: &Self) -> bool {
        self.turns == 0
            && self.tasks <= other.tasks
            && self.open_files <= other.open_files
            && self.processes <= other.processes
            && self.files <= other.files
    }
}

/// The number of files in a folder and below it.
fn count(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let counts = entries.map(|entry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => count(&entry.path()),
        _ => 1,
    });
    counts.sum()
}
