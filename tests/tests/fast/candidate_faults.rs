//! Faults of new policies: each way of trying them finds those of one caller, and one slow moment is none.

use codex_gateway::policy::{Canary, Gate, Slot, SlotFiles};
use codex_gateway_tests::gateway::{Gateway, Setup};
use codex_gateway_tests::guests::EVERY;
use serde_json::{Value, json};

use crate::canary::{Files, begin, callers, chat, gateway, offer};
use crate::probation::{deploy_every, taken_back};

/// The callers of these tests, and the one for whom the policies fail.
const CALLERS: usize = 60;
const UNLUCKY: &str = "caller-41";

fn names() -> Vec<String> {
    (0..CALLERS)
        .map(|number| format!("caller-{number}"))
        .collect()
}

fn known() -> Setup {
    let names = names();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    gateway(&names)
}

/// Limits that trap, if one caller asks.
fn traps() -> Value {
    json!({"fails": "quotas", "for": UNLUCKY})
}

/// Limits that compute without end.
fn spins(stamp: u64) -> Value {
    json!({"stamp": stamp, "fails": "quotas", "how": "spin"})
}

fn candidate(settings: &Value) -> Files {
    let mut files = Files::default();
    files[Slot::RateLimit as usize] = SlotFiles {
        component: Some(EVERY.into()),
        settings: Some(settings.to_string().as_bytes().into()),
    };
    files
}

fn stage(gateway: &Gateway, digest: &str) -> (&'static str, String) {
    let status = gateway.live.candidate(digest).unwrap();
    (status.stage, status.why.unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shadow_finds_the_one_caller_on_whom_it_fails() {
    let gateway = known().start().await;
    let digest = offer(&gateway, candidate(&traps())).await;
    let gate = Gate::default();
    gateway.live.shadow(&digest, gate, "ops").unwrap();
    for name in names() {
        assert_eq!(chat(&gateway, &name).await.0, 200, "{name}");
    }
    let has_failed = |gateway: &Gateway| stage(gateway, &digest).0 == "failed";
    gateway.until(has_failed, "failed shadow").await;
    let report = gateway.live.candidate(&digest).unwrap().shadow.unwrap();
    let [difference] = &report.differences[..] else {
        panic!("{report:?}");
    };
    assert_eq!(difference.kind.caller.as_deref(), Some(UNLUCKY));
    assert_eq!(difference.kind.to, "fault trap");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_fails_at_the_one_caller_on_whom_it_fails() {
    let gateway = known().start().await;
    let digest = offer(&gateway, candidate(&traps())).await;
    let all = Canary {
        percent: 100,
        ..Canary::default()
    };
    begin(&gateway, &digest, all);
    for name in names() {
        let expected = if name == UNLUCKY { 503 } else { 200 };
        assert_eq!(chat(&gateway, &name).await.0, expected, "{name}");
    }
    let (stage, why) = stage(&gateway, &digest);
    assert_eq!(stage, "failed");
    assert!(why.starts_with("rate-limit policy: trap"), "{why}");
    assert_eq!(chat(&gateway, UNLUCKY).await.0, 200);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probation_ends_at_the_one_caller_on_whom_it_fails() {
    let gateway = known().start().await;
    deploy_every(gateway.policies(), "rate-limit", &traps());
    gateway.generation(2).await;
    for name in names() {
        let expected = if name == UNLUCKY { 503 } else { 200 };
        assert_eq!(chat(&gateway, &name).await.0, expected, "{name}");
    }
    let health = taken_back(&gateway, 3).await;
    assert_eq!(health["by"], "taken-back", "{health}");
    assert_eq!(chat(&gateway, UNLUCKY).await.0, 200);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_that_is_late_fails_if_the_serving_policies_are_not() {
    let gateway = gateway(&["alice", "bob"]).start().await;
    let digest = offer(&gateway, candidate(&spins(1))).await;
    begin(&gateway, &digest, callers(&["bob"]));
    assert_eq!(chat(&gateway, "bob").await.0, 503);
    let has_failed = |gateway: &Gateway| stage(gateway, &digest).0 == "failed";
    gateway.until(has_failed, "failed canary").await;
    let (_, why) = stage(&gateway, &digest);
    assert!(why.starts_with("rate-limit policy: deadline"), "{why}");
    assert_eq!(chat(&gateway, "bob").await.0, 200);
    gateway.stop().await;
}

/// As every policy is on a machine that is too busy.
#[tokio::test(flavor = "multi_thread")]
async fn a_canary_goes_on_where_the_serving_policies_are_late_too() {
    let setup = gateway(&["alice", "bob"]);
    let setup = setup.policy("rate-limit.json", spins(1).to_string().as_bytes());
    let gateway = setup.policy("rate-limit.wasm", EVERY).start().await;
    let digest = offer(&gateway, candidate(&spins(2))).await;
    begin(&gateway, &digest, callers(&["bob"]));
    assert_eq!(chat(&gateway, "alice").await.0, 503);
    for _ in 0..3 {
        assert_eq!(chat(&gateway, "bob").await, (503, digest.clone()));
    }
    let status = gateway.live.candidate(&digest).unwrap();
    assert_eq!((status.stage, status.decided.faults), ("ready", 3));
    assert!(status.canary.is_some());
    gateway.stop().await;
}
