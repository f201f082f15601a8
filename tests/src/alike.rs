//! Many decisions of policies that decide alike, compared side by side: on probation with those before, and with candidates.

use std::collections::BTreeSet;
use std::sync::Arc;

use codex_gateway::policy::{
    Credential, Decision, Generation, Observer, Refused, Request, Slot, SlotFiles,
};
use codex_gateway::secret::fingerprint;
use serde_json::json;

use crate::gateway::{Gateway, Setup};
use crate::guests::deploy;

/// The callers; each one's key is its name.
pub const CALLERS: usize = 1_000;
/// The decisions between two candidates: as many as the gateway keeps in memory.
const KEPT: u64 = 20_000;
/// One of so many requests has a key that is nobody's.
const STRANGERS: u64 = 50;

/// The name and the key of a caller.
#[must_use]
pub fn caller(number: usize) -> String {
    format!("caller-{number}")
}

/// Auth settings with every caller but these, the first of them at the place `first`: the order means nothing.
#[must_use]
pub fn keys(without: &BTreeSet<usize>, first: usize) -> String {
    let callers = (0..CALLERS).map(|place| (place + first) % CALLERS);
    let callers = callers.filter(|number| !without.contains(number));
    let key = |id: String| json!({"id": id, "sha256": fingerprint(id.as_bytes())});
    let keys: Vec<_> = callers.map(caller).map(key).collect();
    json!({ "keys": keys }).to_string()
}

/// A gateway on which one denial more takes new policies back.
pub async fn gateway() -> Gateway {
    let setup = Setup::demo().policy("auth.json", keys(&BTreeSet::new(), 0).as_bytes());
    setup
        .policy("policies.toml", b"[rollout]\nmax_denials = 0\n")
        .start()
        .await
}

struct Nobody;

impl Observer for Nobody {
    fn decided(&self, _: &Decision) {}
}

/// Decides who is calling, as for the request of this number.
async fn decide(serving: &Generation, observer: &Arc<dyn Observer>, number: u64) {
    let caller = caller(usize::try_from(number).expect("a number") * 421 % CALLERS);
    let is_stranger = number.is_multiple_of(STRANGERS);
    let secret = if is_stranger { "sk-stranger" } else { &caller };
    let request = Request {
        id: format!("req_{number}"),
        method: "GET".to_owned(),
        path: "/v1/models".to_owned(),
        query: None,
        host: "localhost".to_owned(),
        client: "192.0.2.1".to_owned(),
        headers: Vec::new(),
        credential: Some(Credential {
            scheme: "Bearer".to_owned(),
            fingerprint: fingerprint(secret.as_bytes()),
            secret: None,
        }),
        // Another second every now and then: a kept answer is as good as a new one.
        now_ms: 1_700_000_000_000 + number,
    };
    let generation = serving.observed(&request.id.clone(), Arc::clone(observer));
    match generation.authenticate(&request).await {
        Ok(found) => assert_eq!((found.id, is_stranger), (caller, false)),
        Err(Refused::Denied(_)) => assert!(is_stranger, "{caller}"),
        Err(other) => panic!("{other}"),
    }
}

/// Compares at least so many decisions of policies that are alike, and checks that none differs and nothing is taken back.
///
/// # Panics
/// If one does.
pub async fn compare(least: u64) {
    let gateway = gateway().await;
    let nobody = BTreeSet::new();
    deploy(gateway.policies(), "auth.json", keys(&nobody, 1).as_bytes());
    gateway.generation(2).await;
    let serving = gateway.live.current();
    assert!(gateway.live.on_probation_until().is_some());
    let observer: Arc<dyn Observer> = Arc::new(Nobody);
    let (mut number, mut compared) = (0, 0);
    for first in 2.. {
        for _ in 0..KEPT {
            decide(&serving, &observer, number).await;
            number += 1;
        }
        let mut files: [SlotFiles; Slot::COUNT] = Default::default();
        let settings = keys(&nobody, first);
        files[Slot::Auth as usize].settings = Some(settings.as_bytes().into());
        let candidate = gateway.live.offer(files, None, "ops").await;
        let candidate = candidate.expect("a candidate");
        let report = candidate.replayed;
        assert_eq!((report.differ, report.unknown), (0, 0), "{report:?}");
        assert!(report.decisions > 0, "{report:?}");
        compared += report.decisions;
        let digest = candidate.digest.to_string();
        gateway
            .live
            .discard(&digest, "ops")
            .await
            .expect("the candidate");
        if compared >= least {
            break;
        }
    }
    assert_eq!(gateway.live.current().number(), 2);
    assert_eq!(gateway.live.taken_back(), 0);
    gateway.stop().await;
}
