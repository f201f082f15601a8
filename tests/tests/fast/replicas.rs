//! Several gateways for the same clients: what each has for itself, and what any of them can answer.

use codex_gateway_tests::gateway::{Gateway, KEY, QUICK, Setup, say};
use reqwest::Method;
use serde_json::{Value, json};

async fn replica() -> Gateway {
    let rule = json!({"name": "two", "unit": "requests", "limit": 2, "window_ms": 86_400_000});
    let rules = json!({ "rules": [rule] }).to_string();
    let setup = Setup::demo().policy("rate-limit.json", rules.as_bytes());
    setup.start().await
}

async fn ask(gateway: &Gateway, method: Method, path: &str, body: &Value) -> (u16, Value) {
    let url = format!("{}{path}", gateway.origin);
    let request = gateway.client.request(method, url).bearer_auth(KEY);
    let request = match body.is_null() {
        true => request,
        false => request.json(body),
    };
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    (status, answer.json().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_is_continued_only_where_it_was_made() {
    let [one, other] = [replica().await, replica().await];
    let (status, made) = ask(
        &one,
        Method::POST,
        "/v1/responses",
        &json!({"input": QUICK}),
    )
    .await;
    assert_eq!(status, 200, "{made}");
    let id = made["id"].as_str().unwrap();
    let next = json!({"input": QUICK, "previous_response_id": id});
    let (status, refused) = ask(&other, Method::POST, "/v1/responses", &next).await;
    assert_eq!(
        (status, &refused["error"]["code"]),
        (400, &json!("previous_response_not_found"))
    );
    let path = format!("/v1/responses/{id}");
    for (gateway, expected) in [(&other, 404), (&one, 200)] {
        let (status, _) = ask(gateway, Method::GET, &path, &Value::Null).await;
        assert_eq!(status, expected);
    }
    let (status, _) = ask(&one, Method::POST, "/v1/responses", &next).await;
    assert_eq!(status, 200);
    one.stop().await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_gateway_counts_limits_for_itself() {
    let replicas = [replica().await, replica().await];
    for gateway in &replicas {
        for expected in [200, 200, 429] {
            let answer = gateway.chat(&say(QUICK)).send().await.unwrap();
            assert_eq!(answer.status(), expected);
        }
    }
    for gateway in replicas {
        gateway.stop().await;
    }
}
