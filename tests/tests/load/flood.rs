//! Floods: limits admit exactly their number while policies are swapped; made-up keys and addresses take no memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use codex_gateway::policy::{Defaults, Facts, Slot, Source};
use codex_gateway::quota::{Memory, Quota, Store, Unit};
use codex_gateway_tests::gateway::{Gateway, KEY, QUICK, Setup, say, stream};
use serde_json::{Value, json};
use tokio::task::JoinSet;

/// A window so long that no bucket refills during a test.
const LONG_MS: u64 = 31 * 24 * 3_600_000;
const REQUESTS: u64 = 10_000;
const CONNECTIONS: usize = 64;
const LIMIT: usize = 1_000;
const SWAPS: u64 = 100;

/// Rules with the limit under test, and a rule that differs in every generation.
fn rules(generation: u64) -> Vec<u8> {
    let limit = json!({"name": "limit", "unit": "requests", "limit": LIMIT, "window_ms": LONG_MS});
    let other = json!({"name": format!("g{generation}"), "unit": "requests", "limit": 1_000_000});
    json!({"rules": [limit, other]}).to_string().into_bytes()
}

/// The state that the connections share.
struct Flood {
    gateway: Gateway,
    source: Source,
    folder: tempfile::TempDir,
    sent: AtomicU64,
    admitted: AtomicUsize,
    refused: AtomicUsize,
}

impl Flood {
    /// One connection: sends requests, one after another, until all are sent; swaps the policy before some of them.
    async fn send(self: Arc<Self>) {
        let client = reqwest::Client::new();
        let bodies = [say(QUICK), stream(QUICK)];
        loop {
            let number = self.sent.fetch_add(1, Ordering::Relaxed);
            if number >= REQUESTS {
                return;
            }
            if number.is_multiple_of(REQUESTS / SWAPS) {
                self.swap(number).await;
            }
            let body = &bodies[usize::from(number.is_multiple_of(2))];
            self.ask(&client, body).await;
        }
    }

    async fn swap(&self, number: u64) {
        std::fs::write(
            self.folder.path().join("rate-limit.json"),
            rules(number + 1),
        )
        .unwrap();
        let facts = Facts {
            codex_model: Some("demo".to_owned()),
            ..Facts::default()
        };
        let candidates = self.source.read(&facts).unwrap();
        self.gateway.live.replace(&candidates).await.unwrap();
    }

    async fn ask(&self, client: &reqwest::Client, body: &Value) {
        let url = format!("{}/v1/chat/completions", self.gateway.origin);
        let request = client.post(url).bearer_auth(KEY).json(body);
        let response = request.send().await.unwrap();
        match response.status().as_u16() {
            200 => self.admitted.fetch_add(1, Ordering::Relaxed),
            429 => self.refused.fetch_add(1, Ordering::Relaxed),
            other => panic!("{other}: {}", response.text().await.unwrap()),
        };
        drop(response.bytes().await.unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes a minute"]
async fn ten_thousand_requests_are_granted_a_limit_of_a_thousand_across_a_hundred_swaps() {
    let _turn = crate::alone().await;
    let folder = tempfile::tempdir().unwrap();
    let fingerprint = codex_gateway::secret::fingerprint(KEY.as_bytes());
    let auth = json!({"keys": [{"id": "flood", "sha256": fingerprint}]});
    // Long deadlines: on a busy machine a short one could be exceeded, which is not tested here.
    let patient = Slot::ALL
        .map(|slot| format!("[{slot}]\ndeadline_ms = 1000\n"))
        .concat();
    let mut setup = Setup::demo();
    for (name, text) in [("auth.json", auth.to_string()), ("policies.toml", patient)] {
        std::fs::write(folder.path().join(name), &text).unwrap();
        setup = setup.policy(name, text.as_bytes());
    }
    let flood = Arc::new(Flood {
        gateway: setup.policy("rate-limit.json", &rules(0)).start().await,
        source: Source::new(Some(folder.path().to_owned()), Defaults::default()),
        folder,
        sent: AtomicU64::new(0),
        admitted: AtomicUsize::new(0),
        refused: AtomicUsize::new(0),
    });
    let mut connections = JoinSet::new();
    for _ in 0..CONNECTIONS {
        connections.spawn(Arc::clone(&flood).send());
    }
    connections.join_all().await;
    let flood = Arc::into_inner(flood).unwrap();
    assert_eq!(flood.admitted.into_inner(), LIMIT);
    assert_eq!(flood.refused.into_inner() as u64, REQUESTS - LIMIT as u64);
    assert!(flood.gateway.live.current().number() > SWAPS);
    flood.gateway.stop().await;
}

/// Memory of this process that no file backs.
fn anonymous_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    line.unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_million_keys_take_bounded_memory() {
    let _turn = crate::alone().await;
    let memory = Memory::default();
    let before = anonymous_kib();
    for number in 0..1_000_000 {
        let quota = Quota {
            name: "requests".to_owned(),
            // A key longer than any that the host keeps as it is; longer ones are kept by their fingerprint.
            key: format!("{number:0128}"),
            unit: Unit::Requests,
            limit: 10,
            window_ms: LONG_MS,
            cost: 1,
        };
        drop(memory.take(&[quota]).await.unwrap());
    }
    let grown = anonymous_kib().saturating_sub(before);
    assert!(memory.buckets() < 101_100);
    // A tenth of what a million buckets would take; places that the tests before freed may not fit.
    assert!(grown < 96 << 10, "{grown} KiB");
}

#[tokio::test(flavor = "multi_thread")]
async fn made_up_keys_from_made_up_addresses_take_bounded_memory_and_nobodys_place() {
    let _turn = crate::alone().await;
    let by = json!([
        {"name": "address", "unit": "requests", "limit": 5, "per": "address", "window_ms": LONG_MS},
        {"name": "caller", "unit": "requests", "limit": 5, "window_ms": LONG_MS},
    ]);
    let setup = Setup::demo().policy(
        "rate-limit.json",
        json!({ "rules": by }).to_string().as_bytes(),
    );
    let gateway = Arc::new(setup.start().await);
    let flood = |numbers: std::ops::Range<u32>| {
        let gateway = Arc::clone(&gateway);
        async move {
            let mut connections = JoinSet::new();
            for start in 0..16 {
                let (gateway, numbers) = (Arc::clone(&gateway), numbers.clone());
                connections.spawn(async move {
                    let client = reqwest::Client::new();
                    for number in numbers.skip(start).step_by(16) {
                        let address = std::net::Ipv4Addr::from(0x0b00_0000 + number);
                        let url = format!("{}/v1/chat/completions", gateway.origin);
                        let request = client.post(url).bearer_auth(format!("sk-{number}"));
                        let request = request.header("x-forwarded-for", address.to_string());
                        assert_eq!(request.send().await.unwrap().status(), 401);
                    }
                });
            }
            connections.join_all().await;
        }
    };
    flood(0..1_000).await;
    let warm = anonymous_kib();
    flood(1_000..10_000).await;
    let grown = anonymous_kib().saturating_sub(warm);
    assert!(grown < 32 << 10, "{grown} KiB");
    for status in [200, 200, 200, 200, 200, 429] {
        assert_eq!(
            gateway.chat(&say(QUICK)).send().await.unwrap().status(),
            status
        );
    }
    Arc::into_inner(gateway).unwrap().stop().await;
}
