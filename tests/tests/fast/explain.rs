//! A request is explained from memory: the policies that were asked, what they saw of it, and what they answered.

use codex_gateway::secret::fingerprint;
use codex_gateway_tests::gateway::{Gateway, KEY, QUICK, Setup, say};
use serde_json::json;

async fn chat(gateway: &Gateway, id: &str) -> u16 {
    let url = format!("{}/v1/chat/completions", gateway.origin);
    let request = gateway.client.post(url).bearer_auth("alice");
    let mut body = say(QUICK);
    body["model"] = json!("codex-5");
    let request = request.header("x-request-id", id).json(&body);
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    response.bytes().await.unwrap();
    status
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_explained_from_memory() {
    let keys = json!({"keys": [{"id": "alice", "sha256": fingerprint(b"alice")}]});
    let setup = Setup::demo()
        .policy("auth.json", keys.to_string().as_bytes())
        .policy(
            "rate-limit.json",
            br#"{"rules": [{"name": "few", "unit": "requests", "limit": 1, "window_ms": 3600000}]}"#,
        );
    let gateway = setup.start().await;
    for expected in [200, 429] {
        assert_eq!(chat(&gateway, "first").await, expected);
    }
    assert_eq!(chat(&gateway, "why-me").await, 429);
    let found = gateway.live.explain("why-me");
    assert_eq!(found.len(), 1);
    let told = serde_json::to_value(&found[0]).unwrap();
    assert_eq!(
        told["policy"],
        json!(gateway.live.current().digest().short())
    );
    let decisions = told["decisions"].as_array().unwrap();
    let names: Vec<_> = decisions
        .iter()
        .map(|made| made["question"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        ["authenticate", "resolve", "quotas", "admit"],
        "{told}"
    );
    assert_eq!(decisions[0]["outcome"], "caller alice");
    let seen = decisions[0]["input"].as_object().unwrap();
    let seen: Vec<_> = seen.keys().collect();
    assert_eq!(seen, ["credential", "method"], "as it declared: {told}");
    let last = &decisions[3];
    assert_eq!(last["outcome"], "denied 429 rate_limited by few");
    let bucket = &last["input"]["statuses"][0];
    assert_eq!(
        (&bucket["name"], &bucket["granted"]),
        (&json!("few"), &json!(false))
    );
    assert!(gateway.live.explain("another").is_empty());
    let text = told.to_string();
    assert!(
        !text.contains("\"secret\":\"") && !text.contains("Bearer alice"),
        "{text}"
    );
    gateway.stop().await;
}

/// Clients choose ids, and may send the same one for ever.
#[tokio::test(flavor = "multi_thread")]
async fn of_requests_with_one_id_the_last_ones_are_explained() {
    let gateway = Setup::demo().start().await;
    for number in 0..20 {
        let url = format!("{}/v1/models?number={number}", gateway.origin);
        let request = gateway.client.get(url).bearer_auth(KEY);
        let request = request.header("x-request-id", "same");
        assert_eq!(request.send().await.unwrap().status(), 200);
    }
    assert_eq!(gateway.live.explain("same").len(), 16);
    gateway.stop().await;
}
