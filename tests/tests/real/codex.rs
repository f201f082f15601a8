//! The real Codex behind the gateway's real API, against a scripted model provider.

use codex_gateway_tests::real::{
    assert_answers_whole_and_streamed, assert_bare_environment, assert_leaving_stops_the_turn,
    endless, real, script, whole,
};
use codex_gateway_tests::remains::{children, kill};
use codex_gateway_tests::sse::{self, Event, Events, error};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex"]
async fn an_answer_whole_and_streamed_with_reasoning_and_usage() {
    let (gateway, _provider) = real().await;
    assert_answers_whole_and_streamed(&gateway).await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex"]
async fn a_long_history_reaches_the_model_as_it_was_written() {
    let (gateway, provider) = real().await;
    let mut messages = vec![json!({"role": "system", "content": "You are terse."})];
    for turn in 0..20 {
        messages.push(json!({"role": "user", "content": format!("question {turn}")}));
        messages.push(json!({"role": "assistant", "content": format!("answer {turn}")}));
    }
    messages
        .push(json!({"role": "user", "content": [{"type": "text", "text": "the last question"}]}));
    let response = gateway
        .chat(&json!({"messages": messages}))
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
    let asked = provider.requests().remove(0).conversation();
    assert_eq!(asked.len(), 42, "nothing is added, nothing lost: {asked:?}");
    assert_eq!(
        asked[0],
        ("developer".to_owned(), "You are terse.".to_owned())
    );
    assert_eq!(asked[1], ("user".to_owned(), "question 0".to_owned()));
    assert_eq!(asked[40], ("assistant".to_owned(), "answer 19".to_owned()));
    assert_eq!(
        asked[41],
        ("user".to_owned(), "the last question".to_owned())
    );
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex"]
async fn the_effort_of_the_alias_or_of_the_request_reaches_the_model() {
    let (gateway, provider) = real().await;
    for (model, effort, expected) in [
        ("codex-5-high", None, "high"),
        ("codex-5-high", Some("low"), "low"),
        ("codev-5-low", None, "low"),
    ] {
        let mut body = json!({"model": model, "messages": [{"role": "user", "content": "hi"}]});
        if let Some(effort) = effort {
            body["reasoning_effort"] = json!(effort);
        }
        let answer: Value = gateway.answer(&body).await;
        assert_eq!(answer["model"], model);
        let asked = provider.requests().pop().unwrap().body;
        assert_eq!(
            (&asked["model"], &asked["reasoning"]["effort"]),
            (&json!("gpt-5.4"), &json!(expected))
        );
    }
    let listed: Value = gateway.read("/v1/models").await;
    let ids: Vec<&str> = listed["data"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|card| card["id"].as_str())
        .collect();
    assert!(
        ids.contains(&"codev-5") && ids.iter().any(|id| id.starts_with("gpt-")),
        "{ids:?}"
    );
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex"]
async fn stop_and_max_tokens_end_the_turn_upstream_too() {
    let (gateway, provider) = real().await;
    let mut body = script(
        json!({"text": ["a", "b", "S", "TOP", "c"], "stall": 4}),
        false,
    );
    body["stop"] = json!(["STOP"]);
    let answer: Value = gateway.answer(&body).await;
    assert_eq!(answer["choices"][0]["message"]["content"], "ab");
    assert_eq!(answer["choices"][0]["finish_reason"], "stop");
    provider.wait_for(|counts| counts.abandoned == 1).await;

    let mut body = script(
        json!({"text": ["12345678", "9", "never sent"], "stall": 2}),
        false,
    );
    body["max_tokens"] = json!(2);
    let answer: Value = gateway.answer(&body).await;
    assert_eq!(answer["choices"][0]["message"]["content"], "12345678");
    assert_eq!(answer["choices"][0]["finish_reason"], "length");
    provider.wait_for(|counts| counts.abandoned == 2).await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex"]
async fn a_client_that_leaves_stops_the_turn() {
    let (gateway, provider) = real().await;
    assert_leaving_stops_the_turn(&gateway, &provider).await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex"]
async fn a_killed_child_fails_its_stream_and_the_next_one_serves() {
    let (gateway, provider) = real().await;
    let events = endless(&gateway, &provider).await;
    let pid = gateway.worker();
    kill(pid);
    let rest = events.rest().await;
    assert_eq!(
        error(&rest).expect("an error frame")["code"],
        "worker_exited"
    );
    assert!(!rest.contains(&Event::Done));
    gateway
        .until(
            |gateway| {
                let workers = gateway.backend.status().workers;
                workers.iter().any(|new| new.pid != Some(pid))
            },
            "new child",
        )
        .await;
    gateway.backend.ready().await;
    assert_eq!(whole(&gateway, json!({"text": ["again"]})).await.0, 200);
    assert_eq!(gateway.backend.status().restarts, 1);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex"]
async fn nothing_of_the_gateway_is_in_the_childs_environment() {
    let (gateway, provider) = real().await;
    let stalled = json!({"text": ["one ", "two"], "stall": 1});
    let response = gateway.chat(&script(stalled, true)).send().await.unwrap();
    provider.wait_for(|counts| counts.stalled == 1).await;
    let running = children(&gateway.home());
    assert!(!running.is_empty());
    running.iter().for_each(assert_bare_environment);
    provider.release();
    assert_eq!(sse::text(&Events::of(response).rest().await), "one two");
    gateway.stop().await;
}
