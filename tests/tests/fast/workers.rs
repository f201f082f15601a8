//! Several workers: the wait queue, refusals when it is full, and recycling.

use codex_gateway::codex::{Status, WorkerStatus};
use codex_gateway_tests::gateway::{Gateway, Setup, say, stream};
use codex_gateway_tests::real;
use codex_gateway_tests::remains::{children, exists};
use codex_gateway_tests::sse::{self, Events, finishes};
use futures_util::future::select_all;
use futures_util::stream::{self as streams, StreamExt};
use serde_json::json;

use crate::{endless, fake};

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
    // One request may wait: the other is refused at once.
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
    // More deltas than all buffers between Codex and the client hold, and a tool call after them.
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

/// Sends many requests, a few at a time, until two workers were recycled. All must be answered.
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
    let gateway = relieving(fake()).start().await;
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

/// Asserts that a worker that reaches this limit is recycled: it ends its turns, while another serves.
async fn worn_out(limit: &str, wear: impl FnOnce(&Gateway)) {
    let (setup, provider) = real::set_up("TEST_CODEX_BIN", "gpt-5.4").await;
    let setup = setup.var(limit, "1").var("WORKER_PROBE_INTERVAL_MS", "100");
    let gateway = setup.start().await;
    let script = real::script(json!({"text": ["fi", "ne"], "stall": 1}), true);
    let mut running = Vec::new();
    for _ in 0..3 {
        let mut events = Events::of(gateway.chat(&script).send().await.unwrap());
        assert!(events.next().await.is_some());
        running.push(events);
    }
    provider.wait_for(|counts| counts.stalled == 3).await;
    wear(&gateway);
    let is_busy = |worker: &WorkerStatus| worker.turns > 0;
    let are_relieved = |gateway: &Gateway| {
        let (busy, free): (Vec<_>, Vec<_>) = status(gateway).workers.into_iter().partition(is_busy);
        busy.iter().all(|one| one.leaving) && free.iter().any(|one| !one.leaving)
    };
    gateway.until(are_relieved, "another child").await;
    let old = status(&gateway).workers.into_iter().filter(is_busy);
    let old: Vec<_> = old.filter_map(|worker| worker.pid).collect();
    assert!(!old.is_empty());
    let (code, answer) = real::whole(&gateway, json!({"text": ["hello"]})).await;
    assert_eq!(code, 200, "{answer}");
    provider.release();
    for events in running {
        let events = events.rest().await;
        assert!(sse::text(&events).ends_with("ne"), "{events:?}");
        assert_eq!(finishes(&events), ["stop"]);
    }
    let gone = |_: &Gateway| old.iter().all(|pid| !exists(*pid));
    gateway.until(gone, "end of the relieved").await;
    assert_eq!(status(&gateway).restarts, 0, "none of them failed");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex: run by .ci/run"]
async fn a_real_child_that_takes_too_much_memory_ends_its_turns_while_another_serves() {
    // Every worker exceeds this limit from the start.
    worn_out("WORKER_RECYCLE_MEMORY_MB", |_| ()).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex: run by .ci/run"]
async fn a_real_child_that_takes_too_much_disk_ends_its_turns_while_another_serves() {
    // A worker would need a thousand turns to write as much.
    let write = |gateway: &Gateway| {
        let folders = children(&gateway.home())
            .into_iter()
            .flat_map(|child| child.folders);
        let entries = folders.flat_map(|folder| std::fs::read_dir(folder).unwrap());
        let entries = entries.map(|entry| entry.unwrap().path());
        let mut databases = entries.filter(|path| path.to_string_lossy().contains("/databases-"));
        let file = databases.next().unwrap().join("large");
        std::fs::write(file, vec![0; 1024 * 1024]).unwrap();
    };
    worn_out("WORKER_RECYCLE_DISK_MB", write).await;
}

fn relieving(setup: Setup) -> Setup {
    setup
        .var("CODEX_WORKERS", "2")
        .var("WORKER_RECYCLE_TURNS", "10")
        .var("WORKER_PROBE_INTERVAL_MS", "10")
}
