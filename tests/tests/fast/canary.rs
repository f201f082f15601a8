//! Canaries: some callers are decided by a candidate wholly, and all others by the policies that serve.

use codex_gateway::policy::{
    Canary, CandidateStatus, Gate, Slot, SlotFiles, Tally, Unsteered, What,
};
use codex_gateway_tests::gateway::{Gateway, QUICK, Setup, say, stream};
use codex_gateway_tests::guests::EVERY;
use codex_gateway_tests::operator::keys;
use codex_gateway_tests::sse::{Event, Events};
use serde_json::{Value, json};

use crate::admin::{TOKEN, operated};

pub(crate) type Files = [SlotFiles; Slot::COUNT];

pub(crate) fn gateway(callers: &[&str]) -> Setup {
    Setup::demo().policy("auth.json", keys(callers).as_bytes())
}

/// A candidate with other settings for one slot.
fn settings(slot: Slot, text: &str) -> Files {
    let mut files = Files::default();
    files[slot as usize].settings = Some(text.as_bytes().into());
    files
}

/// A candidate whose models have another owner.
fn renamed() -> Files {
    settings(Slot::Model, r#"{"owned_by": "candidate"}"#)
}

/// A candidate that cannot resolve a model.
fn faulty() -> Files {
    let mut files = Files::default();
    let fails = json!({"fails": "resolve"}).to_string();
    files[Slot::Model as usize] = SlotFiles {
        component: Some(EVERY.into()),
        settings: Some(fails.as_bytes().into()),
    };
    files
}

pub(crate) async fn offer(gateway: &Gateway, files: Files) -> String {
    let candidate = gateway.live.offer(files, None, "ops").await.unwrap();
    candidate.digest.short()
}

pub(crate) fn callers(names: &[&str]) -> Canary {
    Canary {
        callers: names.iter().map(|name| (*name).to_owned()).collect(),
        ..Canary::default()
    }
}

pub(crate) fn begin(gateway: &Gateway, digest: &str, who: Canary) -> CandidateStatus {
    gateway.live.canary(digest, who, "ops").unwrap()
}

fn decided(gateway: &Gateway, digest: &str) -> Tally {
    gateway.live.candidate(digest).unwrap().decided
}

/// The status, and the digest of the policies that decided.
async fn sent(request: reqwest::RequestBuilder, key: &str) -> (u16, String) {
    let response = request.bearer_auth(key).send().await.unwrap();
    let policy = response.headers()["x-codex-policy"].to_str().unwrap();
    let seen = (response.status().as_u16(), policy.to_owned());
    response.bytes().await.unwrap();
    seen
}

async fn get(gateway: &Gateway, key: &str, path: &str) -> (u16, String) {
    let url = format!("{}{path}", gateway.origin);
    sent(gateway.client.get(url), key).await
}

pub(crate) async fn chat(gateway: &Gateway, key: &str) -> (u16, String) {
    let url = format!("{}/v1/chat/completions", gateway.origin);
    sent(gateway.client.post(url).json(&say(QUICK)), key).await
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_and_tenants_are_decided_by_the_candidate_wholly() {
    let gateway = gateway(&["alice", "bob", "acme.carol"]).start().await;
    let serving = gateway.live.current().digest().short();
    let candidate = offer(&gateway, renamed()).await;
    let who = Canary {
        tenants: vec!["acme".to_owned()],
        ..callers(&["bob"])
    };
    let status = begin(&gateway, &candidate, who.clone());
    assert_eq!(status.canary, Some(who));
    for (key, decides) in [
        ("alice", &serving),
        ("bob", &candidate),
        ("acme.carol", &candidate),
    ] {
        assert_eq!(chat(&gateway, key).await, (200, decides.clone()), "{key}");
        let models = get(&gateway, key, "/v1/models").await;
        assert_eq!(models, (200, decides.clone()), "{key}");
        let url = format!("{}/v1/models", gateway.origin);
        let models = gateway.client.get(url).bearer_auth(key).send().await;
        let models: Value = models.unwrap().json().await.unwrap();
        let is_renamed = models["data"][0]["owned_by"] == "candidate";
        assert_eq!(is_renamed, *decides == candidate, "{key}: {models}");
    }
    // A stranger is nobody's canary.
    assert_eq!(chat(&gateway, "mallory").await, (401, serving.clone()));
    let expected = Tally {
        requests: 6,
        ..Tally::default()
    };
    assert_eq!(decided(&gateway, &candidate), expected);

    gateway.live.end_canary(&candidate, "ops").unwrap();
    assert_eq!(chat(&gateway, "bob").await, (200, serving));
    let again = gateway.live.end_canary(&candidate, "ops");
    assert!(matches!(again, Err(Unsteered::Unknown { .. })), "{again:?}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_candidate_may_deny_a_canary_also_to_an_edge_proxy() {
    let gateway = gateway(&["alice", "bob"]).start().await;
    let serving = gateway.live.current().digest().short();
    let candidate = offer(&gateway, settings(Slot::Auth, &keys(&["alice"]))).await;
    begin(&gateway, &candidate, callers(&["bob"]));
    assert_eq!(chat(&gateway, "alice").await, (200, serving.clone()));
    assert_eq!(chat(&gateway, "bob").await, (401, candidate.clone()));
    let verify = |key: &'static str| {
        let url = format!("{}/verify", gateway.origin);
        let asked = gateway.client.get(url);
        let asked = asked.header("x-forwarded-method", "GET");
        let asked = asked.header("x-forwarded-host", "app.example");
        sent(asked.header("x-forwarded-uri", "/"), key)
    };
    assert_eq!(verify("alice").await, (200, serving));
    assert_eq!(verify("bob").await, (401, candidate.clone()));
    let expected = Tally {
        requests: 2,
        denials: 2,
        faults: 0,
    };
    assert_eq!(decided(&gateway, &candidate), expected);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_share_of_the_callers_keeps_its_callers() {
    let names: Vec<String> = (0..60).map(|number| format!("caller-{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let gateway = gateway(&names).start().await;
    let candidate = offer(&gateway, renamed()).await;
    let share = async |percent| {
        let who = Canary {
            percent,
            ..Canary::default()
        };
        begin(&gateway, &candidate, who);
        let mut found = Vec::new();
        for name in &names {
            if get(&gateway, name, "/v1/models").await.1 == candidate {
                found.push(*name);
            }
        }
        found
    };
    let (half, most) = (share(50).await, share(75).await);
    assert!((15..=45).contains(&half.len()), "{half:?}");
    assert_eq!(half, share(50).await);
    assert!(half.iter().all(|name| most.contains(name)));
    assert_eq!(share(100).await.len(), names.len());
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_draws_from_the_same_buckets() {
    let rules = |limit| {
        let rule =
            json!({"name": "few", "unit": "requests", "limit": limit, "window_ms": 3_600_000});
        json!({ "rules": [rule] }).to_string()
    };
    let setup = gateway(&["alice"]).policy("rate-limit.json", rules(3).as_bytes());
    let gateway = setup.start().await;
    let candidate = offer(&gateway, renamed()).await;
    assert_eq!(chat(&gateway, "alice").await.0, 200);
    begin(&gateway, &candidate, callers(&["alice"]));
    assert_eq!(chat(&gateway, "alice").await.0, 200);
    gateway.live.end_canary(&candidate, "ops").unwrap();
    assert_eq!(chat(&gateway, "alice").await.0, 200);
    assert_eq!(chat(&gateway, "alice").await.0, 429);
    begin(&gateway, &candidate, callers(&["alice"]));
    assert_eq!(chat(&gateway, "alice").await, (429, candidate.clone()));
    assert_eq!(decided(&gateway, &candidate).denials, 1);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_ends_the_canary_at_once() {
    let gateway = gateway(&["alice", "bob"]).start().await;
    let serving = gateway.live.current().digest().short();
    let mut lives = gateway.live.lives();
    let candidate = offer(&gateway, faulty()).await;
    gateway
        .live
        .shadow(&candidate, Gate::default(), "ops")
        .unwrap();
    begin(&gateway, &candidate, callers(&["bob"]));
    // It does not fail on other questions.
    let models = get(&gateway, "bob", "/v1/models").await;
    assert_eq!(models, (200, candidate.clone()));
    assert_eq!(chat(&gateway, "bob").await, (503, candidate.clone()));
    assert_eq!(chat(&gateway, "bob").await, (200, serving.clone()));
    let status = gateway.live.candidate(&candidate).unwrap();
    assert_eq!((status.stage, status.canary), ("failed", None));
    let why = status.why.unwrap();
    assert!(why.starts_with("model policy: trap"), "{why}");
    let expected = Tally {
        requests: 2,
        denials: 0,
        faults: 1,
    };
    assert_eq!(status.decided, expected);
    let mut seen = Vec::new();
    while let Ok(life) = lives.try_recv() {
        seen.push((life.what, life.by));
    }
    let expected = [
        (What::Ready, "ops"),
        (What::Shadow, "ops"),
        (What::Canary, "ops"),
        (What::Failed, "canary"),
    ];
    assert_eq!(seen, expected.map(|(what, by)| (what, by.to_owned())));
    let again = gateway.live.canary(&candidate, callers(&["bob"]), "ops");
    assert!(matches!(again, Err(Unsteered::Failed(_))), "{again:?}");
    // It is no fault of the policies that serve.
    assert_eq!(gateway.live.current().digest().short(), serving);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_stays_with_its_candidate_whatever_becomes_of_it() {
    let gateway = gateway(&["alice"]).start().await;
    let serving = gateway.live.current().digest().short();
    let begun = async |policy: &str| {
        let slow = r#"{"demo":{"deltas":40,"text":"x","delay_ms":20}}"#;
        let url = format!("{}/v1/chat/completions", gateway.origin);
        let request = gateway.client.post(url).bearer_auth("alice");
        let response = request.json(&stream(slow)).send().await.unwrap();
        assert_eq!(response.headers()["x-codex-policy"], policy);
        let mut events = Events::of(response);
        events.next().await;
        events
    };
    let ended = async |events: Events| {
        let rest = events.rest().await;
        let is_done = |event: &Event| matches!(event, Event::Done);
        assert!(rest.iter().any(is_done), "{rest:?}");
    };
    let candidate = offer(&gateway, renamed()).await;
    begin(&gateway, &candidate, callers(&["alice"]));
    let first = begun(&candidate).await;
    gateway.live.discard(&candidate, "ops").await.unwrap();
    assert_eq!(chat(&gateway, "alice").await, (200, serving));
    ended(first).await;

    let candidate = offer(&gateway, renamed()).await;
    begin(&gateway, &candidate, callers(&["alice"]));
    let second = begun(&candidate).await;
    gateway.live.promote(&candidate, "ops").await.unwrap();
    assert_eq!(chat(&gateway, "alice").await, (200, candidate));
    assert!(gateway.live.candidates().is_empty());
    ended(second).await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_explanation_names_the_candidate_that_decided() {
    let gateway = gateway(&["alice"]).start().await;
    let serving = gateway.live.current().digest().short();
    let candidate = offer(&gateway, renamed()).await;
    begin(&gateway, &candidate, callers(&["alice"]));
    let url = format!("{}/v1/chat/completions", gateway.origin);
    let request = gateway.client.post(url).header("x-request-id", "why-me");
    let answer = sent(request.json(&say(QUICK)), "alice").await;
    assert_eq!(answer, (200, candidate.clone()));
    let found = gateway.live.explain("why-me");
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((&found[0].policy, found[0].generation), (&candidate, 1));
    let decisions = found[0].decisions.iter();
    let decisions: Vec<_> = decisions
        .map(|made| (made.question, made.policy == candidate))
        .collect();
    let [first, second, rest @ ..] = &decisions[..] else {
        panic!("{decisions:?}");
    };
    assert_eq!(found[0].decisions[0].policy, serving);
    assert_eq!(*first, ("authenticate", false));
    assert_eq!(*second, ("authenticate", true));
    assert!(rest.iter().all(|(_, is_candidate)| *is_candidate));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_candidate_has_a_canary_at_a_time_and_within_bounds() {
    let gateway = gateway(&["alice", "bob"]).start().await;
    let one = offer(&gateway, renamed()).await;
    let other = offer(&gateway, settings(Slot::Model, r#"{"owned_by": "other"}"#)).await;
    begin(&gateway, &one, callers(&["alice"]));
    let refused = gateway.live.canary(&other, callers(&["bob"]), "ops");
    assert_eq!(refused.unwrap_err(), Unsteered::HasCanary(one.clone()));
    let many = vec!["x".to_owned(); 257];
    for too_large in [
        Canary {
            callers: many.clone(),
            ..Canary::default()
        },
        Canary {
            tenants: many,
            ..Canary::default()
        },
        Canary {
            percent: 101,
            ..Canary::default()
        },
    ] {
        let refused = gateway.live.canary(&one, too_large, "ops");
        assert_eq!(refused.unwrap_err(), Unsteered::CanaryBounds);
    }
    let nobody = Canary::default();
    let refused = gateway.live.canary(&one, nobody, "ops");
    assert_eq!(refused.unwrap_err(), Unsteered::CanaryOfNobody);
    // The same candidate gets other callers in place of those before.
    begin(&gateway, &one, callers(&["bob"]));
    assert_ne!(chat(&gateway, "alice").await.1, one);
    assert_eq!(chat(&gateway, "bob").await.1, one);
    gateway.live.discard(&one, "ops").await.unwrap();
    begin(&gateway, &other, callers(&["alice"]));
    assert_eq!(chat(&gateway, "alice").await.1, other);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_sends_one_request_to_a_candidate() {
    let setup = operated().policy("auth.json", keys(&["alice"]).as_bytes());
    let gateway = setup.start().await;
    let serving = gateway.live.current().digest().short();
    let candidate = offer(&gateway, renamed()).await;
    let ask = async |policy: &str, token: &str| {
        let url = format!("{}/v1/models", gateway.origin);
        let request = gateway.client.get(url).header("x-codex-policy", policy);
        let request = request.header("x-request-id", "asked");
        let request = request.header("x-codex-operator", token);
        sent(request, "alice").await
    };
    assert_eq!(ask(&candidate, TOKEN).await, (200, candidate.clone()));
    // Not those after it, not with another token, nor with few digits or none of a candidate.
    let models = get(&gateway, "alice", "/v1/models").await;
    assert_eq!(models, (200, serving.clone()));
    for (policy, token) in [
        (&*candidate, "alice"),
        (&candidate[..11], TOKEN),
        ("0123456789ab", TOKEN),
        (&*serving, TOKEN),
    ] {
        assert_eq!(ask(policy, token).await, (200, serving.clone()), "{policy}");
    }
    let expected = Tally {
        requests: 1,
        ..Tally::default()
    };
    assert_eq!(decided(&gateway, &candidate), expected);
    // The key of a client is no operator's token, and no policy sees the token.
    let key = get(&gateway, TOKEN, "/v1/models").await;
    assert_eq!(key, (401, serving.clone()));
    let told = serde_json::to_string(&gateway.live.explain("asked")).unwrap();
    assert!(
        told.contains("authenticate") && !told.contains(TOKEN),
        "{told}"
    );
    gateway.live.discard(&candidate, "ops").await.unwrap();
    assert_eq!(ask(&candidate, TOKEN).await, (200, serving));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_operators_the_header_is_ignored() {
    let gateway = gateway(&["alice"]).start().await;
    let candidate = offer(&gateway, renamed()).await;
    let url = format!("{}/v1/models", gateway.origin);
    let request = gateway.client.get(url).header("x-codex-policy", &candidate);
    let answer = sent(request.header("x-codex-operator", TOKEN), "alice").await;
    assert_eq!(answer, (200, gateway.live.current().digest().short()));
    gateway.stop().await;
}

/// A shadow sees a canary's request once: both sides are compared on what was asked.
#[tokio::test(flavor = "multi_thread")]
async fn a_shadow_counts_a_canarys_request_once() {
    let gateway = gateway(&["alice", "bob"]).start().await;
    let candidate = offer(&gateway, settings(Slot::Auth, &keys(&["alice"]))).await;
    let gate = Gate::default();
    gateway.live.shadow(&candidate, gate, "ops").unwrap();
    begin(&gateway, &candidate, callers(&["bob"]));
    assert_eq!(chat(&gateway, "bob").await, (401, candidate.clone()));
    let report = |gateway: &Gateway| gateway.live.candidate(&candidate).unwrap().shadow;
    let has_seen = |gateway: &Gateway| report(gateway).is_some_and(|report| report.differ > 0);
    gateway.until(has_seen, "difference").await;
    assert_eq!(chat(&gateway, "alice").await.0, 200);
    let has_seen = |gateway: &Gateway| report(gateway).is_some_and(|report| report.decisions > 3);
    gateway.until(has_seen, "further decision").await;
    assert_eq!(report(&gateway).unwrap().differ, 1);
    gateway.stop().await;
}
