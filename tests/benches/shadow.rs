//! Measures the cost of candidates: `cargo bench -p codex-gateway-tests --bench shadow`.
//!
//! Live requests without a shadow, beside a shadow that decides, and beside ones that loop, trap and hoard memory, in turns in one
//! run: the ratios are what counts. Then the last decisions are replayed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use codex_gateway::policy::{Gate, Slot, SlotFiles};
use codex_gateway::secret::fingerprint;
use codex_gateway_tests::gateway::{Gateway, KEY, Setup};
use codex_gateway_tests::guests::EVERY;
use serde_json::json;

const CONNECTIONS: usize = 16;
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(2);
const CALLERS: usize = 200;

fn keys(salt: usize) -> String {
    let names = (0..CALLERS).map(|number| format!("sk-{number}"));
    let names = names.chain([KEY.to_owned(), format!("sk-salt-{salt}")]);
    let key = |key: String| json!({"id": key, "sha256": fingerprint(key.as_bytes())});
    json!({"keys": names.map(key).collect::<Vec<_>>()}).to_string()
}

fn settings(text: &str) -> [SlotFiles; Slot::COUNT] {
    let mut files: [SlotFiles; Slot::COUNT] = Default::default();
    files[Slot::Auth as usize].settings = Some(text.as_bytes().into());
    files
}

/// The acts of hostile candidates, which requests ask of them: the policies that serve do not read it.
const HOSTILE: [&str; 3] = ["spin", "panic", "hoard"];

/// A candidate that does on each request what its header says.
fn hostile() -> [SlotFiles; Slot::COUNT] {
    let mut files = settings("{}");
    files[Slot::Auth as usize].component = Some(EVERY.into());
    files
}

/// The times of requests in one round.
async fn round(gateway: &Gateway, act: &'static str) -> Vec<Duration> {
    let end = Instant::now() + ROUND;
    let tasks: Vec<_> = (0..CONNECTIONS)
        .map(|number| {
            let client = gateway.client.clone();
            let url = format!("{}/v1/models", gateway.origin);
            tokio::spawn(async move {
                let (mut times, mut asked) = (Vec::new(), number);
                while Instant::now() < end {
                    let began = Instant::now();
                    let request = client
                        .get(&url)
                        .bearer_auth(format!("sk-{}", asked % CALLERS));
                    let answer = request.header("x-hostile", act).send().await;
                    let answer = answer.expect("an answer");
                    assert_eq!(answer.status(), 200);
                    answer.bytes().await.expect("a body");
                    times.push(began.elapsed());
                    asked += CONNECTIONS;
                }
                times
            })
        })
        .collect();
    let mut all = Vec::new();
    for task in tasks {
        all.extend(task.await.expect("a round"));
    }
    all
}

fn print(name: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |share: usize| times[(times.len() - 1) * share / 1_000];
    println!(
        "{name}: {} requests, p50 {:?}, p99 {:?}, p99.9 {:?}",
        times.len(),
        at(500),
        at(990),
        at(999)
    );
}

#[tokio::main]
async fn main() {
    let setup = Setup::demo().var("PROXY_PROTECT_MODELS", "true");
    let gateway = setup.policy("auth.json", keys(0).as_bytes()).start().await;
    let gate = || Gate {
        max_faults: u64::MAX,
        ..Gate::default()
    };
    let mut taken = vec![Vec::new(); 2 + HOSTILE.len()];
    for salt in 1..=ROUNDS {
        taken[0].extend(round(&gateway, "nothing").await);
        let hostile = HOSTILE.map(|act| (act, hostile()));
        let candidates = [("nothing", settings(&keys(salt)))]
            .into_iter()
            .chain(hostile);
        for (times, (act, files)) in taken[1..].iter_mut().zip(candidates) {
            let live = Arc::clone(&gateway.live);
            let candidate = live.offer(files, None, "bench").await.expect("a candidate");
            let digest = candidate.digest.to_string();
            live.shadow(&digest, gate(), "bench").expect("a shadow");
            times.extend(round(&gateway, act).await);
            let seen = live.candidate(&digest).expect("the candidate").shadow;
            let seen = seen.unwrap_or_default();
            println!(
                "  shadow, {act}: {} decisions, {} faults, {} requests left out",
                seen.decisions, seen.faults, seen.lost
            );
            live.discard(&digest, "bench").await.expect("the candidate");
        }
    }
    let names = [
        "without a shadow",
        "beside a shadow",
        "beside a shadow that loops",
        "beside a shadow that traps",
        "beside a shadow that hoards",
    ];
    for (name, times) in names.into_iter().zip(taken) {
        print(name, times);
    }
    let files = settings(&keys(ROUNDS + 1));
    let candidate = gateway
        .live
        .offer(files, None, "bench")
        .await
        .expect("a candidate");
    let report = candidate.replayed;
    println!(
        "replay: {} decisions in {:?}",
        report.decisions, report.took
    );
    gateway.stop().await;
}
