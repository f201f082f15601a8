//! Reports and explanations have no secrets of clients.

use codex_gateway::policy::{Slot, SlotFiles};
use codex_gateway_tests::gateway::{Gateway, Setup};
use codex_gateway_tests::guests::EVERY;
use serde_json::Value;

type Files = [SlotFiles; Slot::COUNT];

fn settings(slot: Slot, text: &str) -> Files {
    let mut files = Files::default();
    files[slot as usize].settings = Some(text.as_bytes().into());
    files
}

async fn models(gateway: &Gateway) -> reqwest::Response {
    let url = format!("{}/v1/models?api_key=sk-in-the-query", gateway.origin);
    let request = gateway.client.get(url).bearer_auth("alice");
    let request = request.header("x-request-id", "asked");
    let answer = request.header("x-api-key", "sk-in-a-header").send().await;
    answer.unwrap()
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
    let candidate = gateway.live.offer(other, None, "ops").await.unwrap();
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
