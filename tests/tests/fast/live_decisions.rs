//! Decisions as operators see them when they are made: what is shown of each, which ones, and to whom.

use codex_gateway_tests::gateway::{Gateway, QUICK, Setup, say};
use codex_gateway_tests::sse::{Event, Events};
use reqwest::Method;
use serde_json::{Value, json};

use crate::admin::{TOKEN, operated};
use codex_gateway_tests::operator::{answer, keys};

/// A gateway with bob, who may call once.
fn bobs() -> Setup {
    let rule = json!({"name": "once", "unit": "requests", "limit": 1, "window_ms": 2_678_400_000_u64, "per": "caller"});
    operated()
        .policy("auth.json", keys(&["bob"]).as_bytes())
        .policy(
            "rate-limit.json",
            json!({"rules": [rule]}).to_string().as_bytes(),
        )
}

/// The decisions from now on.
async fn watch(gateway: &Gateway, query: &str) -> Events {
    let request = gateway.operate(Method::GET, &format!("decisions?{query}"), TOKEN);
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut events = Events::of(response);
    let begun = events.next().await.unwrap();
    assert_eq!(begun, Event::Comment("decisions from now on".to_owned()));
    events
}

async fn next(events: &mut Events) -> Value {
    loop {
        if let Event::Data(made) = events.next().await.unwrap() {
            return made;
        }
    }
}

async fn chat(gateway: &Gateway, key: &str, id: &str) -> u16 {
    let url = format!("{}/v1/chat/completions", gateway.origin);
    let request = gateway.client.post(url).bearer_auth(key);
    let request = request.header("x-request-id", id).json(&say(QUICK));
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    response.bytes().await.unwrap();
    status
}

#[tokio::test(flavor = "multi_thread")]
async fn decisions_are_seen_as_they_are_made_without_secrets_and_content() {
    let gateway = bobs().start().await;
    let mut all = watch(&gateway, "").await;
    let mut refused = watch(&gateway, "refused=true").await;
    let mut limits = watch(&gateway, "caller=bob&slot=rate-limit&share=1.0").await;
    assert_eq!(chat(&gateway, "bob", "one").await, 200);
    assert_eq!(chat(&gateway, "bob", "two").await, 429);
    assert_eq!(chat(&gateway, "sk-stranger", "three").await, 401);
    let mut seen = Vec::new();
    for _ in 0..9 {
        let made = next(&mut all).await;
        let text = made.to_string();
        for secret in [
            "sk-stranger",
            "demo",
            &codex_gateway::secret::fingerprint(b"bob"),
        ] {
            assert!(!text.contains(secret), "{secret}: {text}");
        }
        assert_eq!(made["policy"], gateway.live.current().digest().short());
        assert!(
            made["took_us"].is_u64() && made["from_memo"].is_boolean(),
            "{text}"
        );
        let told = ["request", "question", "outcome", "caller"]
            .map(|name| made[name].as_str().unwrap_or("-").to_owned());
        seen.push(told.join(" "));
    }
    assert_eq!(
        seen,
        [
            "one authenticate answered bob",
            "one resolve answered bob",
            "one quotas answered bob",
            "one admit answered bob",
            "two authenticate answered bob",
            "two resolve answered bob",
            "two quotas answered bob",
            "two admit denied bob",
            "three authenticate denied -",
        ]
    );
    let limited = next(&mut refused).await;
    for (name, expected) in [
        ("slot", json!("rate-limit")),
        ("status", json!(429)),
        ("code", json!("rate_limited")),
        ("rules", json!(["once"])),
        ("model", json!("codex-5")),
    ] {
        assert_eq!(limited[name], expected, "{name}: {limited}");
    }
    assert_eq!(next(&mut refused).await["code"], "invalid_api_key");
    for expected in ["quotas", "admit", "quotas", "admit"] {
        assert_eq!(next(&mut limits).await["question"], expected);
    }
    // The streams do not hold up a drain.
    gateway.begin_stop();
    for events in [&mut all, &mut refused, &mut limits] {
        while events.next().await.is_some() {}
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_to_show_of_the_decisions_is_said_rightly_or_refused() {
    let gateway = bobs().start().await;
    for (query, param) in [
        ("share=0", "share"),
        ("share=1.01", "share"),
        ("share=NaN", "share"),
        ("slot=auht", "slot"),
        ("refused=1", "refused"),
    ] {
        let path = format!("decisions?{query}");
        let (status, told) = answer(gateway.operate(Method::GET, &path, TOKEN)).await;
        assert_eq!(
            (status, &told["error"]["param"]),
            (400, &json!(param)),
            "{query}"
        );
    }
    gateway.stop().await;
}
