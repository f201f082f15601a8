//! Faults of the Codex child that a real one does not produce on demand: clients get a true error, and nothing is left behind.

use codex_gateway_tests::gateway::{Gateway, say, script, stream};
use codex_gateway_tests::sse::{self, Event, Events, error, finishes};
use serde_json::{Value, json};

use crate::{fake, journal};

async fn whole(gateway: &Gateway, answer: Value) -> (u16, Value) {
    let response = gateway.chat(&say(&script(answer))).send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

async fn streamed(gateway: &Gateway, answer: Value) -> Vec<Event> {
    let response = gateway.chat(&stream(&script(answer))).send().await.unwrap();
    Events::of(response).rest().await
}

/// Asserts that the next request is served and no turn is left, after any fault.
async fn serves_again(gateway: &Gateway) {
    gateway
        .until(|gateway| gateway.backend.status().ready, "ready child")
        .await;
    let (status, body) = whole(gateway, json!({"text": ["fine"]})).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(body["choices"][0]["message"]["content"], "fine");
    gateway.idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_that_dies_before_during_and_after_text_fails_only_what_it_ran() {
    let gateway = fake().start().await;
    for (exit_after, told) in [(0, ""), (2, "ab"), (3, "abc")] {
        let answer = json!({"text": ["a", "b", "c"], "exit_after": exit_after});
        let events = streamed(&gateway, answer.clone()).await;
        if exit_after > 0 {
            assert_eq!(sse::text(&events), told);
            assert_eq!(error(&events).unwrap()["code"], "worker_exited");
            assert!(finishes(&events).is_empty() && !events.contains(&Event::Done));
        }
        serves_again(&gateway).await;
        let (status, body) = whole(&gateway, answer).await;
        assert_eq!(
            (status, &body["error"]["code"]),
            (503, &json!("worker_exited"))
        );
        serves_again(&gateway).await;
    }
    let (status, _) = whole(&gateway, json!({"text": ["a"], "half_line": true})).await;
    assert_eq!(status, 503);
    serves_again(&gateway).await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_between_the_lines_changes_nothing() {
    let gateway = fake().start().await;
    let (status, body) = whole(&gateway, json!({"text": ["clean"], "garbage": true})).await;
    assert_eq!(
        (status, &body["choices"][0]["message"]["content"]),
        (200, &json!("clean"))
    );
    serves_again(&gateway).await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_turn_ends_at_its_limit_and_frees_its_place() {
    let gateway = fake().var("PROXY_IDLE_TIMEOUT_MS", "100").start().await;
    let (status, body) = whole(&gateway, json!({"hang": true})).await;
    assert_eq!(
        (status, &body["error"]["code"]),
        (504, &json!("idle_timeout"))
    );
    serves_again(&gateway).await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_the_child_never_answers_is_given_up() {
    let gateway = fake().var("WORKER_REQUEST_TIMEOUT_MS", "200").start().await;
    let (status, body) = whole(&gateway, json!({"no_reply": "turn/start"})).await;
    let code = &body["error"]["code"];
    assert_eq!((status, code), (504, &json!("worker_request_timeout")));
    serves_again(&gateway).await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn text_that_would_be_repeated_is_not_shown_twice() {
    let gateway = fake().start().await;
    let events = streamed(&gateway, json!({"text": ["once "], "retry": "cut"})).await;
    assert_eq!(sse::text(&events), "once ");
    assert_eq!(error(&events).unwrap()["code"], "upstream_restarted");
    serves_again(&gateway).await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thread_is_closed_unless_its_conversation_may_go_on() {
    let gateway = fake().start().await;
    whole(&gateway, json!({"text": ["a"]})).await;
    whole(
        &gateway,
        json!({"error": {"codexErrorInfo": "other", "message": "no"}}),
    )
    .await;
    let mut left = Events::of(
        gateway
            .chat(&stream(&script(
                json!({"text": ["x"], "repeat": 100_000, "delay_ms": 5}),
            )))
            .send()
            .await
            .unwrap(),
    );
    assert!(left.next().await.is_some());
    drop(left);
    gateway.idle().await;
    let journal = journal::lines(&gateway);
    let threads = |method: &str| {
        let calls = journal.iter().filter(|line| line["method"] == method);
        let threads = calls.filter_map(|call| call["params"]["threadId"].as_str());
        threads.collect::<Vec<_>>()
    };
    let [answered, failed, cut] = threads("turn/start")[..] else {
        panic!("{journal:#?}")
    };
    let closed = threads("thread/unsubscribe");
    assert_eq!(closed, [failed, cut], "{answered} is kept");
    assert_eq!(threads("turn/interrupt").len(), 1);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_that_cannot_start_is_reported_and_tried_again_until_it_can() {
    let setup = fake()
        .var("WORKER_BACKOFF_INITIAL_MS", "20")
        .var("WORKER_BACKOFF_MAX_MS", "50");
    let fault = setup.home().join("fake-start.json");
    std::fs::write(
        &fault,
        r#"{"exit": 1, "stderr": "the state database is locked"}"#,
    )
    .unwrap();
    let gateway = setup.launch().await;
    gateway
        .until(
            |gateway| gateway.backend.status().restarts >= 3,
            "third restart",
        )
        .await;
    let ready = gateway.get("/readyz").send().await.unwrap();
    assert_eq!(ready.status(), 503);
    let body: Value = ready.json().await.unwrap();
    assert!(
        body["backend"]["reason"]
            .as_str()
            .unwrap()
            .contains("the state database is locked"),
        "{body}"
    );
    assert_eq!(gateway.get("/livez").send().await.unwrap().status(), 200);
    std::fs::remove_file(fault).unwrap();
    serves_again(&gateway).await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_stops_reading_stops_only_its_own_turn() {
    let gateway = fake().start().await;
    let endless = script(json!({"text": ["x".repeat(1000)], "repeat": 1_000_000}));
    let slow = gateway.chat(&stream(&endless)).send().await.unwrap();
    for _ in 0..20 {
        let (status, _) = whole(&gateway, json!({"text": ["quick"]})).await;
        assert_eq!(status, 200);
    }
    // The stream's buffers are full: the turn is ended, and the events, read at last, end with an error.
    gateway.idle().await;
    let events = Events::of(slow).rest().await;
    assert_eq!(
        error(&events).expect("an error frame")["code"],
        "slow_reader"
    );
    serves_again(&gateway).await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shutting_down_leaves_no_child_and_no_folder() {
    let gateway = fake().start().await;
    let mut running = Events::of(
        gateway
            .chat(&stream(&script(
                json!({"text": ["x "], "repeat": 50, "delay_ms": 10}),
            )))
            .send()
            .await
            .unwrap(),
    );
    assert!(running.next().await.is_some());
    let pid = gateway.worker();
    let cwd = journal::lines(&gateway)
        .iter()
        .rev()
        .find_map(|line| line["cwd"].as_str().map(str::to_owned))
        .expect("the fake noted its folder");
    gateway.begin_stop();
    let rest = running.rest().await;
    assert_eq!(rest.last(), Some(&Event::Done), "what runs may finish");
    gateway.stop().await;
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
    assert!(!std::path::Path::new(&cwd).exists(), "{cwd} is left");
}
