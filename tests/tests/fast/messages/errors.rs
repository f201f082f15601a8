//! Errors of messages, in Anthropic's form.

use codex_gateway_tests::gateway::{Gateway, KEY, QUICK, Setup, script};
use reqwest::Response;
use serde_json::{Value, json};

use super::{VERSION, json_of, messages, post, say};
use crate::fake;

/// Asserts that an answer is an error in Anthropic's form.
async fn assert_error(response: Response, status: u16, kind: &str) -> String {
    assert_eq!(response.status(), status);
    let id = response.headers()["request-id"]
        .to_str()
        .unwrap()
        .to_owned();
    let body: Value = response.json().await.unwrap();
    let message = body["error"]["message"].clone();
    let expected =
        json!({"type": "error", "error": {"type": kind, "message": message}, "request_id": id});
    assert_eq!(body, expected);
    message.as_str().unwrap().to_owned()
}

/// Asserts what becomes of each request: its status, the type of the error, and a word of its message.
async fn assert_errors(gateway: &Gateway, cases: Vec<(Value, u16, &str, &str)>) {
    for (body, status, kind, says) in cases {
        let response = messages(gateway, &body).send().await.unwrap();
        let message = assert_error(response, status, kind).await;
        assert!(message.contains(says), "{message}");
    }
    gateway.idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_requests_have_errors_of_anthropics_form() {
    let gateway = fake()
        .var("PROXY_MAX_BODY_BYTES", "4096")
        .var("PROXY_MAX_PROMPT_TOKENS", "300")
        .start()
        .await;
    let with = |member: &str, value: Value| {
        let mut body = say("hi");
        body[member] = value;
        body
    };
    let content = json!([{"role": "user", "content": 1}]);
    let effort = json!({"effort": "enormous"});
    let claude = "claude-sonnet-4-5";
    let (long, huge) = (say(&"x".repeat(2000)), say(&"x".repeat(5000)));
    let invalid = "invalid_request_error";
    let cases = vec![
        (json!({}), 400, invalid, "messages"),
        (
            with("messages", content),
            400,
            invalid,
            "messages[0].content",
        ),
        (
            with("output_config", effort),
            400,
            invalid,
            "output_config.effort",
        ),
        (with("model", json!(claude)), 404, "not_found_error", claude),
        (huge, 413, "request_too_large", "4096"),
        (long, 400, invalid, "prompt is too long"),
    ];
    assert_errors(&gateway, cases).await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prompt_that_the_provider_finds_too_long_says_so_in_anthropics_words() {
    let gateway = fake().start().await;
    let error = json!({"message": "no", "codexErrorInfo": "contextWindowExceeded"});
    let full = say(&script(json!({"text": [], "error": error})));
    let response = messages(&gateway, &full).send().await.unwrap();
    let message = assert_error(response, 400, "invalid_request_error").await;
    assert!(message.starts_with("prompt is too long"), "{message}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_before_the_endpoint_have_anthropics_form_too() {
    let gateway = Setup::demo().start().await;
    let url = |path: &str| format!("{}{path}", gateway.origin);
    let client = &gateway.client;
    let body = say(QUICK);
    let stranger = client.post(url("/v1/messages")).header("x-api-key", "sk-x");
    let response = stranger.json(&body).send().await.unwrap();
    assert!(response.headers().contains_key("www-authenticate"));
    assert_error(response, 401, "authentication_error").await;
    let nobody = client.post(url("/v1/messages/count_tokens")).json(&body);
    assert_error(nobody.send().await.unwrap(), 401, "authentication_error").await;
    let get = client.get(url("/v1/messages")).header("x-api-key", KEY);
    assert_error(get.send().await.unwrap(), 405, "invalid_request_error").await;
    let batches = post(&gateway, "/v1/messages/batches", &body);
    assert_error(batches.send().await.unwrap(), 404, "not_found_error").await;
    let elsewhere = post(&gateway, "/api/v1/messages", &body);
    let message = assert_error(elsewhere.send().await.unwrap(), 404, "not_found_error").await;
    assert!(message.contains("has no /v1"), "{message}");
    let twice = post(&gateway, "/v1/v1/messages", &json!({}));
    assert_error(twice.send().await.unwrap(), 400, "invalid_request_error").await;
    let model = client.get(url("/v1/models/none"));
    let model = model
        .header("x-api-key", KEY)
        .header("anthropic-version", VERSION);
    assert_error(model.send().await.unwrap(), 404, "not_found_error").await;
    // Other clients get what they know.
    let (_, error) = json_of(
        gateway
            .chat(&json!({}))
            .header("anthropic-version", VERSION),
    )
    .await;
    assert!(error["error"]["code"].is_string(), "{error}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_at_another_base_url_have_anthropics_form_without_its_header() {
    for (aliases, status, kind) in [
        ("true", 400, "invalid_request_error"),
        ("false", 404, "not_found_error"),
    ] {
        let setup = Setup::demo().var("PROXY_URL_ALIASES", aliases);
        let gateway = setup.start().await;
        let ask = async |path: &str| {
            let url = format!("{}{path}", gateway.origin);
            let request = gateway.client.post(url).header("x-api-key", KEY);
            request.json(&json!({})).send().await.unwrap()
        };
        for base in ["", "/v1/v1", "/v1//", "/openai/v1"] {
            let path = format!("{base}/messages");
            assert_error(ask(&path).await, status, kind).await;
            let batches = ask(&format!("{path}/batches")).await;
            let message = assert_error(batches, 404, "not_found_error").await;
            assert!(message.contains("Anthropic has operations"), "{message}");
        }
        // Slashes at the beginning are taken off before any route.
        assert_error(ask("//v1/messages").await, 400, "invalid_request_error").await;
        let batches = ask("//v1/messages/batches").await;
        assert_error(batches, 404, "not_found_error").await;
        // A path that only begins alike is of no API.
        let error: Value = ask("/v1/messagesque").await.json().await.unwrap();
        assert_eq!(error["error"]["code"], "unknown_url");
        gateway.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn counting_tokens_is_charged_to_no_limit() {
    let rules = json!({"rules": [{"name": "one", "unit": "requests", "limit": 1, "window_ms": 86_400_000}]});
    let setup = Setup::demo().policy("rate-limit.json", rules.to_string().as_bytes());
    let gateway = setup.start().await;
    for _ in 0..2 {
        let counted = post(&gateway, "/v1/messages/count_tokens", &say("four"));
        assert_eq!(json_of(counted).await, (200, json!({"input_tokens": 1})));
    }
    let first = messages(&gateway, &say(QUICK)).send().await.unwrap();
    assert_eq!(first.status(), 200);
    assert_eq!(first.headers()["x-ratelimit-remaining-requests"], "0");
    gateway.stop().await;
}
