//! Responses in the background: polled, cancelled, and counted as any other.

mod streams;

use std::path::PathBuf;

use codex_gateway_tests::gateway::{Gateway, KEY, Setup, script};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::{fake, journal};

fn request(gateway: &Gateway, method: Method, path: &str) -> RequestBuilder {
    let url = format!("{}/v1/responses{path}", gateway.origin);
    gateway.client.request(method, url).bearer_auth(KEY)
}

async fn json_of(request: RequestBuilder) -> (u16, Value) {
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

/// Begins a response in the background, and returns its path and its state.
async fn begin(gateway: &Gateway, acts: Value) -> (String, Value) {
    let body = json!({"input": script(acts), "background": true});
    let (status, begun) = json_of(request(gateway, Method::POST, "").json(&body)).await;
    assert_eq!(status, 200, "{begun}");
    let path = format!("/{}", begun["id"].as_str().unwrap());
    (path, begun)
}

async fn get(gateway: &Gateway, path: &str) -> (u16, Value) {
    json_of(request(gateway, Method::GET, path)).await
}

async fn cancel(gateway: &Gateway, path: &str) -> (u16, Value) {
    let path = format!("{path}/cancel");
    json_of(request(gateway, Method::POST, &path)).await
}

/// Polls until the response has one of these states.
async fn until(gateway: &Gateway, path: &str, states: &[&str]) -> Value {
    let polled = async {
        loop {
            let (status, object) = get(gateway, path).await;
            assert_eq!(status, 200, "{object}");
            if states.iter().any(|state| object["status"] == *state) {
                return object;
            }
            tokio::task::yield_now().await;
        }
    };
    let in_time = tokio::time::timeout(std::time::Duration::from_secs(30), polled).await;
    in_time.unwrap_or_else(|_| panic!("{path} is never {states:?}"))
}

/// A file that the fake waits for after its first delta.
fn gate(gateway: &Gateway) -> PathBuf {
    gateway.home().join("gate")
}

fn lines(path: &std::path::Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_in_the_background_is_polled_until_it_is_completed() {
    // The client has left when the answer is there; its turn goes on all the same.
    let gateway = fake().var("PROXY_KILL_ON_DISCONNECT", "true").start().await;
    let acts = json!({"text": ["Forty-", "two."], "gate": gate(&gateway)});
    let (path, begun) = begin(&gateway, acts).await;
    let state = begun["status"].as_str().unwrap();
    assert!(["queued", "in_progress"].contains(&state), "{begun}");
    assert_eq!(
        (&begun["background"], &begun["usage"]),
        (&json!(true), &Value::Null)
    );
    until(&gateway, &path, &["in_progress"]).await;
    let id = begun["id"].as_str().unwrap();
    let next = json!({"input": "Why?", "previous_response_id": id});
    let (status, _) = json_of(request(&gateway, Method::POST, "").json(&next)).await;
    assert_eq!(status, 400, "it has no end to continue yet");
    let (status, input) = get(&gateway, &format!("{path}/input_items")).await;
    assert_eq!((status, &input["data"][0]["role"]), (200, &json!("user")));

    std::fs::write(gate(&gateway), "").unwrap();
    let ended = until(&gateway, &path, &["completed"]).await;
    assert_eq!(ended["output"][0]["content"][0]["text"], "Forty-two.");
    assert_eq!(ended["usage"]["total_tokens"], 150);
    let (status, same) = cancel(&gateway, &path).await;
    assert_eq!((status, &same), (200, &ended), "it has ended");
    let (status, _) = json_of(request(&gateway, Method::POST, "").json(&next)).await;
    assert_eq!(status, 200, "it is continued as any other");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_response_interrupts_its_turn_and_is_settled() {
    let rule = json!({"name": "at-once", "unit": "concurrent", "limit": 1});
    let rules = json!({"rules": [rule]}).to_string();
    let folder = tempfile::tempdir().unwrap();
    let usage = folder.path().join("usage.ndjson");
    let gateway = fake()
        .var("TOKEN_LOG_PATH", &usage.to_string_lossy())
        .policy("rate-limit.json", rules.as_bytes())
        .start()
        .await;
    for end in ["cancel", "delete"] {
        let acts = json!({"text": ["one ", "two"], "gate": gate(&gateway)});
        let (path, _) = begin(&gateway, acts.clone()).await;
        until(&gateway, &path, &["in_progress"]).await;
        let body = json!({"input": script(acts), "background": true});
        let (status, error) = json_of(request(&gateway, Method::POST, "").json(&body)).await;
        assert_eq!(
            (status, &error["error"]["code"]),
            (429, &json!("concurrency_exceeded"))
        );
        if end == "cancel" {
            for _ in 0..2 {
                let (status, object) = cancel(&gateway, &path).await;
                assert_eq!((status, &object["status"]), (200, &json!("cancelled")));
            }
        } else {
            let (status, _) = json_of(request(&gateway, Method::DELETE, &path)).await;
            assert_eq!(status, 200);
        }
        gateway.idle().await;
        let expected = if end == "cancel" { 200 } else { 404 };
        assert_eq!(get(&gateway, &path).await.0, expected);
        let recorded = |_: &Gateway| lines(&usage).len() == if end == "cancel" { 1 } else { 2 };
        gateway.until(recorded, "usage of the turn").await;
    }
    assert_eq!(journal::count(&gateway, "turn/interrupt"), 2);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_in_the_background_fails_with_its_error() {
    let gateway = fake().start().await;
    let (path, _) = begin(&gateway, json!({"text": ["a", "b"], "exit_after": 1})).await;
    let failed = until(&gateway, &path, &["failed"]).await;
    assert_eq!(failed["error"]["code"], "server_error", "{failed}");
    let next = json!({"input": "Why?", "previous_response_id": failed["id"]});
    let (status, error) = json_of(request(&gateway, Method::POST, "").json(&next)).await;
    assert_eq!(
        (status, &error["error"]["code"]),
        (400, &json!("previous_response_not_found"))
    );
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_response_in_the_background_of_the_caller_is_cancelled() {
    let gateway = Setup::demo().start().await;
    let body = json!({"input": "hi"});
    let (_, done) = json_of(request(&gateway, Method::POST, "").json(&body)).await;
    let (status, error) = cancel(&gateway, &format!("/{}", done["id"].as_str().unwrap())).await;
    assert_eq!(
        (status, &error["error"]["code"]),
        (400, &json!("not_in_background"))
    );
    let body = json!({"input": "hi", "background": true, "store": false});
    let (status, error) = json_of(request(&gateway, Method::POST, "").json(&body)).await;
    assert_eq!((status, &error["error"]["param"]), (400, &json!("store")));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_has_a_bounded_number_of_responses_in_the_background() {
    let gateway = fake().start().await;
    let mut begun = Vec::new();
    let hangs = json!({"hang": true});
    for _ in 0..16 {
        begun.push(begin(&gateway, hangs.clone()).await.0);
    }
    let body = json!({"input": script(hangs), "background": true});
    let (status, error) = json_of(request(&gateway, Method::POST, "").json(&body)).await;
    assert_eq!(
        (status, &error["error"]["code"]),
        (429, &json!("too_many_background_responses"))
    );
    for path in begun {
        assert_eq!(cancel(&gateway, &path).await.1["status"], "cancelled");
    }
    gateway.idle().await;
    let (status, _) =
        json_of(request(&gateway, Method::POST, "").json(&json!({"input": "hi"}))).await;
    assert_eq!(status, 200);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn draining_waits_for_responses_in_the_background() {
    let folder = tempfile::tempdir().unwrap();
    let usage = folder.path().join("usage.ndjson");
    let setup = fake().var("TOKEN_LOG_PATH", &usage.to_string_lossy());
    let gateway = setup.start().await;
    let (gate, origin) = (gate(&gateway), gateway.origin.clone());
    let (path, _) = begin(&gateway, json!({"text": ["one ", "two"], "gate": gate})).await;
    until(&gateway, &path, &["in_progress"]).await;
    let stopping = tokio::spawn(gateway.stop());
    let address = origin.trim_start_matches("http://");
    while tokio::net::TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    std::fs::write(gate, "").unwrap();
    stopping.await.unwrap();
    assert_eq!(lines(&usage)[0]["finish_reason"], "stop");
}
