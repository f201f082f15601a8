//! Timeouts, each with its own code; and clients that must not get the comments that keep a stream open.

use codex_gateway_tests::gateway::{Gateway, QUICK, Setup, say, script, stream};
use codex_gateway_tests::sse::{self, Event, Events};
use serde_json::{Value, json};

use crate::{fake, old_fake};

/// A script that sends nothing until the turn is interrupted.
fn silent() -> String {
    script(json!({"hang": true}))
}

/// A script that sends one delta, and then nothing.
fn halting() -> String {
    script(json!({"text": ["one ", "two"], "gate": "/nowhere/at/all"}))
}

/// The status and code of a request that fails before its answer begins.
async fn refused(gateway: &Gateway, body: &Value) -> (u16, String) {
    let response = gateway.chat(body).send().await.unwrap();
    let status = response.status().as_u16();
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["error"]["type"], "timeout_error", "{body}");
    let code = body["error"]["code"].as_str().unwrap();
    (status, code.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_limit_has_its_own_code_and_leaves_nothing_behind() {
    let (whole, streamed) = (say(&silent()), stream(&silent()));
    let cases = [
        (fake(), "PROXY_TIMEOUT_MS", &whole, "request_timeout"),
        (fake(), "PROXY_TIMEOUT_MS", &streamed, "request_timeout"),
        (
            fake(),
            "PROXY_FIRST_TOKEN_TIMEOUT_MS",
            &whole,
            "first_token_timeout",
        ),
        (
            fake(),
            "PROXY_FIRST_TOKEN_TIMEOUT_MS",
            &streamed,
            "first_token_timeout",
        ),
        (
            fake(),
            "PROXY_STREAM_IDLE_TIMEOUT_MS",
            &streamed,
            "stream_idle_timeout",
        ),
        (fake(), "PROXY_IDLE_TIMEOUT_MS", &whole, "idle_timeout"),
        (
            old_fake(),
            "PROXY_PROTO_IDLE_MS",
            &whole,
            "proto_idle_timeout",
        ),
        (
            old_fake(),
            "PROXY_STREAM_IDLE_TIMEOUT_MS",
            &streamed,
            "stream_idle_timeout",
        ),
    ];
    for (setup, variable, body, code) in cases {
        let gateway = setup.var(variable, "200").start().await;
        let found = refused(&gateway, body).await;
        assert_eq!(found, (504, code.to_owned()), "{variable}: {body}");
        gateway.idle().await;
        gateway.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_falls_silent_ends_with_the_limit_it_met() {
    for (variable, code) in [
        ("PROXY_STREAM_IDLE_TIMEOUT_MS", "stream_idle_timeout"),
        ("PROXY_TIMEOUT_MS", "request_timeout"),
    ] {
        let gateway = fake().var(variable, "2000").start().await;
        let response = gateway.chat(&stream(&halting())).send().await.unwrap();
        assert_eq!(response.status(), 200);
        let events = Events::of(response).rest().await;
        assert_eq!(sse::text(&events), "one ");
        assert_eq!(sse::error(&events).expect("an error")["code"], code);
        assert!(!events.contains(&Event::Done), "it is not complete");
        gateway.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_has_begun_may_take_longer_than_beginning() {
    let gateway = Setup::demo()
        .var("PROXY_FIRST_TOKEN_TIMEOUT_MS", "1000")
        .start()
        .await;
    // The pauses of the script alone are longer than a second.
    let slow = r#"{"demo":{"deltas":24,"text":"x","delay_ms":50}}"#;
    let response = gateway.chat(&say(slow)).send().await.unwrap();
    let answer: Value = response.json().await.unwrap();
    assert_eq!(answer["choices"][0]["message"]["content"], "x".repeat(24));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_cannot_read_comments_gets_none() {
    let gateway = Setup::demo()
        .var("PROXY_SSE_KEEPALIVE_MS", "20")
        .start()
        .await;
    let slow = r#"{"demo":{"deltas":2,"text":"x","delay_ms":200}}"#;
    let plain = gateway.chat(&stream(slow));
    let asked = gateway.chat(&stream(slow)).header("x-no-keepalive", "1");
    let app = gateway
        .chat(&stream(slow))
        .header("user-agent", "Mozilla/5.0 obsidian/1.8.7 Electron/33.2");
    for (request, comments) in [(plain, true), (asked, false), (app, false)] {
        let events = Events::of(request.send().await.unwrap()).rest().await;
        let is_comment = |event: &Event| matches!(event, Event::Comment(_));
        assert_eq!(events.iter().any(is_comment), comments, "{events:?}");
        assert_eq!(sse::text(&events), "xx");
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_answers_are_refused_before_anybody_is_asked_for_a_model() {
    let gateway = Setup::demo().start().await;
    let mut body = say(QUICK);
    body["n"] = json!(6);
    body["model"] = json!("gpt-nope");
    let response = gateway.chat(&body).send().await.unwrap();
    assert_eq!(response.status(), 400);
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["error"]["param"], "n");
    gateway.stop().await;
}
