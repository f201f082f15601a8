//! Anthropic's messages over one Codex turn each: answers, streams, tools, errors, limits.

use codex_gateway_tests::gateway::{Gateway, KEY, Setup, script};
use codex_gateway_tests::sse::named;
use reqwest::RequestBuilder;
use serde_json::{Value, json};

use crate::dialects::two_calls;
use crate::{fake, journal};

mod errors;

const VERSION: &str = "2023-06-01";

/// A request as Anthropic's clients send it.
fn post(gateway: &Gateway, path: &str, body: &Value) -> RequestBuilder {
    let url = format!("{}{path}", gateway.origin);
    let request = gateway.client.post(url).header("x-api-key", KEY);
    request.header("anthropic-version", VERSION).json(body)
}

fn messages(gateway: &Gateway, body: &Value) -> RequestBuilder {
    post(gateway, "/v1/messages", body)
}

fn say(text: &str) -> Value {
    json!({"model": "codex-5", "max_tokens": 1024, "messages": [{"role": "user", "content": text}]})
}

fn stream(text: &str) -> Value {
    let mut body = say(text);
    body["stream"] = json!(true);
    body
}

async fn json_of(request: RequestBuilder) -> (u16, Value) {
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

fn names(events: &[(String, Value)]) -> Vec<&str> {
    events.iter().map(|(name, _)| name.as_str()).collect()
}

fn weather() -> Value {
    json!({"name": "get_weather", "description": "Tells it.", "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}}})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_answered_whole_and_streamed() {
    let gateway = fake().start().await;
    let text = script(json!({"reasoning": ["Hm."], "text": ["Good ", "day."]}));
    let response = messages(&gateway, &say(&text)).send().await.unwrap();
    assert_eq!(response.status(), 200);
    let id = response.headers()["request-id"].clone();
    assert_eq!(response.headers()["x-request-id"], id);
    let answer: Value = response.json().await.unwrap();
    assert_eq!(
        answer["content"],
        json!([{"type": "text", "text": "Good day."}])
    );
    assert_eq!(answer["stop_reason"], "end_turn");
    let usage = &answer["usage"];
    assert_eq!(
        (
            &usage["input_tokens"],
            &usage["cache_read_input_tokens"],
            &usage["output_tokens"]
        ),
        (&json!(80), &json!(40), &json!(30))
    );

    let mut body = stream(&text);
    body["thinking"] = json!({"type": "adaptive", "display": "summarized"});
    let events = named(messages(&gateway, &body).send().await.unwrap()).await;
    let block = ["content_block_start", "content_block_delta"];
    let thinking = [&block[..], &["content_block_delta", "content_block_stop"]].concat();
    let text = thinking.clone();
    let expected = [
        &["message_start"],
        &thinking[..],
        &text,
        &["message_delta", "message_stop"],
    ];
    assert_eq!(names(&events), expected.concat());
    assert_eq!(events[1].1["content_block"]["type"], "thinking");
    assert_eq!(
        events[6].1["delta"],
        json!({"type": "text_delta", "text": "Good "})
    );
    assert_eq!(events[9].1["usage"], *usage);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_and_their_results_go_round() {
    let gateway = fake().start().await;
    let mut body = say(&two_calls());
    body["tools"] = json!([weather()]);
    let (status, answer) = json_of(messages(&gateway, &body)).await;
    assert_eq!(
        (status, &answer["stop_reason"]),
        (200, &json!("tool_use")),
        "{answer}"
    );
    let call = |id: &str, city: &str| json!({"type": "tool_use", "id": id, "name": "get_weather", "input": {"city": city}});
    let text = json!({"type": "text", "text": "Let me look."});
    let content = json!([text, call("call_1", "Paris"), call("call_2", "Rome")]);
    assert_eq!(answer["content"], content);

    body["stream"] = json!(true);
    let events = named(messages(&gateway, &body).send().await.unwrap()).await;
    let inputs = events
        .iter()
        .filter_map(|(_, data)| data["delta"]["partial_json"].as_str());
    let inputs: Vec<&str> = inputs.collect();
    assert_eq!(
        inputs,
        ["{\"city\": \"Paris\"}", "{\"city\":  \"Rome\"}"],
        "blanks and all"
    );

    let png = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg==";
    let picture = json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": png}});
    let results = json!([
        {"type": "tool_result", "tool_use_id": "call_1", "content": "no such city", "is_error": true},
        {"type": "tool_result", "tool_use_id": "call_2", "content": [{"type": "text", "text": "24 degrees"}, picture]},
    ]);
    let body = json!({"tools": [weather()], "messages": [
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": content},
        {"role": "user", "content": results},
    ]});
    let (status, answer) = json_of(messages(&gateway, &body)).await;
    assert_eq!(status, 200, "{answer}");
    let journal = journal::text(&gateway);
    for arrived in ["24 degrees", "Error: no such city", png] {
        assert!(journal.contains(arrived), "{arrived}");
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_one_call_is_told_where_one_is_wanted() {
    let gateway = fake().start().await;
    let mut body = say(&two_calls());
    body["tools"] = json!([weather()]);
    let calls = |answer: &Value| {
        let blocks = answer["content"].as_array().unwrap().iter();
        blocks.filter(|block| block["type"] == "tool_use").count()
    };
    body["tool_choice"] = json!({"type": "auto", "disable_parallel_tool_use": true});
    let (_, answer) = json_of(messages(&gateway, &body)).await;
    assert_eq!(calls(&answer), 1, "{answer}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_ends_at_a_stop_sequence_or_at_its_limit() {
    let gateway = fake().start().await;
    let text = script(json!({"text": ["one two E", "ND three four"]}));
    let mut body = say(&text);
    body["stop_sequences"] = json!(["STOP", "END"]);
    let (_, answer) = json_of(messages(&gateway, &body)).await;
    assert_eq!(answer["content"][0]["text"], "one two ");
    assert_eq!(
        (&answer["stop_reason"], &answer["stop_sequence"]),
        (&json!("stop_sequence"), &json!("END"))
    );
    let mut body = stream(&text);
    body["max_tokens"] = json!(1);
    let events = named(messages(&gateway, &body).send().await.unwrap()).await;
    let ending = &events[events.len() - 2].1["delta"];
    assert_eq!(
        *ending,
        json!({"stop_reason": "max_tokens", "stop_sequence": null})
    );
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn anthropics_own_tools_are_named_in_a_header_or_refused() {
    let mut body = say(&script(json!({"text": ["a"]})));
    body["tools"] = json!([
        {"type": "web_search_20250305", "name": "web_search"},
        {"type": "bash_20250124", "name": "bash"},
    ]);
    let gateway = fake().start().await;
    let response = messages(&gateway, &body).send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["x-codex-left-out"], "web_search");
    gateway.stop().await;
    let gateway = fake()
        .var("PROXY_REFUSE_HOSTED_TOOLS", "true")
        .start()
        .await;
    let (status, error) = json_of(messages(&gateway, &body)).await;
    assert_eq!(status, 400);
    let message = error["error"]["message"].as_str().unwrap();
    assert!(
        message.contains("web_search") && message.contains("tools[0].type"),
        "{message}"
    );
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_stream_is_kept_alive_by_pings() {
    let gateway = Setup::demo()
        .var("PROXY_SSE_KEEPALIVE_MS", "20")
        .start()
        .await;
    let slow = r#"{"demo":{"deltas":2,"text":"x","delay_ms":200}}"#;
    let events = named(messages(&gateway, &stream(slow)).send().await.unwrap()).await;
    assert!(names(&events).contains(&"ping"), "{events:?}");
    assert_eq!(events.last().unwrap().0, "message_stop");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn usage_has_the_turn_of_a_message() {
    let usage = tempfile::NamedTempFile::new().unwrap();
    let gateway = fake()
        .var("TOKEN_LOG_PATH", usage.path().to_str().unwrap())
        .start()
        .await;
    let body = say(&script(json!({"text": ["a"]})));
    let (status, _) = json_of(post(&gateway, "/v1/messages?beta=true", &body)).await;
    assert_eq!(status, 200);
    gateway.stop().await;
    let line = std::fs::read_to_string(usage.path()).unwrap();
    let line: Value = serde_json::from_str(line.lines().next().unwrap()).unwrap();
    let text = line.to_string();
    for part in ["/v1/messages", "codex-5", "120"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_names_of_claudes_models_are_aliases_of_the_operators() {
    let aliases = json!({"aliases": {"claude-sonnet-4-5": "codex-5"}});
    let setup = fake().policy("model.json", aliases.to_string().as_bytes());
    let gateway = setup.start().await;
    let mut body = say(&script(json!({"text": ["a"]})));
    body["model"] = json!("claude-sonnet-4-5");
    let (status, answer) = json_of(messages(&gateway, &body)).await;
    assert_eq!(status, 200, "{answer}");
    let listed = gateway
        .get("/v1/models")
        .header("anthropic-version", VERSION);
    let (_, models) = json_of(listed).await;
    assert_eq!(models["has_more"], false);
    assert_eq!(models["first_id"], models["data"][0]["id"]);
    assert_eq!(models["data"][0]["type"], "model");
    gateway.stop().await;
}
