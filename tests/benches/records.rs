//! Measures how fast decisions are recorded, and decided again: `cargo bench -p codex-gateway-tests --bench records`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use codex_gateway::policy::{
    Credential, Decision, Defaults, Engine, Facts, Live, Observer, RecordConfig, Request, Slot,
    SlotFiles, Source, model, rate_limit, records_in, replay_records,
};
use codex_gateway::quota::Memory;
use codex_gateway::secret::fingerprint;
use serde_json::{Value, json};

/// Each has three decisions to compare, of five lines: both halves of the question about limits are one.
const REQUESTS: u64 = 34_000;
const CALLERS: u64 = 100;

struct Nobody;

impl Observer for Nobody {
    fn decided(&self, _: &Decision) {}
}

fn main() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(measure());
}

async fn measure() {
    let folder = tempfile::tempdir().expect("a folder");
    let engine = Engine::new(None).expect("an engine");
    let facts = Facts {
        models: vec![json!({"id": "codex-5", "efforts": ["medium"]})],
        ..Facts::default()
    };
    let source = Source::new(None, settings());
    let candidates = source.read(&facts).expect("the built-in policies");
    let live = Live::start(engine.clone(), &candidates)
        .await
        .expect("they serve");
    let config = RecordConfig {
        folder: folder.path().to_owned(),
        max_bytes: 1 << 30,
    };
    live.record(config).expect("a folder");
    let began = Instant::now();
    let counters = Memory::default();
    for number in 0..REQUESTS {
        decide(&live, number, &counters).await;
        while live.recorded().expect("a recorder").0 + 5_000 < 5 * number {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    live.close_records();
    let (written, dropped) = live.recorded().expect("a recorder");
    println!(
        "recorded: {written} lines, {dropped} dropped, in {:?}",
        began.elapsed()
    );
    let files = records_in(folder.path()).expect("files");
    let size = |path: &std::path::PathBuf| path.metadata().map_or(0, |found| found.len());
    let bytes: u64 = files.iter().map(size).sum();
    println!("size: {bytes} bytes, {} a line", bytes / written.max(1));
    let same: [SlotFiles; Slot::COUNT] = Default::default();
    let began = Instant::now();
    let replayed = replay_records(&engine, (&source, &facts), same, &files)
        .await
        .expect("whole records");
    let (report, took) = (replayed.report, began.elapsed());
    println!(
        "replay from disk: {} decisions of {} lines in {:.2} s (with the preparation of the policies), {:.2} s alone: {} differ, {} unknown",
        report.decisions,
        replayed.lines,
        took.as_secs_f64(),
        report.took.as_secs_f64(),
        report.differ,
        report.unknown
    );
}

fn settings() -> Defaults {
    let object = |value: Value| value.as_object().cloned().unwrap_or_default();
    let key = |n| json!({"id": format!("caller-{n}"), "sha256": fingerprint(format!("sk-{n}").as_bytes())});
    let keys: Vec<_> = (0..CALLERS).map(key).collect();
    let rule = json!({"name": "many", "unit": "requests", "limit": 200, "window_ms": 3_600_000, "per": "caller"});
    Defaults {
        auth: object(json!({"keys": keys})),
        rate_limit: object(json!({"rules": [rule]})),
        ..Defaults::default()
    }
}

async fn decide(live: &Live, number: u64, counters: &Memory) {
    let policies = live
        .current()
        .observed(&format!("req_{number}"), Arc::new(Nobody));
    let now_ms = 1_700_000_000_000 + number;
    let request = Request {
        id: format!("req_{number}"),
        method: "POST".to_owned(),
        path: "/v1/chat/completions".to_owned(),
        query: None,
        host: "localhost".to_owned(),
        client: "127.0.0.1".to_owned(),
        headers: vec![("user-agent".to_owned(), "OpenAI/Python 2.1.0".to_owned())],
        credential: Some(Credential {
            scheme: "Bearer".to_owned(),
            fingerprint: fingerprint(format!("sk-{}", number % CALLERS).as_bytes()),
            secret: None,
        }),
        now_ms,
    };
    let caller = policies.authenticate(&request).await.expect("a caller");
    let ask = model::Ask {
        caller: caller.clone(),
        requested: Some("codex-5".to_owned()),
        effort: None,
    };
    let resolved = policies.resolve(ask, now_ms).await;
    let ask = rate_limit::Ask {
        client: "127.0.0.1".to_owned(),
        caller: Some(caller),
        endpoint: "/v1/chat/completions".to_owned(),
        model: resolved.ok().map(|target| target.id),
        streaming: true,
        estimated_tokens: 100,
        now_ms,
    };
    drop(policies.admit(ask, counters).await);
    policies.settled(number % 1_000);
}
