//! How the real Codex treats functions and images, which the gateway must know: names, schemas, formats, damaged images.

use codex_gateway_tests::provider::Provider;
use codex_gateway_tests::real::{ask, real, script};
use serde_json::{Value, json};

fn function(name: &str, parameters: Value) -> Value {
    json!({"type": "function", "function": {"name": name, "parameters": parameters}})
}

fn names(calls: &Value) -> Vec<&str> {
    let calls = calls.as_array().map(Vec::as_slice).unwrap_or_default();
    let names = calls.iter().map(|call| call["function"]["name"].as_str());
    names.flatten().collect()
}

const RESERVED: [&str; 10] = [
    "apply_patch",
    "exec_command",
    "mcp",
    "mcp__files__read",
    "shell",
    "shell_command",
    "update_plan",
    "view_image",
    "web_search",
    "write_stdin",
];

/// The names in the tools, or in the items of a type, of the last request to the provider.
fn told(provider: &Provider, list: &str, kind: &str) -> Vec<String> {
    let asked = provider.requests().pop().unwrap().body;
    let entries = asked[list].as_array().cloned().unwrap_or_default();
    let entries = entries.iter().filter(|entry| entry["type"] == kind);
    let names = entries.filter_map(|entry| entry["name"].as_str());
    names.map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex"]
async fn functions_with_names_of_codexs_own_are_offered_called_and_answered() {
    let (gateway, provider) = real().await;
    // The model calls the functions by the names under which they are offered.
    let offer = json!({"type": "object", "properties": {}});
    let tools: Vec<Value> = RESERVED
        .iter()
        .map(|name| function(name, offer.clone()))
        .collect();
    let mut body = script(json!({}), false);
    body["tools"] = json!(tools);
    assert_eq!(ask(&gateway, &body).await.0, 200);
    let offered = told(&provider, "tools", "function");
    assert_eq!(
        offered.len(),
        RESERVED.len(),
        "none is dropped: {offered:?}"
    );

    let calls: Vec<Value> = offered
        .iter()
        .map(|name| json!({"name": name, "arguments": "{\"a\":1}"}))
        .collect();
    let mut body = script(
        json!({"text": [], "calls": calls, "then": {"text": ["Done."]}}),
        false,
    );
    body["tools"] = json!(tools);
    let (status, answer) = ask(&gateway, &body).await;
    assert_eq!(status, 200, "{answer}");
    let message = &answer["choices"][0]["message"];
    let mut called = names(&message["tool_calls"]);
    called.sort_unstable();
    assert_eq!(called, RESERVED, "each by the client's own name");

    let mut messages = vec![body["messages"][0].take(), message.clone()];
    for call in message["tool_calls"].as_array().unwrap() {
        messages.push(json!({"role": "tool", "tool_call_id": call["id"], "content": "out"}));
    }
    body["messages"] = json!(messages);
    let (status, answer) = ask(&gateway, &body).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["choices"][0]["message"]["content"], "Done.");
    let history = told(&provider, "input", "function_call");
    assert_eq!(history.len(), RESERVED.len());
    assert!(
        history.iter().all(|name| offered.contains(name)),
        "{history:?}"
    );
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex"]
async fn what_codex_drops_of_a_schema_reaches_the_model_in_words() {
    let (gateway, provider) = real().await;
    let parameters = json!({
        "type": "object",
        "properties": {
            "count": {"type": "integer", "minimum": 1, "maximum": 9, "description": "how many"},
            "day": {"type": "string", "format": "date"},
            "level": {"enum": [1, 2]},
            "pair": {"type": "array", "items": [{"type": "string"}, {"type": "number"}]},
            "anything": {"description": "as you like"},
        },
        "required": ["count"],
    });
    let mut body = script(json!({}), false);
    body["tools"] = json!([function("f", parameters)]);
    let (status, answer) = ask(&gateway, &body).await;
    assert_eq!(status, 200, "{answer}");
    let asked = provider.requests().pop().unwrap().body;
    let told = &asked["tools"][0]["parameters"]["properties"];
    let described = |name: &str| told[name]["description"].as_str().unwrap_or_default();
    assert_eq!(described("count"), "how many (maximum: 9, minimum: 1)");
    assert_eq!(described("day"), "format: \"date\"");
    assert_eq!(told["level"], json!({"type": "integer", "enum": [1, 2]}));
    assert!(described("pair").contains("\"number\""), "{told}");
    assert_eq!(described("anything"), "as you like");

    body["tools"] = json!([function(
        "f",
        json!({"type": "object", "required": "count"})
    )]);
    let (status, answer) = ask(&gateway, &body).await;
    let error = &answer["error"];
    assert_eq!(
        (status, &error["type"]),
        (400, &json!("invalid_request_error"))
    );
    assert!(
        error["message"].as_str().unwrap().contains("function 'f'"),
        "{error}"
    );
    gateway.stop().await;
}

/// An image of a red dot.
const PNG: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex"]
async fn pictures_that_pass_reach_the_model_whatever_their_url_says_they_are() {
    let (gateway, provider) = real().await;
    for head in ["data:image/png", "data:image/jpg", "DATA:IMAGE/WEBP"] {
        let part =
            json!({"type": "image_url", "image_url": {"url": format!("{head};base64,{PNG}")}});
        let body = json!({"messages": [{"role": "user", "content": [part]}]});
        let (status, answer) = ask(&gateway, &body).await;
        assert_eq!(status, 200, "{answer}");
        let asked = provider.requests().pop().unwrap().body;
        let told = asked["input"].as_array().unwrap().iter().rev();
        let mut told = told.filter(|item| item["role"] == "user");
        let part = &told.next().unwrap()["content"][0];
        assert_eq!(part["type"], "input_image", "{head}: {part}");
        assert!(part["image_url"].as_str().unwrap().ends_with(PNG), "{part}");
    }
    gateway.stop().await;
}

/// The last picture that the provider got.
fn picture(provider: &Provider) -> Value {
    let asked = provider.requests().pop().unwrap().body;
    let items = asked["input"].as_array().unwrap().iter().rev();
    let lists = items.flat_map(|item| [&item["content"], &item["output"]]);
    let mut parts = lists.filter_map(Value::as_array).flatten();
    let part = parts.find(|part| part["type"] == "input_image");
    part.unwrap_or_else(|| panic!("no picture: {asked}"))
        .clone()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex"]
async fn the_detail_of_a_picture_is_the_clients() {
    let (gateway, provider) = real().await;
    let url = format!("data:image/png;base64,{PNG}");
    for (detail, arrives) in [
        (json!("auto"), json!("auto")),
        (json!("high"), json!("high")),
        (json!("low"), json!("auto")),
        (json!("original"), json!("original")),
        (json!(null), json!(null)),
    ] {
        let part = json!({"type": "image_url", "image_url": {"url": url, "detail": detail}});
        // A first, a middle and a last message go different ways to Codex.
        let look = json!({"role": "user", "content": [part]});
        let call =
            json!({"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}});
        let calls = json!({"role": "assistant", "tool_calls": [call]});
        let result = json!({"role": "tool", "tool_call_id": "c", "content": [part]});
        let says = |role: &str| json!({"role": role, "content": "hi"});
        for messages in [
            json!([look]),
            json!([look, says("assistant"), says("user")]),
            json!([says("user"), calls, result]),
        ] {
            let body = json!({"model": "gpt-5.5", "messages": messages});
            let (status, answer) = ask(&gateway, &body).await;
            assert_eq!(status, 200, "{answer}");
            let part = picture(&provider);
            assert_eq!(part["detail"], arrives, "{detail} in {messages}");
        }
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex"]
async fn a_damaged_picture_is_refused_whatever_the_model_makes_of_the_rest() {
    let (gateway, _provider) = real().await;
    let cut = PNG.get(..60).unwrap();
    let part =
        json!({"type": "image_url", "image_url": {"url": format!("data:image/png;base64,{cut}")}});
    let picture =
        json!({"role": "user", "content": [{"type": "text", "text": "What is it?"}, part]});
    for stream in [false, true] {
        let body = json!({"messages": [picture], "stream": stream});
        let (status, answer) = ask(&gateway, &body).await;
        let error = &answer["error"];
        assert_eq!(
            (status, &error["type"]),
            (400, &json!("invalid_request_error")),
            "{answer}"
        );
        assert!(
            error["message"].as_str().unwrap().contains("damaged"),
            "{error}"
        );
    }
    // Codex finds the damage only after the turn has begun, and the turn is interrupted at once. Whether Codex has asked the
    // model about the rest by then depends on timing.
    gateway.idle().await;
    gateway.stop().await;
}
