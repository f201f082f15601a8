//! All failures of the model provider behind the real Codex, before and within an answer: the client gets the right status
//! or error object, and no internal details.

use codex_gateway_tests::gateway::Gateway;
use codex_gateway_tests::real::{real, script, set_up, upstream_failures, whole};
use codex_gateway_tests::sse::{self, Event, Events, error, finishes};
use serde_json::{Value, json};

async fn setup() -> (
    codex_gateway_tests::gateway::Setup,
    codex_gateway_tests::provider::Provider,
) {
    set_up("TEST_CODEX_BIN", "gpt-5.4").await
}

/// Asserts that an error has no internal details.
fn assert_discreet(body: &Value) {
    let words = body.to_string();
    for secret in [
        "127.0.0.1",
        "http://",
        "/tmp/",
        "sk-provider-test",
        "request id",
    ] {
        assert!(!words.contains(secret), "{secret} in {words}");
    }
}

/// Asserts that answer and stream both fail with this status and code, before any content was sent.
pub(super) async fn assert_refused(gateway: &Gateway, answer: &Value, status: u16, code: &str) {
    for stream in [false, true] {
        let request = gateway.chat(&script(answer.clone(), stream));
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), status, "{answer}, stream {stream}");
        let body: Value = response.json().await.unwrap();
        assert_eq!(body["error"]["code"], code, "{answer}: {body}");
        assert_discreet(&body);
    }
}

/// Asserts the same failure after text: the stream has the text, then the error, and no end; the answer in one piece is
/// only the error. `codes` are those of the stream and of the answer.
pub(super) async fn assert_broken_off(
    gateway: &Gateway,
    answer: &Value,
    status: u16,
    codes: [&str; 2],
) {
    let [streamed, code] = codes;
    let response = gateway.chat(&script(answer.clone(), true)).send().await;
    let response = response.unwrap();
    assert_eq!(response.status(), 200, "{answer}");
    let events = Events::of(response).rest().await;
    assert_eq!(sse::text(&events), "some text ", "{answer}");
    let error = error(&events).expect("an error frame");
    assert_eq!(error["code"], streamed, "{answer}: {error}");
    assert_discreet(error);
    assert!(finishes(&events).is_empty() && !events.contains(&Event::Done));
    let (told, body) = whole(gateway, answer.clone()).await;
    assert_eq!(
        (told, &body["error"]["code"]),
        (status, &json!(code)),
        "{body}"
    );
    assert_discreet(&body);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex"]
async fn every_refusal_of_the_provider_has_its_status() {
    let (gateway, provider) = real().await;
    let refusal = |status: u16, code: &str| {
        let error = json!({"message": "said the provider", "type": "t", "code": code});
        json!({"status": status, "body": {"error": error}})
    };
    let limit =
        json!({"message": "The usage limit has been reached", "type": "usage_limit_reached"});
    let more = [
        (refusal(403, "forbidden"), 503, "backend_unauthorized"),
        (refusal(404, "not_found"), 502, "upstream_error"),
        // Of these Codex passes on the message only.
        (refusal(413, "too_large"), 413, "invalid_request_error"),
        (refusal(422, "odd"), 422, "invalid_request_error"),
        (refusal(502, "bad_gateway"), 503, "overloaded"),
        (refusal(503, "unavailable"), 503, "overloaded"),
        (refusal(529, "overloaded"), 503, "overloaded"),
        (
            json!({"status": 429, "body": {"error": limit}}),
            429,
            "insufficient_quota",
        ),
        (
            json!({"status": 400, "body": "no JSON object"}),
            400,
            "invalid_request_error",
        ),
        (json!({"status": 500, "body": null}), 502, "upstream_error"),
    ];
    for (answer, status, code) in upstream_failures().into_iter().chain(more) {
        let asked = provider.requests().len();
        assert_refused(&gateway, &answer, status, code).await;
        assert_eq!(
            provider.requests().len(),
            asked + 2,
            "nothing was tried again: {answer}"
        );
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex"]
async fn every_failure_of_an_answer_has_its_code_before_and_after_text() {
    let (gateway, _provider) = real().await;
    let table = [
        (
            "failed",
            json!("context_length_exceeded"),
            400,
            "context_length_exceeded",
        ),
        (
            "failed",
            json!("insufficient_quota"),
            429,
            "insufficient_quota",
        ),
        (
            "failed",
            json!("rate_limit_exceeded"),
            429,
            "rate_limit_exceeded",
        ),
        ("failed", json!("server_is_overloaded"), 503, "overloaded"),
        (
            "failed",
            json!("invalid_prompt"),
            400,
            "invalid_request_error",
        ),
        (
            "failed",
            json!("cyber_policy"),
            400,
            "content_policy_violation",
        ),
        ("failed", json!("server_error"), 502, "upstream_error"),
        ("failed", json!("never_heard_of"), 502, "upstream_error"),
        ("error", json!("server_error"), 502, "upstream_error"),
        ("unfinished", json!(true), 502, "upstream_error"),
    ];
    for (member, how, status, code) in table {
        let mut answer = json!({"text": []});
        answer[member] = how;
        assert_refused(&gateway, &answer, status, code).await;
        answer["text"] = json!(["some ", "text "]);
        assert_broken_off(&gateway, &answer, status, [code; 2]).await;
    }
    let cut = json!({"text": ["some ", "text ", "and more"], "cut": 2});
    assert_broken_off(&gateway, &cut, 502, ["upstream_error"; 2]).await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex"]
async fn a_response_that_breaks_off_after_a_call_ends_as_what_it_is() {
    let (gateway, provider) = real().await;
    let function = json!({"name": "f", "parameters": {"type": "object"}});
    let ended = |how: Value, stream: bool| {
        let mut answer = json!({"calls": [{"name": "f", "arguments": "{}"}]});
        let members = how.as_object().unwrap().clone();
        answer.as_object_mut().unwrap().extend(members);
        let mut body = script(answer, stream);
        body["tools"] = json!([{"type": "function", "function": function}]);
        gateway.chat(&body).send()
    };
    let asked = provider.requests().len();
    let failures = [
        (json!({"unfinished": true}), 502, "upstream_error"),
        (json!({"failed": "server_error"}), 502, "upstream_error"),
        (
            json!({"failed": "rate_limit_exceeded"}),
            429,
            "rate_limit_exceeded",
        ),
    ];
    for (how, status, code) in failures {
        let whole = ended(how.clone(), false).await.unwrap();
        assert_eq!(whole.status(), status, "{how}");
        let body: Value = whole.json().await.unwrap();
        assert_eq!(body["error"]["code"], code, "{how}");
        let events = Events::of(ended(how.clone(), true).await.unwrap());
        let events = events.rest().await;
        assert_eq!(error(&events).expect("an error")["code"], code, "{how}");
        assert!(finishes(&events).is_empty(), "{how}");
    }
    for (reason, finish) in [
        ("max_output_tokens", "length"),
        ("content_filter", "content_filter"),
    ] {
        let how = json!({"incomplete": reason});
        let whole = ended(how.clone(), false).await.unwrap();
        let body: Value = whole.json().await.unwrap();
        assert_eq!(body["choices"][0]["finish_reason"], finish, "{body}");
        let events = Events::of(ended(how, true).await.unwrap()).rest().await;
        assert_eq!(finishes(&events), [finish]);
    }
    assert_eq!(
        provider.requests().len(),
        asked + 10,
        "nothing was tried again, or answered for the client"
    );
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex"]
async fn what_the_provider_says_of_a_request_is_the_clients_whatever_it_mentions() {
    let (gateway, _provider) = real().await;
    let said = "Invalid prompt: flagged. Failed to log in? Get an access token for your sandbox at \
        https://provider.example/login.";
    let error = json!({"message": said, "type": "invalid_request_error", "code": "invalid_prompt"});
    for answer in [
        json!({"text": [], "failed": "invalid_prompt", "message": said}),
        json!({"status": 400, "body": {"error": error}}),
        json!({"status": 400, "body": said}),
    ] {
        assert_refused(&gateway, &answer, 400, "invalid_request_error").await;
        let (_, body) = whole(&gateway, answer.clone()).await;
        let told = body["error"]["message"].as_str().unwrap();
        assert!(told.contains(said), "{answer}: {body}");
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex"]
async fn a_provider_that_falls_silent_is_given_up_by_us_or_by_codex() {
    let silent = json!({"text": ["never"], "stall": 0});
    let stalled = json!({"text": ["some ", "text ", "and more"], "stall": 2});
    // A timeout of the gateway: Codex has no limit before the first event.
    let (setup, provider) = setup().await;
    let gateway = setup
        .var("PROXY_FIRST_TOKEN_TIMEOUT_MS", "400")
        .start()
        .await;
    assert_refused(&gateway, &silent, 504, "first_token_timeout").await;
    provider.wait_for(|counts| counts.abandoned == 2).await;
    gateway.stop().await;

    let (setup, provider) = self::setup().await;
    let gateway = setup
        .var("PROXY_STREAM_IDLE_TIMEOUT_MS", "3000")
        .var("PROXY_IDLE_TIMEOUT_MS", "3000")
        .start()
        .await;
    let codes = ["stream_idle_timeout", "idle_timeout"];
    assert_broken_off(&gateway, &stalled, 504, codes).await;
    provider.wait_for(|counts| counts.abandoned == 2).await;
    gateway.idle().await;
    assert_eq!(whole(&gateway, json!({})).await.0, 200);
    gateway.stop().await;

    // A timeout of Codex, between two events.
    let (setup, _provider) = self::setup().await;
    let config = setup.home().join("config.toml");
    let text = std::fs::read_to_string(&config).unwrap() + "stream_idle_timeout_ms = 500\n";
    std::fs::write(config, text).unwrap();
    let gateway = setup.start().await;
    assert_refused(&gateway, &silent, 502, "upstream_error").await;
    assert_broken_off(&gateway, &stalled, 502, ["upstream_error"; 2]).await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex"]
async fn a_provider_that_is_not_there_or_not_paid_is_told_at_once() {
    let (setup, provider) = setup().await;
    let gateway = setup.start().await;
    assert_eq!(whole(&gateway, json!({})).await.0, 200);
    drop(provider);
    gateway.idle().await;
    assert_refused(&gateway, &json!({}), 502, "upstream_error").await;
    gateway.stop().await;

    let (setup, provider) = self::setup().await;
    let gateway = setup
        .without(codex_gateway_tests::provider::KEY_VARIABLE)
        .start()
        .await;
    assert_refused(&gateway, &json!({}), 503, "backend_unauthorized").await;
    assert!(provider.requests().is_empty());
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex"]
async fn a_string_that_is_too_long_is_told_with_its_member() {
    let (gateway, _provider) = real().await;
    let refusal = |param: &str| {
        let code = "string_above_max_length";
        let error = json!({"message": "too long", "type": "t", "code": code, "param": param});
        json!({"status": 400, "body": {"error": error}})
    };
    for (param, code, chats) in [
        (
            "input[0].content[0].text",
            "context_length_exceeded",
            "messages",
        ),
        ("input[2].call_id", "string_above_max_length", "messages"),
        ("tools[0].name", "string_above_max_length", "tools[0].name"),
    ] {
        let (status, body) = whole(&gateway, refusal(param)).await;
        let found = (status, &body["error"]["code"], &body["error"]["param"]);
        assert_eq!(found, (400, &json!(code), &json!(chats)), "{body}");
    }
    gateway.stop().await;
}
