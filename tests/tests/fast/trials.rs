//! Trials of candidates: which decisions a gate counts, and which uploads end a shadow or a canary.

use std::time::Duration;

use codex_gateway::policy::{Canary, Gate, OwnRules, Slot, Unsteered, What};
use codex_gateway_tests::gateway::{Gateway, Setup};
use codex_gateway_tests::operator::keys;
use serde_json::json;

use crate::canary::Files;
use crate::candidates::{chat, offer, settings, shadow_until, status};

/// Decisions in slots that it does not change say nothing about a candidate.
#[tokio::test(flavor = "multi_thread")]
async fn a_gate_lets_no_policy_pass_that_was_never_asked() {
    let setup = Setup::demo().policy("auth.json", keys(&["alice"]).as_bytes());
    let gateway = setup.start().await;
    let mut files = settings(Slot::ToolStop, r#"{"mode": "first"}"#);
    files[Slot::Auth as usize] = settings(Slot::Auth, &keys(&["alice", "bob"]))[0].clone();
    let (digest, _) = offer(&gateway.live, files).await;
    for min_decisions in [2, 0] {
        let gate = Gate {
            duration: Duration::from_millis(300),
            min_decisions,
            promote: true,
            ..Gate::default()
        };
        gateway.live.shadow(&digest, gate, "ops").unwrap();
        for _ in 0..2 {
            assert_eq!(chat(&gateway, "alice").await, 200);
        }
        let is_over = |gateway: &Gateway| {
            let candidate = gateway.live.candidate(&digest);
            candidate.map_or(true, |candidate| candidate.stage != "shadow")
        };
        gateway.until(is_over, "the end of the shadow").await;
        let candidate = gateway.live.candidate(&digest).unwrap();
        let least = min_decisions.max(1);
        let why = format!("0 decisions of tool-stop seen (at least {least})");
        assert_eq!((candidate.stage, candidate.why), ("unseen", Some(why)));
        let report = candidate.shadow.unwrap();
        assert_eq!(
            (report.asked[0] >= 2, report.asked[3]),
            (true, 0),
            "{report:?}"
        );
        assert_eq!(report.asked[1], 0, "the model policy is the same");
    }
    assert_eq!(gateway.live.current().number(), 1);
    gateway.stop().await;
}

/// A candidate whose models have this owner.
fn owned(by: usize) -> Files {
    settings(
        Slot::Model,
        &json!({"owned_by": by.to_string()}).to_string(),
    )
}

/// A gateway whose first candidate is in shadow, whose second one has a canary, and whose third one is ready; and their digests.
async fn on_trial() -> (Gateway, Vec<String>) {
    let setup = Setup::demo().policy("auth.json", keys(&["alice", "bob"]).as_bytes());
    let gateway = setup.start().await;
    let live = &gateway.live;
    let mut digests = Vec::new();
    for number in 0..3 {
        digests.push(offer(live, owned(number)).await.0);
    }
    live.shadow(&digests[0], Gate::default(), "ops").unwrap();
    let all = Canary {
        percent: 100,
        ..Canary::default()
    };
    live.canary(&digests[1], all, "ops").unwrap();
    assert_eq!(status(&gateway, "alice", "/v1/models").await, 200);
    shadow_until(&gateway, &digests[0], |report| report.decisions > 0).await;
    (gateway, digests)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_further_upload_ends_a_shadow_or_a_canary() {
    let (gateway, digests) = on_trial().await;
    let live = &gateway.live;
    let mut lives = live.lives();
    for number in 3..9 {
        offer(live, owned(number)).await;
    }
    assert_eq!(live.candidates().len(), 8);
    assert_eq!(live.candidate(&digests[0]).unwrap().stage, "shadow");
    assert!(live.candidate(&digests[1]).unwrap().canary.is_some());
    let gone = live.candidate(&digests[2]);
    assert!(gone.is_err(), "the oldest one without a trial");
    let mut dropped = Vec::new();
    while let Ok(life) = lives.try_recv() {
        dropped.extend((life.what == What::Dropped).then(|| life.digest.to_string()));
    }
    assert_eq!(dropped, digests[2..]);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_files_again_are_the_same_candidate() {
    let (gateway, digests) = on_trial().await;
    let live = &gateway.live;
    let again = live.offer(owned(0), None, "other").await.unwrap();
    assert_eq!((again.by.as_str(), again.stage), ("ops", "shadow"));
    assert!(again.shadow.unwrap().decisions > 0);
    let again = live.offer(owned(1), None, "other").await.unwrap();
    assert!(again.canary.is_some());
    assert_eq!(live.candidates().len(), 3);
    // With other rules they are not.
    let rules = || Some(OwnRules::read(b"probation = \"1h\"").unwrap());
    for (number, digest) in digests[..2].iter().enumerate() {
        let refused = live.offer(owned(number), rules(), "other").await;
        let expected = Unsteered::OnTrial(digest[..12].to_owned());
        assert_eq!(refused.unwrap_err(), expected);
    }
    live.end_canary(&digests[1], "ops").unwrap();
    let again = live.offer(owned(1), rules(), "other").await.unwrap();
    assert_eq!((again.by.as_str(), again.stage), ("other", "ready"));
    gateway.stop().await;
}
