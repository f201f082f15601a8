//! A thousand promotions and roll-backs over the operators' API, under load: no request fails or meets two generations, memory
//! and descriptors stay flat.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use codex_gateway_tests::gateway::{Gateway, QUICK, Setup, say, stream};
use codex_gateway_tests::guests::EVERY;
use codex_gateway_tests::operator::{answer, operated, post, upload};
use codex_gateway_tests::sse::{Event, Events};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::swap_load::anonymous_kib;

/// Promotions, each of a candidate that was uploaded for it: an upload is compared with the last 20,000 decisions.
const PROMOTIONS: u64 = 100;
/// The roll-backs after each, to and fro.
const ROLL_BACKS: u64 = 9;
/// One of so many uploads is of policies that were never prepared before; the others are of known ones.
const FRESH: u64 = 10;
/// The promotions after which everything that is allocated once has been allocated, the kept decisions included.
const WARM: u64 = 40;
/// The KiB and the descriptors that the others may add.
const MAY_GROW_KIB: u64 = 48 << 10;
const MAY_OPEN: usize = 20;

/// Clients that send one request after another, and the pause between two: the operator must get a turn on a small machine.
const CONNECTIONS: u64 = 64;
const PAUSE: Duration = Duration::from_millis(100);

/// Policies whose answers carry a stamp. They declare little, so that most decisions of a replay are known.
fn stamped(stamp: u64) -> [(&'static str, Vec<u8>); 4] {
    let settings = |needs: &[&str]| json!({"stamp": stamp, "needs": needs}).to_string();
    [
        ("auth.wasm", EVERY.to_vec()),
        ("auth.json", settings(&[]).into_bytes()),
        ("model.wasm", EVERY.to_vec()),
        ("model.json", settings(&["groups", "model"]).into_bytes()),
    ]
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// The policies that were seen, by the first digits of their digest, with the model that their answers name; and the generations,
/// by their number, with the policies that decided in it.
#[derive(Default)]
struct Known {
    models: Mutex<HashMap<String, String>>,
    generations: Mutex<HashMap<String, String>>,
    answered: AtomicU64,
    is_over: AtomicBool,
}

impl Known {
    fn stamp(&self, digest: &str, stamp: u64) {
        let model = format!("stamp-{stamp}");
        self.models.lock().insert(digest[..12].to_owned(), model);
    }

    fn generation(&self, number: &str, digest: &str) {
        let mut generations = self.generations.lock();
        let known = generations.entry(number.to_owned());
        let known = known.or_insert_with(|| digest[..12].to_owned());
        assert_eq!(known, &digest[..12], "generation {number}");
    }
}

/// Sends requests until it is over. Each answer names one model throughout, which is that of the policies in its header.
async fn client(gateway: Arc<Gateway>, known: Arc<Known>) {
    let mut is_streamed = false;
    while !known.is_over.load(Ordering::Relaxed) {
        is_streamed = !is_streamed;
        let body = if is_streamed {
            stream(QUICK)
        } else {
            say(QUICK)
        };
        let response = gateway.chat(&body).send().await.unwrap();
        let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
        let (number, policy) = (header("x-codex-generation"), header("x-codex-policy"));
        assert_eq!(response.status(), 200, "{}", response.text().await.unwrap());
        known.generation(&number, &policy);
        let model = known.models.lock()[&policy].clone();
        for found in models(response, is_streamed).await {
            assert_eq!(found, model, "generation {number}");
        }
        known.answered.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(PAUSE).await;
    }
}

/// The models that an answer names.
async fn models(response: reqwest::Response, is_streamed: bool) -> Vec<Value> {
    if !is_streamed {
        let body: Value = response.json().await.unwrap();
        return vec![body["model"].clone()];
    }
    let events = Events::of(response).rest().await;
    assert_eq!(events.last(), Some(&Event::Done));
    let chunks = events.into_iter().filter_map(|event| match event {
        Event::Data(data) => Some(data["model"].clone()),
        _ => None,
    });
    chunks.collect()
}

/// Does something, and returns the number and the digest of the generation that serves after it.
async fn act(gateway: &Gateway, path: &str, body: Value, known: &Known) -> (u64, String) {
    let (status, told) = post(gateway, path, body).await;
    assert_eq!(status, 200, "{path}: {told}");
    let digest = told["digest"].as_str().unwrap().to_owned();
    known.generation(&told["number"].to_string(), &digest);
    (told["number"].as_u64().unwrap(), digest)
}

/// An upload, its promotion, and roll-backs to what served before, back again, and so on.
async fn round(gateway: &Gateway, number: u64, known: &Known) {
    let before = gateway.live.current();
    let stamp = match number.is_multiple_of(FRESH) {
        true => 1_000 + number,
        false => 2 + number % 2,
    };
    let files = stamped(stamp);
    let files = files.each_ref().map(|(name, bytes)| (*name, &bytes[..]));
    let (status, candidate) = answer(upload(gateway, &files)).await;
    assert_eq!(status, 201, "{candidate}");
    let candidate = candidate["digest"].as_str().unwrap();
    known.stamp(candidate, stamp);
    let path = format!("candidates/{candidate}/promote");
    let promoted = act(gateway, &path, Value::Null, known).await;
    assert_eq!(promoted, (before.number() + 1, candidate.to_owned()));
    let before = (before.number() + 1, before.digest().to_string());
    for turn in 1..=ROLL_BACKS {
        let (to, body) = match turn % 2 {
            // Without a digest: to those before.
            1 => (before.1.as_str(), Value::Null),
            _ => (candidate, json!({"digest": candidate})),
        };
        let back = act(gateway, "rollback", body, known).await;
        assert_eq!(back, (before.0 + turn, to.to_owned()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_promotions_and_roll_backs_lose_and_mix_nothing_and_keep_nothing() {
    let _turn = crate::alone().await;
    let state = tempfile::tempdir().unwrap();
    let mut setup = operated(Setup::demo());
    setup = setup.var("PROXY_STATE_DIR", &state.path().to_string_lossy());
    for (name, bytes) in stamped(1) {
        setup = setup.policy(name, &bytes);
    }
    // Long deadlines: on a busy machine a short one could be exceeded, which is not tested here.
    let patient = "[auth]\ndeadline_ms = 1000\n[model]\ndeadline_ms = 1000\n";
    setup = setup.policy("policies.toml", patient.as_bytes());
    let gateway = Arc::new(setup.start().await);
    let known = Arc::new(Known::default());
    known.stamp(&gateway.live.current().digest().to_string(), 1);
    let mut clients = JoinSet::new();
    for _ in 0..CONNECTIONS {
        clients.spawn(client(Arc::clone(&gateway), Arc::clone(&known)));
    }
    let mut warm = (0, 0);
    for number in 0..PROMOTIONS {
        round(&gateway, number, &known).await;
        if number == WARM {
            warm = (anonymous_kib(), descriptors());
        }
    }
    let grown = anonymous_kib().saturating_sub(warm.0);
    let opened = descriptors().saturating_sub(warm.1);
    known.is_over.store(true, Ordering::Relaxed);
    // Fails if one of them did.
    clients.join_all().await;
    assert_eq!(
        gateway.live.current().number(),
        1 + PROMOTIONS * (1 + ROLL_BACKS)
    );
    let answered = known.answered.load(Ordering::Relaxed);
    println!("{answered} answers, {grown} KiB and {opened} descriptors more");
    assert!(
        answered > PROMOTIONS * (1 + ROLL_BACKS),
        "{answered} answers"
    );
    assert!(grown < MAY_GROW_KIB, "{grown} KiB more");
    assert!(opened < MAY_OPEN, "{opened} descriptors more");
    Arc::into_inner(gateway).unwrap().stop().await;
}
