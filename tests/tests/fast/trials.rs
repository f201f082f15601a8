//! Trials of candidates beside further uploads, and what they may cost and tell.

use std::sync::Arc;

use codex_gateway::policy::{Canary, Gate, Live, Slot, SlotFiles};
use codex_gateway::secret::fingerprint;
use codex_gateway_tests::gateway::{Gateway, Setup};
use codex_gateway_tests::guests::EVERY;
use serde_json::{Value, json};

type Files = [SlotFiles; Slot::COUNT];

/// Auth settings in which each caller's key is its name.
fn keys(callers: &[&str]) -> String {
    let key = |id: &&str| json!({"id": id, "sha256": fingerprint(id.as_bytes())});
    json!({"keys": callers.iter().map(key).collect::<Vec<_>>()}).to_string()
}

fn settings(slot: Slot, text: &str) -> Files {
    let mut files = Files::default();
    files[slot as usize].settings = Some(text.as_bytes().into());
    files
}

/// A candidate with another owner of its models.
fn owned_by(name: &str) -> Files {
    settings(Slot::Model, &json!({"owned_by": name}).to_string())
}

async fn offer(live: &Arc<Live>, files: Files) -> String {
    let candidate = live.offer(files, "ops").await.unwrap();
    candidate.digest.to_string()
}

async fn models(gateway: &Gateway) -> reqwest::Response {
    let url = format!("{}/v1/models?api_key=sk-in-the-query", gateway.origin);
    let request = gateway.client.get(url).bearer_auth("alice");
    let request = request.header("x-request-id", "asked");
    let answer = request.header("x-api-key", "sk-in-a-header").send().await;
    answer.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trial_outlasts_further_uploads() {
    let setup = Setup::demo().policy("auth.json", keys(&["alice"]).as_bytes());
    let gateway = setup.start().await;
    let live = &gateway.live;
    let shadow = offer(live, owned_by("shadow")).await;
    live.shadow(&shadow, Gate::default(), "ops").unwrap();
    let canary = offer(live, owned_by("canary")).await;
    let who = Canary {
        callers: vec!["alice".to_owned()],
        ..Canary::default()
    };
    live.canary(&canary, who.clone(), "ops").unwrap();
    let third = offer(live, owned_by("third")).await;
    // The same files again.
    for name in ["shadow", "canary"] {
        offer(live, owned_by(name)).await;
    }
    let mut lives = live.lives();
    for number in 0..6 {
        offer(live, owned_by(&number.to_string())).await;
    }
    assert_eq!(live.candidates().len(), 8);
    assert_eq!(live.candidate(&shadow).unwrap().stage, "shadow");
    let policy = models(&gateway).await.headers()["x-codex-policy"].clone();
    assert_eq!(policy, canary[..12]);
    // The oldest of the others made room, and whoever watches sees it.
    assert!(live.candidate(&third).is_err());
    let mut dropped = Vec::new();
    while let Ok(life) = lives.try_recv() {
        if let Some(why) = life.why {
            dropped.push((life.digest.to_string(), why));
        }
    }
    let why = "there are too many candidates".to_owned();
    assert_eq!(dropped, [(third, why)]);
    gateway.stop().await;
}

/// A gate is about the policy that changed: a thousand decisions of the others say nothing about it.
#[tokio::test(flavor = "multi_thread")]
async fn a_gate_counts_what_the_candidate_decided() {
    let setup = Setup::demo().policy("auth.json", keys(&["alice"]).as_bytes());
    let gateway = setup.start().await;
    let candidate = settings(Slot::ToolStop, r#"{"mode": "first"}"#);
    let digest = offer(&gateway.live, candidate).await;
    let gate = Gate {
        duration: std::time::Duration::from_millis(300),
        min_decisions: 1,
        promote: true,
        ..Gate::default()
    };
    gateway.live.shadow(&digest, gate, "ops").unwrap();
    for _ in 0..5 {
        assert_eq!(models(&gateway).await.status(), 200);
    }
    let is_over = |gateway: &Gateway| gateway.live.candidate(&digest).unwrap().stage != "shadow";
    gateway.until(is_over, "end of the shadow").await;
    let candidate = gateway.live.candidate(&digest).unwrap();
    let why = "0 decisions seen (at least 1)".to_owned();
    assert_eq!((candidate.stage, candidate.why), ("unseen", Some(why)));
    let report = candidate.shadow.unwrap();
    assert!(report.decisions > 0 && report.asked == 0, "{report:?}");
    gateway.stop().await;
}

/// A policy may need every header; an operator who may only look must not find keys in its explanations.
#[tokio::test(flavor = "multi_thread")]
async fn neither_reports_nor_explanations_have_secrets_of_clients() {
    let setup = Setup::demo()
        .policy("auth.wasm", EVERY)
        .policy("auth.json", b"{}");
    let gateway = setup.start().await;
    assert_eq!(models(&gateway).await.status(), 200);
    let verify = gateway.client.get(format!("{}/verify", gateway.origin));
    let verify = verify
        .header("x-forwarded-method", "GET")
        .header("x-forwarded-host", "app.example");
    let verify = verify.header("x-forwarded-uri", "/?token=sk-in-the-uri");
    let verify = verify
        .header("x-hostile", "grants x-auth-token")
        .header("x-request-id", "asked");
    assert_eq!(
        verify.bearer_auth("alice").send().await.unwrap().status(),
        200
    );
    let told = serde_json::to_value(gateway.live.explain("asked")).unwrap();
    let questions: Vec<_> = told
        .as_array()
        .unwrap()
        .iter()
        .map(|request| &request["decisions"][0]["question"])
        .collect();
    assert_eq!(questions, ["verify", "authenticate"], "{told}");
    let mut other = settings(Slot::Auth, r#"{"needs": []}"#);
    other[Slot::Auth as usize].component = Some(EVERY.into());
    let candidate = gateway.live.offer(other, "ops").await.unwrap();
    let report = serde_json::to_value(&candidate).unwrap();
    let from = &report["replayed"]["differences"][0]["from"];
    assert!(
        from.as_str().unwrap().contains("with x-auth-token: "),
        "{report:#}"
    );
    for told in [told, report] {
        assert!(!has_secret(&told), "{told:#}");
    }
    gateway.stop().await;
}

fn has_secret(told: &Value) -> bool {
    let text = told.to_string();
    ["sk-in-", "x-auth-token: 3", "\"x-auth-token\",\"3\""]
        .iter()
        .any(|secret| text.contains(secret))
}
