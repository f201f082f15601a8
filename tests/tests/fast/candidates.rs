//! Candidates: decided with on past and on live requests before they serve, promoted, and rolled back.

use std::sync::Arc;
use std::time::Duration;

use codex_gateway::policy::{Difference, Gate, Live, Report, Slot, SlotFiles, Unsteered};
use codex_gateway_tests::gateway::{Gateway, Setup, say};
use codex_gateway_tests::guests::EVERY;
use codex_gateway_tests::operator::{self, keys};
use codex_gateway_tests::place::Place;
use serde_json::{Value, json};

use crate::fake;

/// A candidate with other settings for one slot.
pub(crate) fn settings(slot: Slot, text: &str) -> [SlotFiles; Slot::COUNT] {
    let mut files: [SlotFiles; Slot::COUNT] = Default::default();
    files[slot as usize].settings = Some(text.as_bytes().into());
    files
}

pub(crate) async fn status(gateway: &Gateway, key: &str, path: &str) -> u16 {
    let url = format!("{}{path}", gateway.origin);
    let response = gateway.client.get(url).bearer_auth(key).send().await;
    response.unwrap().status().as_u16()
}

pub(crate) async fn chat(gateway: &Gateway, key: &str) -> u16 {
    operator::chat(gateway, key, "x-request-id").await.0
}

pub(crate) async fn offer(live: &Arc<Live>, files: [SlotFiles; Slot::COUNT]) -> (String, Report) {
    let candidate = live.offer(files, None, "ops").await.unwrap();
    (candidate.digest.to_string(), candidate.replayed)
}

/// The differences as slot, outcomes, caller and count.
fn told(report: &Report) -> Vec<(&str, &str, &str, &str, u64)> {
    let line = |difference: &Difference| -> (&'static str, String, String, String, u64) {
        let group = difference.kind.clone();
        (
            group.slot,
            group.from,
            group.to,
            group.caller.unwrap_or_default(),
            difference.count,
        )
    };
    let lines: Vec<_> = report.differences.iter().map(line).collect();
    let lines: &'static [_] = lines.leak();
    lines
        .iter()
        .map(|(slot, from, to, caller, count)| {
            (*slot, from.as_str(), to.as_str(), caller.as_str(), *count)
        })
        .collect()
}

pub(crate) async fn shadow_until(
    gateway: &Gateway,
    digest: &str,
    seen: impl Fn(&Report) -> bool,
) -> Report {
    loop {
        let candidate = gateway.live.candidate(digest).unwrap();
        let report = candidate.shadow.unwrap_or_default();
        if seen(&report) {
            return report;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_candidate_is_compared_with_the_last_decisions() {
    let setup = Setup::demo().policy("auth.json", keys(&["alice", "bob"]).as_bytes());
    let gateway = setup.start().await;
    for _ in 0..3 {
        assert_eq!(status(&gateway, "bob", "/v1/models").await, 200);
    }
    for _ in 0..2 {
        assert_eq!(status(&gateway, "alice", "/v1/models").await, 200);
        assert_eq!(status(&gateway, "carol", "/v1/models").await, 401);
    }
    let candidate = settings(Slot::Auth, &keys(&["alice", "carol"]));
    let (digest, report) = offer(&gateway.live, candidate).await;
    assert_eq!(
        told(&report),
        [
            ("auth", "caller bob", "denied 401 invalid_api_key", "bob", 3),
            (
                "auth",
                "denied 401 invalid_api_key",
                "caller carol",
                "carol",
                2
            ),
        ],
        "{report:?}"
    );
    assert_eq!((report.faults, report.lost), (0, 0));
    // The decisions after those that would have been refused are not made up.
    assert!(report.unknown >= 3, "{report:?}");
    // Nothing of it has an effect.
    assert_eq!(status(&gateway, "bob", "/v1/models").await, 200);
    assert_eq!(gateway.live.current().number(), 1);
    assert_eq!(gateway.live.candidates().len(), 1);
    gateway.live.discard(&digest[..12], "ops").await.unwrap();
    assert!(gateway.live.candidates().is_empty());
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_mistake_of_a_candidate_is_told_and_nothing_is_kept_of_it() {
    let gateway = Setup::demo().start().await;
    let mut files = settings(Slot::RateLimit, r#"{"rules": 7}"#);
    files[Slot::Auth as usize].settings = Some(br#"{"kyes": []}"#.as_slice().into());
    files[Slot::Model as usize].component = Some(b"no component".as_slice().into());
    let error = gateway
        .live
        .offer(files, None, "ops")
        .await
        .unwrap_err()
        .to_string();
    for part in ["auth.json", "kyes", "rate-limit.json", "model.wasm"] {
        assert!(error.contains(part), "{part}: {error}");
    }
    assert!(gateway.live.candidates().is_empty());
    let same: [SlotFiles; Slot::COUNT] = Default::default();
    let error = gateway.live.offer(same, None, "ops").await.unwrap_err();
    assert_eq!(error, Unsteered::Serves);
    let error = gateway.live.promote("abc", "ops").await.err().unwrap();
    assert!(matches!(error, Unsteered::Unknown { .. }), "{error}");
    let error = gateway.live.roll_back(None, "ops").await.err().unwrap();
    assert_eq!(error, Unsteered::NothingBefore);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_operator_chose_serves_until_the_folder_is_followed_again() {
    let place = Place::default();
    place.publish("auth.json", &keys(&["alice"]));
    let gateway = place.start().await;
    let first = gateway.live.current().digest();
    let (digest, _) = offer(&gateway.live, settings(Slot::Auth, &keys(&["bob"]))).await;
    let promoted = gateway.live.promote(&digest, "ops").await.unwrap();
    assert_eq!(
        (promoted.number(), promoted.digest().to_string()),
        (2, digest)
    );
    assert_eq!(status(&gateway, "bob", "/v1/models").await, 200);
    assert_eq!(status(&gateway, "alice", "/v1/models").await, 401);
    // The folder is not looked at.
    place.publish("auth.json", &keys(&["carol"]));
    assert_eq!(gateway.live.pinned().unwrap().by, "ops");
    gateway.stop().await;

    // Neither after a restart.
    let gateway = place.start().await;
    let serving = gateway.live.current();
    assert_eq!((serving.number(), serving.digest()), (2, promoted.digest()));
    assert_eq!(status(&gateway, "bob", "/v1/models").await, 200);
    gateway.live.follow("ops").await;
    gateway.generation(3).await;
    assert_eq!(status(&gateway, "carol", "/v1/models").await, 200);
    assert_eq!(gateway.live.pinned(), None);

    // Back to what the operator had chosen, and again what was there before that.
    let back = gateway.live.roll_back(None, "ops").await.unwrap();
    assert_eq!((back.number(), back.digest()), (4, promoted.digest()));
    assert_eq!(status(&gateway, "bob", "/v1/models").await, 200);
    let again = gateway.live.roll_back(None, "ops").await.unwrap();
    assert_eq!(status(&gateway, "carol", "/v1/models").await, 200);
    assert_eq!(again.number(), 5);
    // And those that served in an earlier run only.
    let oldest = gateway.live.roll_back(Some(&first.short()), "ops").await;
    let oldest = oldest.unwrap();
    assert_eq!((oldest.number(), oldest.digest()), (6, first));
    assert_eq!(status(&gateway, "alice", "/v1/models").await, 200);
    gateway.stop().await;

    let history = std::fs::read_dir(place.state().join("policies")).unwrap();
    let history = history.map(|entry| entry.unwrap().path());
    let mut history = history.filter(|path| path.extension().is_some_and(|end| end == "ndjson"));
    let history = std::fs::read_to_string(history.next().unwrap()).unwrap();
    let lines = history
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let doors: Vec<_> = lines
        .map(|line| {
            (
                line["door"].as_str().unwrap().to_owned(),
                line["by"].clone(),
            )
        })
        .collect();
    let ops = || json!("ops");
    let expected = [
        ("start", Value::Null),
        ("api", ops()),
        ("folder", Value::Null),
        ("rolled-back", ops()),
        ("rolled-back", ops()),
        ("rolled-back", ops()),
    ];
    assert_eq!(doors, expected.map(|(door, by)| (door.to_owned(), by)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_candidate_for_policies_that_serve_no_longer_is_gone() {
    let place = Place::default();
    place.publish("auth.json", &keys(&["alice"]));
    let gateway = place.start().await;
    let (digest, _) = offer(&gateway.live, settings(Slot::Auth, &keys(&["bob"]))).await;
    place.publish("auth.json", &keys(&["carol"]));
    gateway.generation(2).await;
    assert!(gateway.live.candidates().is_empty());
    let error = gateway.live.promote(&digest, "ops").await.err().unwrap();
    assert!(matches!(error, Unsteered::Unknown { .. }), "{error}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shadow_decides_along_and_its_gate_has_three_ends() {
    let setup = Setup::demo().policy("auth.json", keys(&["alice", "bob"]).as_bytes());
    let gateway = setup.start().await;
    let gate = |seconds, min_decisions, max_differ| Gate {
        duration: Duration::from_millis(seconds),
        min_decisions,
        max_differ,
        max_faults: 0,
        promote: false,
    };
    let candidate = || settings(Slot::Auth, &keys(&["alice"]));
    let stage = |digest: &str| {
        let candidate = gateway.live.candidate(digest).unwrap();
        (candidate.stage, candidate.why)
    };

    // It fails as soon as it must.
    let (digest, _) = offer(&gateway.live, candidate()).await;
    gateway
        .live
        .shadow(&digest, gate(600_000, 1, Some(1)), "ops")
        .unwrap();
    let again = gateway.live.shadow(&digest, gate(1, 1, None), "ops");
    assert!(matches!(again, Err(Unsteered::InShadow(_))), "{again:?}");
    for _ in 0..2 {
        assert_eq!(chat(&gateway, "alice").await, 200);
        assert_eq!(chat(&gateway, "bob").await, 200, "a shadow has no effect");
    }
    let report = shadow_until(&gateway, &digest, |report| report.differ == 2).await;
    let refused = "denied 401 invalid_api_key";
    assert_eq!(told(&report), [("auth", "caller bob", refused, "bob", 2)]);
    shadow_until(&gateway, &digest, |_| stage(&digest).0 != "shadow").await;
    let why = "2 decisions differ (at most 1)".to_owned();
    assert_eq!(stage(&digest), ("failed", Some(why)));

    // It is over before enough was seen.
    gateway
        .live
        .shadow(&digest, gate(1, 1, None), "ops")
        .unwrap();
    shadow_until(&gateway, &digest, |_| stage(&digest).0 != "shadow").await;
    let why = "0 decisions of auth seen (at least 1)".to_owned();
    assert_eq!(stage(&digest), ("unseen", Some(why)));

    // It passes, and serves by itself.
    let wish = Gate {
        promote: true,
        ..gate(300, 2, Some(0))
    };
    gateway.live.shadow(&digest, wish, "ops").unwrap();
    for _ in 0..2 {
        assert_eq!(chat(&gateway, "alice").await, 200);
    }
    gateway.generation(2).await;
    assert_eq!(gateway.live.current().digest().to_string(), digest);
    assert_eq!(chat(&gateway, "bob").await, 401);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_candidate_that_cannot_decide_fails_in_shadow_and_nobody_notices() {
    let gateway = Setup::demo().start().await;
    let mut files: [SlotFiles; Slot::COUNT] = Default::default();
    files[Slot::Model as usize] = SlotFiles {
        component: Some(EVERY.into()),
        settings: Some(json!({"fails": "resolve"}).to_string().as_bytes().into()),
    };
    let (digest, _) = offer(&gateway.live, files).await;
    gateway
        .live
        .shadow(&digest, Gate::default(), "ops")
        .unwrap();
    let key = codex_gateway_tests::gateway::KEY;
    assert_eq!(chat(&gateway, key).await, 200, "a shadow has no effect");
    let failed = |report: &Report| report.faults > 0;
    let report = shadow_until(&gateway, &digest, failed).await;
    assert_eq!(report.differences[0].kind.to, "fault trap");
    assert_eq!(chat(&gateway, key).await, 200);
    assert_eq!(gateway.health().await["policies"][1]["faults"], 0);
    gateway.stop().await;
}

/// The limits that a candidate would enforce are those that it enforces.
#[tokio::test(flavor = "multi_thread")]
async fn a_shadow_refuses_as_often_as_the_same_limits_do() {
    let rules = json!({"rules": [
        {"name": "few", "unit": "requests", "limit": 5, "window_ms": 3_600_000},
        {"name": "tokens", "unit": "tokens", "limit": 400, "window_ms": 3_600_000},
    ]});
    let keys = keys(&["alice", "bob"]);
    let free = Setup::demo()
        .policy("auth.json", keys.as_bytes())
        .start()
        .await;
    let limited = Setup::demo()
        .policy("auth.json", keys.as_bytes())
        .policy("rate-limit.json", rules.to_string().as_bytes())
        .start()
        .await;
    let candidate = settings(Slot::RateLimit, &rules.to_string());
    let (digest, _) = offer(&free.live, candidate).await;
    free.live.shadow(&digest, Gate::default(), "ops").unwrap();
    let mut refused = 0;
    for number in 0..16 {
        let key = if number % 4 == 0 { "bob" } else { "alice" };
        assert_eq!(chat(&free, key).await, 200);
        refused += u64::from(chat(&limited, key).await == 429);
    }
    assert!((5..15).contains(&refused), "{refused}");
    // By address, who is calling, the model, and the limits of the caller.
    let all = |report: &Report| report.decisions + report.unknown >= 16 * 4;
    let report = shadow_until(&free, &digest, all).await;
    let denied: u64 = report
        .differences
        .iter()
        .map(|difference| difference.count)
        .sum();
    assert_eq!(denied, refused, "{report:?}");
    assert!(
        report
            .differences
            .iter()
            .all(|group| group.kind.to.contains(" by "))
    );
    // The same is found afterwards, in the decisions that are kept.
    free.live.discard(&digest, "ops").await.unwrap();
    let candidate = settings(Slot::RateLimit, &rules.to_string());
    let (_, replayed) = offer(&free.live, candidate).await;
    assert_eq!(replayed.differ, refused, "{replayed:?}");
    free.stop().await;
    limited.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_is_compared_up_to_its_first_other_reaction() {
    let gateway = fake().start().await;
    let calls = json!({"fake": {"call": [
        {"name": "f", "arguments": "{}"}, {"name": "g", "arguments": "{}"}, {"name": "h", "arguments": "{}"},
    ]}});
    let mut body = say(&calls.to_string());
    body["model"] = json!("codex-5");
    let tool = |name: &str| json!({"type": "function", "function": {"name": name}});
    body["tools"] = json!([tool("f"), tool("g"), tool("h")]);
    let settings_of = |mode: &str| json!({"mode": mode}).to_string();
    let answer = gateway.answer(&body).await;
    assert_eq!(
        answer["choices"][0]["finish_reason"], "tool_calls",
        "{answer}"
    );
    let candidate = settings(Slot::ToolStop, &settings_of("first"));
    let (_, report) = offer(&gateway.live, candidate).await;
    let stops: Vec<_> = told(&report);
    assert_eq!(stops.len(), 1, "{report:?}");
    assert_eq!((stops[0].0, stops[0].4), ("tool-stop", 1), "{report:?}");
    gateway.stop().await;
}
