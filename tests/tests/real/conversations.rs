//! Conversations on the real Codex: each goes on in one thread, so that the provider finds its prompt in its cache.

use codex_gateway_tests::gateway::{Gateway, KEY};
use codex_gateway_tests::operator::keys as keys_of;
use codex_gateway_tests::provider::Provider;
use codex_gateway_tests::real::{ask, real, set_up};
use codex_gateway_tests::sse::{self, Events};
use reqwest::RequestBuilder;
use serde_json::{Value, json};

/// The keys of the prompt cache in all requests so far, each named by its first appearance: `[0, 0, 1]`.
pub(super) fn keys(provider: &Provider) -> Vec<usize> {
    let mut known: Vec<Value> = Vec::new();
    let requests = provider.requests();
    let number = |key: &Value| {
        assert!(key.is_string(), "{key}");
        known
            .iter()
            .position(|other| other == key)
            .unwrap_or_else(|| {
                known.push(key.clone());
                known.len() - 1
            })
    };
    let keys = requests
        .iter()
        .map(|request| &request.body["prompt_cache_key"]);
    keys.map(number).collect()
}

fn said(provider: &Provider) -> Vec<(String, String)> {
    provider.requests().pop().unwrap().conversation()
}

fn words(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |(role, text): &(&str, &str)| ((*role).to_owned(), (*text).to_owned());
    pairs.iter().map(owned).collect()
}

/// Sends the messages, and adds the answer to them.
async fn say(gateway: &Gateway, body: &mut Value, text: &str) {
    let messages = body["messages"].as_array_mut().unwrap();
    messages.push(json!({"role": "user", "content": text}));
    let answer = if body["stream"] == true {
        let response = gateway.chat(body).send().await.unwrap();
        json!({"role": "assistant", "content": sse::text(&Events::of(response).rest().await)})
    } else {
        let (status, answer) = ask(gateway, body).await;
        assert_eq!(status, 200, "{answer}");
        answer["choices"][0]["message"].clone()
    };
    assert_eq!(answer["content"], "Hello from the provider.");
    body["messages"].as_array_mut().unwrap().push(answer);
}

pub(super) fn post(gateway: &Gateway, path: &str, key: &str, body: &Value) -> RequestBuilder {
    let url = format!("{}/v1/{path}", gateway.origin);
    gateway.client.post(url).bearer_auth(key).json(body)
}

fn chat(stream: bool) -> Value {
    json!({"model": "codex-5", "stream": stream, "messages": [{"role": "system", "content": "Be terse."}]})
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex"]
async fn the_turns_of_a_conversation_have_one_key_and_another_has_another() {
    let (gateway, provider) = real().await;
    for stream in [false, true] {
        provider.forget();
        let mut body = chat(stream);
        for text in ["one", "two", "three"] {
            say(&gateway, &mut body, text).await;
        }
        assert_eq!(keys(&provider), [0, 0, 0], "stream: {stream}");
        let hello = ("assistant", "Hello from the provider.");
        assert_eq!(
            said(&provider),
            words(&[
                ("developer", "Be terse."),
                ("user", "one"),
                hello,
                ("user", "two"),
                hello,
                ("user", "three"),
            ]),
            "nothing is added, nothing lost"
        );
        say(&gateway, &mut chat(stream), "one").await;
        assert_eq!(keys(&provider), [0, 0, 0, 1]);
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex"]
async fn effort_and_schema_may_change_between_the_turns() {
    let (gateway, provider) = real().await;
    let mut body = chat(false);
    say(&gateway, &mut body, "one").await;
    body["reasoning_effort"] = json!("high");
    say(&gateway, &mut body, "two").await;
    body["reasoning_effort"] = json!("low");
    say(&gateway, &mut body, "three").await;
    body.as_object_mut().unwrap().remove("reasoning_effort");
    say(&gateway, &mut body, "four").await;
    assert_eq!(keys(&provider), [0, 0, 0, 0]);
    assert_eq!(gateway.backend.status().continued, 2, "not the last");
    let requests = provider.requests();
    let efforts = requests
        .iter()
        .map(|request| request.body["reasoning"]["effort"].clone());
    let [first, high, low, last] = &efforts.collect::<Vec<_>>()[..] else {
        panic!("four requests")
    };
    assert_eq!((high, low), (&json!("high"), &json!("low")));
    assert_eq!(last, first, "Codex would have kept the last effort");
    assert_eq!(said(&provider).len(), 8);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex"]
async fn an_instruction_of_the_gateways_own_may_be_in_all_turns_or_in_none() {
    let (gateway, provider) = real().await;
    let json = json!({"provider": {"text": ["{\"answer\": 1}"]}}).to_string();
    let mut body = json!({
        "model": "codex-5", "response_format": {"type": "json_object"}, "messages": [],
    });
    for _ in 0..3 {
        let messages = body["messages"].as_array_mut().unwrap();
        messages.push(json!({"role": "user", "content": json}));
        let (status, answer) = ask(&gateway, &body).await;
        assert_eq!(status, 200, "{answer}");
        let message = answer["choices"][0]["message"].clone();
        assert_eq!(message["content"], "{\"answer\": 1}");
        body["messages"].as_array_mut().unwrap().push(message);
    }
    assert_eq!(keys(&provider), [0, 0, 0]);
    let instructions = said(&provider).into_iter();
    let instructions = instructions.filter(|(role, _)| role == "developer");
    assert_eq!(instructions.count(), 3, "one for each turn");
    body.as_object_mut().unwrap().remove("response_format");
    say(&gateway, &mut body, "and now in words").await;
    assert_eq!(keys(&provider), [0, 0, 0, 1]);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex"]
async fn responses_that_name_the_one_before_have_one_key() {
    let (gateway, provider) = real().await;
    let mut previous = Value::Null;
    for text in ["one", "two", "three"] {
        let body = json!({"model": "codex-5", "input": text, "previous_response_id": previous});
        let response = post(&gateway, "responses", KEY, &body)
            .send()
            .await
            .unwrap();
        let response: Value = response.json().await.unwrap();
        assert_eq!(response["status"], "completed", "{response}");
        previous = response["id"].clone();
    }
    assert_eq!(keys(&provider), [0, 0, 0]);
    assert_eq!(said(&provider).len(), 5);
    gateway.stop().await;
}

fn with_tools(script: Value) -> Value {
    let parameters = json!({"type": "object", "properties": {"city": {"type": "string"}}});
    let function = json!({"name": "get_weather", "parameters": parameters});
    let text = json!({"provider": script}).to_string();
    json!({
        "model": "codex-5", "messages": [{"role": "user", "content": text}],
        "tools": [{"type": "function", "function": function}],
    })
}

/// Adds the answer's message to the request, and these outputs of its calls; returns the number of calls.
fn add_outputs(body: &mut Value, answer: &Value, outputs: &[&str]) -> usize {
    let message = answer["choices"][0]["message"].clone();
    let calls = message["tool_calls"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let messages = body["messages"].as_array_mut().unwrap();
    messages.push(message);
    for (call, output) in calls.iter().zip(outputs) {
        messages.push(json!({"role": "tool", "tool_call_id": call["id"], "content": output}));
    }
    calls.len()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex"]
async fn rounds_of_tool_calls_have_one_key_and_cost_one_request_each() {
    let (gateway, provider) = real().await;
    let call = json!({"name": "get_weather", "arguments": "{\"city\": \"Paris\"}"});
    for answer in [
        json!({"text": [], "calls": [call, call]}),
        json!({"text": ["And again."], "calls": [call]}),
        json!({"text": ["Done."]}),
    ] {
        provider.push(serde_json::from_value(answer).unwrap());
    }
    let mut body = with_tools(json!({}));
    let (_, answer) = ask(&gateway, &body).await;
    let long = "x".repeat(300_000);
    assert_eq!(add_outputs(&mut body, &answer, &["18 degrees", &long]), 2);
    let (_, answer) = ask(&gateway, &body).await;
    assert_eq!(answer["choices"][0]["message"]["content"], "And again.");
    assert_eq!(add_outputs(&mut body, &answer, &["19 degrees"]), 1);
    let (_, answer) = ask(&gateway, &body).await;
    assert_eq!(answer["choices"][0]["message"]["content"], "Done.");
    assert_eq!(
        answer["usage"]["prompt_tokens"], 120,
        "this request's tokens only"
    );
    assert_eq!(keys(&provider), [0, 0, 0]);
    assert_eq!(gateway.backend.status().continued, 2);
    let outputs = provider.requests().pop().unwrap().outputs();
    assert_eq!(outputs, ["18 degrees", long.as_str(), "19 degrees"]);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex"]
async fn a_client_that_does_not_send_the_outputs_begins_anew_and_nothing_else_is_asked() {
    let (gateway, provider) = real().await;
    let call = json!({"name": "get_weather", "arguments": "{}"});
    let mut body =
        with_tools(json!({"text": [], "calls": [call], "then": {"text": ["Never mind."]}}));
    let (_, answer) = ask(&gateway, &body).await;
    add_outputs(&mut body, &answer, &["18 degrees"]);
    let messages = body["messages"].as_array_mut().unwrap();
    let text = json!({"provider": {"text": ["Another question."]}}).to_string();
    messages.push(json!({"role": "user", "content": text}));
    let (_, answer) = ask(&gateway, &body).await;
    assert_eq!(
        answer["choices"][0]["message"]["content"],
        "Another question."
    );
    assert_eq!(keys(&provider), [0, 1]);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex"]
async fn a_conversation_outlives_the_child_that_had_its_thread() {
    let (gateway, provider) = real().await;
    let mut body = chat(false);
    say(&gateway, &mut body, "one").await;
    gateway.lose_worker().await;
    say(&gateway, &mut body, "two").await;
    say(&gateway, &mut body, "three").await;
    assert_eq!(keys(&provider), [0, 0, 0]);
    assert_eq!(said(&provider).len(), 6);
    let requests = provider.requests();
    assert_eq!(requests[2].tools(), requests[0].tools());
    assert_eq!(gateway.backend.status().continued, 1, "the third turn");

    // Another branch from the first answer.
    body["messages"].as_array_mut().unwrap().truncate(3);
    say(&gateway, &mut body, "or two").await;
    assert_eq!(keys(&provider), [0, 0, 0, 0]);
    assert_eq!(said(&provider).len(), 4);
    let sessions = gateway.home().join("sessions");
    assert!(!sessions.exists(), "nothing is stored");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex"]
async fn two_callers_never_share_a_key() {
    let (setup, provider) = set_up("TEST_CODEX_BIN", "gpt-5.4").await;
    let callers = ["alice", "bob"];
    let settings = keys_of(&callers);
    let gateway = setup.policy("auth.json", settings.as_bytes()).start().await;
    let mut messages = json!([{"role": "user", "content": "one"}]);
    for (secret, expected) in callers.iter().zip([vec![0, 0], vec![0, 0, 1, 1]]) {
        for _ in 0..2 {
            let body = json!({"model": "codex-5", "messages": messages});
            let response = post(&gateway, "chat/completions", secret, &body)
                .send()
                .await
                .unwrap();
            let answer: Value = response.json().await.unwrap();
            let list = messages.as_array_mut().unwrap();
            list.push(answer["choices"][0]["message"].clone());
            list.push(json!({"role": "user", "content": "more"}));
        }
        messages.as_array_mut().unwrap().truncate(1);
        assert_eq!(keys(&provider), expected);
    }
    gateway.stop().await;
}
