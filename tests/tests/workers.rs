//! Several Codex children: who waits, who is sent away, and how one child relieves another.

use codex_gateway::codex::Status;
use codex_gateway_tests::gateway::{Gateway, Setup, say, stream};
use codex_gateway_tests::real;
use codex_gateway_tests::sse::{Events, finishes};
use futures_util::future::select_all;
use futures_util::stream::{self as streams, StreamExt};
use serde_json::json;

fn fake() -> Setup {
    Setup::codex(env!("CARGO_BIN_EXE_fake-codex"))
}

/// A stream that goes on until its reader leaves.
async fn endless(gateway: &Gateway) -> Events {
    let endless = json!({"fake": {"text": ["x"], "repeat": 1_000_000, "delay_ms": 5}});
    let response = gateway.chat(&stream(&endless.to_string())).send().await;
    let mut events = Events::of(response.unwrap());
    assert!(events.next().await.is_some());
    events
}

fn status(gateway: &Gateway) -> Status {
    gateway.backend.status()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_house_is_waited_for_and_a_crowd_is_told_when_to_come_back() {
    let gateway = fake()
        .var("CODEX_WORKERS", "2")
        .var("WORKER_MAX_CONCURRENCY", "1")
        .var("PROXY_QUEUE_MAX", "1")
        .start()
        .await;
    gateway
        .until(|gateway| status(gateway).workers.len() == 2, "two workers")
        .await;
    let running = [endless(&gateway).await, endless(&gateway).await];
    let loads: Vec<_> = status(&gateway)
        .workers
        .iter()
        .map(|one| one.turns)
        .collect();
    assert_eq!(loads, [1, 1], "each child runs one");
    let quick = say(&json!({"fake": {"text": ["at last"]}}).to_string());
    let asking = [gateway.chat(&quick).send(), gateway.chat(&quick).send()].map(Box::pin);
    // There is room for one to wait: the other is answered at once.
    let (refused, _, mut waiting) = select_all(asking).await;
    let refused = refused.unwrap();
    assert_eq!(refused.status(), 503);
    assert!(refused.headers().contains_key("retry-after"));
    let body: serde_json::Value = refused.json().await.unwrap();
    assert_eq!(body["error"]["code"], "worker_busy");
    assert_eq!(status(&gateway).waiting, 1, "the other waits");
    drop(running);
    let waited = waiting.remove(0).await.unwrap();
    assert_eq!(waited.status(), 200, "it had its turn");
    assert_eq!(status(&gateway).waiting, 0);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_has_an_end() {
    let gateway = fake()
        .var("WORKER_MAX_CONCURRENCY", "1")
        .var("PROXY_QUEUE_WAIT_MS", "50")
        .start()
        .await;
    let running = endless(&gateway).await;
    let refused = gateway.chat(&say("hello")).send().await.unwrap();
    assert_eq!(refused.status(), 503);
    drop(running);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_place_is_enough_for_several_choices() {
    let gateway = fake().var("WORKER_MAX_CONCURRENCY", "1").start().await;
    // More than anybody between Codex and the client holds back, and a call that waits to be told of.
    let call = json!([{"name": "look", "arguments": "{}", "id": "call_1"}]);
    let script = json!({"fake": {"text": ["x"], "repeat": 3_000, "call": call}});
    let mut body = say(&script.to_string());
    body["n"] = json!(3);
    body["tools"] = json!([{"type": "function", "function": {"name": "look"}}]);
    let answer = gateway.chat(&body).send().await.unwrap();
    let answer: serde_json::Value = answer.json().await.unwrap();
    let choices = answer["choices"].as_array();
    assert_eq!(choices.map(Vec::len), Some(3), "{answer}");
    for choice in choices.into_iter().flatten() {
        assert_eq!(choice["finish_reason"], "tool_calls");
        assert_eq!(choice["message"]["content"], "x".repeat(3_000));
    }
    body["stream"] = json!(true);
    let events = Events::of(gateway.chat(&body).send().await.unwrap());
    assert_eq!(finishes(&events.rest().await), ["tool_calls"; 3]);
    gateway.stop().await;
}

/// Sends many requests, a few at a time, until children have relieved each other twice. All must be answered.
async fn relieved_under_load(gateway: &Gateway, request: &serde_json::Value) {
    let ask = || async {
        let answer = gateway.chat(request).send().await.unwrap();
        answer.text().await.unwrap()
    };
    while status(gateway).recycled < 2 {
        let answers = streams::iter(0..40).map(|_| ask()).buffer_unordered(4);
        for answer in answers.collect::<Vec<_>>().await {
            assert!(
                answer.contains("\"fi\"") && answer.contains("\"ne\""),
                "{answer}"
            );
            assert!(answer.ends_with("data: [DONE]\n\n"), "{answer}");
        }
    }
    let gone = |gateway: &Gateway| status(gateway).workers.iter().all(|worker| !worker.leaving);
    gateway.until(gone, "the relieved ones gone").await;
    assert_eq!(status(gateway).restarts, 0, "none of them failed");
}

#[tokio::test(flavor = "multi_thread")]
async fn children_relieve_each_other_without_a_lost_turn() {
    let setup = relieving(fake());
    let gateway = setup.start().await;
    let slow = json!({"fake": {"text": ["fi", "ne"], "delay_ms": 20}}).to_string();
    relieved_under_load(&gateway, &stream(&slow)).await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex: run by .ci/run"]
async fn real_children_relieve_each_other_without_a_lost_turn() {
    let (setup, _provider) = real::set_up("TEST_CODEX_BIN", "gpt-5.4").await;
    let gateway = relieving(setup).start().await;
    relieved_under_load(&gateway, &real::script(json!({"text": ["fi", "ne"]}), true)).await;
    gateway.stop().await;
}

fn relieving(setup: Setup) -> Setup {
    setup
        .var("CODEX_WORKERS", "2")
        .var("WORKER_RECYCLE_TURNS", "10")
        .var("WORKER_PROBE_INTERVAL_MS", "10")
}
