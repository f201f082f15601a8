//! The last Codex that has `proto`, real, behind the gateway's real API, against a scripted model provider. `.ci/run`
//! installs the program it needs: `TEST_CODEX_PROTO_BIN` is a `codex` 0.42.0.

use std::path::Path;

use codex_gateway_tests::gateway::Gateway;
use codex_gateway_tests::provider::Provider;
use codex_gateway_tests::real::{
    ask, assert_answers_whole_and_streamed, assert_bare_environment, assert_leaving_stops_the_turn,
    endless, on_provider, script, upstream_failures, whole,
};
use codex_gateway_tests::remains::{children, exists, kill, processes};
use codex_gateway_tests::sse::{self, Event, Events, error};
use serde_json::json;

use crate::errors::{assert_broken_off, assert_refused};

/// The number of processes that wait for the next turns.
const SPARE: usize = 2;

/// A gateway with the real Codex 0.42, on a scripted provider.
async fn real() -> (Gateway, Provider) {
    let (gateway, provider) = on_provider("TEST_CODEX_PROTO_BIN", "gpt-5").await;
    assert_eq!(gateway.backend.kind(), "proto");
    (gateway, provider)
}

/// The number of conversation files in a folder of Codex's home.
fn records(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let counts = entries.map(|entry| match entry.path() {
        path if path.is_dir() => records(&path),
        _ => 1,
    });
    counts.sum()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex 0.42"]
async fn an_answer_whole_and_streamed_with_reasoning_and_usage() {
    let (gateway, _provider) = real().await;
    assert_answers_whole_and_streamed(&gateway).await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex 0.42"]
async fn a_conversation_reaches_the_model_as_one_transcript() {
    let (gateway, provider) = real().await;
    let messages = json!([
        {"role": "system", "content": "You are terse."},
        {"role": "user", "content": "one?"},
        {"role": "assistant", "content": "1."},
        {"role": "user", "content": [{"type": "text", "text": "two?"}]},
    ]);
    let body = json!({"model": "codex-5-high", "messages": messages});
    let (status, answer) = ask(&gateway, &body).await;
    assert_eq!(status, 200, "{answer}");
    let asked = provider.requests().remove(0);
    let (role, text) = asked.conversation().pop().unwrap();
    assert_eq!(role, "user");
    assert_eq!(
        text,
        "[system] You are terse.\n[user] one?\n[assistant] 1.\n[user] two?"
    );
    assert_eq!(asked.body["model"], "gpt-5");
    assert_eq!(asked.body["reasoning"]["effort"], "high");
    let instructions = asked.body["instructions"].as_str().unwrap_or_default();
    assert!(
        instructions.len() < 1_000,
        "Codex's own prompt is sent: {instructions}"
    );
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex 0.42"]
async fn every_picture_of_a_conversation_reaches_the_model() {
    let (gateway, provider) = real().await;
    // The head of a PNG, and one byte that tells the images apart.
    let url =
        |last: &str| format!("data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABAAA{last}");
    let picture = |last: &str| json!({"type": "image_url", "image_url": {"url": url(last)}});
    let text = |text: &str| json!({"type": "text", "text": text});
    let messages = json!([
        {"role": "user", "content": [picture("A"), text("or"), picture("B")]},
        {"role": "assistant", "content": "The first."},
        {"role": "user", "content": [text("And this?"), picture("C")]},
        {"role": "user", "content": "Well?"},
    ]);
    let (status, answer) = ask(&gateway, &json!({"model": "codex-5", "messages": messages})).await;
    assert_eq!(status, 200, "{answer}");
    let input = provider.requests().remove(0).body["input"].clone();
    let message = input.as_array().unwrap().last().unwrap();
    let transcript = "[user] [image 1]\nor\n[image 2]\n[assistant] The first.\n[user] And this?\n[image 3]\n[user] Well?";
    let image = |last: &str| json!({"type": "input_image", "image_url": url(last)});
    let expected = json!([
        {"type": "input_text", "text": transcript},
        image("A"),
        image("B"),
        image("C"),
    ]);
    assert_eq!(message["content"], expected);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex 0.42"]
async fn a_schema_reaches_the_model_and_tools_are_refused_with_the_remedy() {
    let (gateway, provider) = real().await;
    let schema = json!({
        "type": "object", "properties": {"answer": {"type": "integer"}},
        "required": ["answer"], "additionalProperties": false,
    });
    let mut body = script(json!({"text": ["{\"answer\": 42}"]}), false);
    body["response_format"] = json!({
        "type": "json_schema",
        "json_schema": {"name": "answer", "schema": schema, "strict": true},
    });
    let (status, answer) = ask(&gateway, &body).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(
        provider.requests().remove(0).body["text"]["format"]["schema"],
        schema
    );

    let mut body = script(json!({}), false);
    body["tools"] =
        json!([{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]);
    let (status, answer) = ask(&gateway, &body).await;
    assert_eq!(status, 400, "{answer}");
    let message = answer["error"]["message"].as_str().unwrap_or_default();
    assert!(message.contains("npm install -g @openai/codex"), "{answer}");
    assert_eq!(provider.requests().len(), 1, "nobody was asked");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex 0.42"]
async fn what_goes_wrong_upstream_has_its_status_streamed_or_not() {
    let (gateway, _provider) = real().await;
    // Over HTTP, 0.42 reports a used-up quota like a rate limit.
    let told_apart = |code: &str| code != "insufficient_quota";
    let failures = upstream_failures().into_iter();
    for (answer, status, code) in failures.filter(|(_, _, code)| told_apart(code)) {
        assert_refused(&gateway, &answer, status, code).await;
    }
    let cut = json!({"text": ["some ", "text ", "and more"], "cut": 2});
    assert_broken_off(&gateway, &cut, 502, ["upstream_error"; 2]).await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex 0.42"]
async fn a_client_that_leaves_stops_the_turn() {
    let (gateway, provider) = real().await;
    assert_leaving_stops_the_turn(&gateway, &provider).await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex 0.42"]
async fn a_killed_child_fails_its_stream_and_the_next_one_serves() {
    let (gateway, provider) = real().await;
    let events = endless(&gateway, &provider).await;
    for process in processes(&gateway.home()) {
        kill(process.pid);
    }
    let rest = events.rest().await;
    assert_eq!(
        error(&rest).expect("an error frame")["code"],
        "worker_exited"
    );
    assert!(!rest.contains(&Event::Done));
    assert_eq!(whole(&gateway, json!({"text": ["again"]})).await.0, 200);
    assert!(gateway.backend.status().restarts > 0);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex 0.42"]
async fn twenty_turns_leave_no_process_and_no_record() {
    let (gateway, _provider) = real().await;
    for turn in 0..20 {
        let (status, body) = whole(&gateway, json!({"text": [format!("{turn}")]})).await;
        assert_eq!(status, 200, "{body}");
    }
    gateway.idle().await;
    let home = gateway.home();
    let spare = children(&home);
    assert!(spare.len() <= SPARE, "{} processes", spare.len());
    assert!(records(&home.join("sessions")) <= SPARE);
    // The home is deleted with the gateway, so it is examined before.
    gateway.backend.shutdown().await;
    assert!(processes(&home).is_empty());
    assert_eq!(records(&home.join("sessions")), 0);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex 0.42"]
async fn the_process_of_a_turn_has_nothing_of_ours_and_does_not_outlive_it() {
    let (gateway, provider) = real().await;
    let home = gateway.home();
    for end in ["finished", "left"] {
        let answer = json!({"text": ["one ", "two"], "stall": 1});
        let response = gateway.chat(&script(answer, true)).send().await.unwrap();
        let mut events = Events::of(response);
        provider.wait_for(|counts| counts.stalled == 1).await;
        assert!(events.next().await.is_some());
        let running = children(&home);
        running.iter().for_each(assert_bare_environment);
        if end == "finished" {
            provider.release();
            assert_eq!(sse::text(&events.rest().await), "one two");
        } else {
            drop(events);
            provider.wait_for(|counts| counts.abandoned == 1).await;
        }
        gateway.idle().await;
        // Of the processes that ran, all but the turn's own wait for later turns.
        let survivors = running.iter().filter(|process| exists(process.pid)).count();
        assert_eq!(survivors, running.len() - 1, "{end}");
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex 0.42"]
async fn commands_the_model_wants_to_run_find_no_program() {
    let (gateway, provider) = real().await;
    let secret = gateway.home().join("secret.txt");
    std::fs::write(&secret, "a secret of the operator's").unwrap();
    let arguments = json!({"command": ["cat", secret]}).to_string();
    let answer = json!({
        "calls": [{"name": "shell", "arguments": arguments}],
        "then": {"text": ["as you like"]},
    });
    let (status, body) = whole(&gateway, answer).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(body["choices"][0]["message"]["content"], "as you like");
    let told = provider.requests().pop().unwrap().body["input"].to_string();
    assert!(told.contains("function_call_output"), "{told}");
    assert!(!told.contains("a secret of the operator's"), "{told}");
    gateway.stop().await;
}
