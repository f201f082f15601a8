//! The table of parameters in `docs/src/clients.md`, row by row against the gateway.

use codex_gateway_tests::gateway::{Gateway, KEY};
use serde_json::{Value, json};

use crate::docs::read;
use crate::fake;

const HEAD: &str = "| parameter | chat | completions | responses | |\n|---|---|---|---|---|\n";

/// The APIs in the order of the columns: each path, and the least that a request needs.
fn apis() -> [(&'static str, Value); 3] {
    [
        (
            "/v1/chat/completions",
            json!({"messages": [{"role": "user", "content": "hi"}]}),
        ),
        ("/v1/completions", json!({"prompt": "hi"})),
        ("/v1/responses", json!({"input": "hi"})),
    ]
}

/// A value of no parameter, so that it is refused wherever it is read.
fn nonsense() -> Value {
    json!([{"no": "such"}, 7.5])
}

/// A value for a parameter that some API ignores, logs or refuses: one that means something.
fn sample(parameter: &str) -> Option<Value> {
    Some(match parameter {
        "access_programs" => json!({"cyber": "advanced"}),
        "audio" => json!({"voice": "ash", "format": "wav"}),
        "echo" | "logprobs in chat" | "stream_options.include_obfuscation" => {
            json!(true)
        }
        "background_options" | "image" | "prompt_cache_options" => json!({"mode": "explicit"}),
        "best_of" => json!(2),
        "context_management" => json!([{"type": "compaction", "compact_threshold": 1000}]),
        "conversation" => json!("conv_1"),
        "frequency_penalty" | "presence_penalty" | "temperature" | "top_p" => json!(0.5),
        "include" => json!(["reasoning.encrypted_content"]),
        "include with message.output_text.logprobs" => json!(["message.output_text.logprobs"]),
        "logit_bias" => json!({"50256": -100}),
        "logprobs" | "max_tool_calls" | "seed" | "top_logprobs" => json!(3),
        "metadata" => json!({"topic": "birds"}),
        "modalities" => json!(["text", "audio"]),
        "moderation" => json!({"model": "omni-moderation-latest"}),
        "prediction" => json!({"type": "content", "content": "hello"}),
        "prompt" => json!({"id": "pmpt_1"}),
        "prompt_cache_key" | "safety_identifier" | "user" => json!("someone"),
        "prompt_cache_options.prewarm" | "store" => json!(true),
        "prompt_cache_retention" => json!("24h"),
        "reasoning.context" => json!("auto"),
        "reasoning.mode" => json!("pro"),
        "suffix" => json!("the end"),
        "truncation" => json!("auto"),
        "web_search_options" => json!({}),
        _ => return None,
    })
}

/// A request with this value at a path with dots.
fn with(body: &Value, path: &str, value: Value) -> Value {
    let mut body = body.clone();
    let place = path.split('.').fold(&mut body, |at, name| &mut at[name]);
    *place = value;
    body
}

async fn ask(gateway: &Gateway, path: &str, body: &Value) -> (u16, Value) {
    let url = format!("{}{path}", gateway.origin);
    let request = gateway.client.post(url).bearer_auth(KEY).json(body);
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

/// Asserts what a row says about one API. `name` is the parameter, `row` the first cell of the row without backquotes.
async fn assert_cell(gateway: &Gateway, (path, body): &(&str, Value), row: &str, says: &str) {
    let name = row.split(' ').next().unwrap();
    let key = match (row, *path) {
        ("logprobs", "/v1/chat/completions") => "logprobs in chat",
        _ => row,
    };
    let value = match says {
        "honoured" => nonsense(),
        "refused" | "ignored" | "logged" => {
            sample(key).unwrap_or_else(|| panic!("{row}: the test needs a value"))
        }
        other => panic!("{row}: {other:?} is no answer to a parameter"),
    };
    let body = with(body, name, value);
    let (status, answer) = ask(gateway, path, &body).await;
    if matches!(says, "ignored" | "logged") {
        assert_eq!(status, 200, "{path}, {row} is {says}: {answer}");
        return;
    }
    assert_eq!(status, 400, "{path}, {row} is {says}: {answer}");
    let param = answer["error"]["param"].as_str().unwrap_or_default();
    assert!(param.starts_with(name), "{path}, {row} is {says}: {answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_parameter_is_treated_as_the_table_says() {
    let gateway = fake().start().await;
    let page = read("docs/src/clients.md");
    let (_, table) = page.split_once(HEAD).expect("the table of parameters");
    let apis = apis();
    let mut cells = 0;
    for row in table.lines().take_while(|line| line.starts_with("| ")) {
        let columns: Vec<&str> = row.split('|').map(str::trim).collect();
        let first = columns[1].replace('`', "");
        for (api, says) in apis.iter().zip(&columns[2..5]) {
            if *says != "–" {
                assert_cell(&gateway, api, &first, says).await;
                cells += 1;
            }
        }
    }
    assert!(cells > 90, "{cells} cells");
    gateway.stop().await;
}

const MESSAGES: &str = "| member of a message | | |\n|---|---|---|\n";

/// A value for a member of a message that is ignored, logged, left out or refused.
fn sample_of_messages(member: &str) -> Value {
    match member {
        "cache_control" => json!({"type": "ephemeral"}),
        "container" => json!({"skills": [{"type": "anthropic", "skill_id": "xlsx"}]}),
        "context_management" => json!({"edits": [{"type": "clear_tool_uses_20250919"}]}),
        "thread" => json!({"type": "create"}),
        "compaction" => json!({"type": "enabled"}),
        "diagnostics" => json!({"previous_message_id": "msg_1"}),
        "mcp_servers" => json!([{"type": "url", "url": "https://a.example", "name": "a"}]),
        "metadata" => json!({"user_id": "someone"}),
        "temperature" | "top_p" => json!(0.5),
        "top_k" => json!(5),
        _ => json!("us"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_member_of_a_message_is_treated_as_the_table_says() {
    let gateway = fake().start().await;
    let page = read("docs/src/clients.md");
    let (_, table) = page.split_once(MESSAGES).expect("the table of members");
    let body = json!({"max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]});
    let mut rows = 0;
    for row in table.lines().take_while(|line| line.starts_with("| ")) {
        let columns: Vec<&str> = row.split('|').map(str::trim).collect();
        let (name, says) = (columns[1].replace('`', ""), columns[2]);
        let value = match says {
            "honoured" => nonsense(),
            _ => sample_of_messages(&name),
        };
        let url = format!("{}/v1/messages", gateway.origin);
        let request = gateway.client.post(url).bearer_auth(KEY);
        let request = request.json(&with(&body, &name, value));
        let response = request.send().await.unwrap();
        let status = response.status();
        let left_out = response.headers().contains_key("x-codex-left-out");
        let answer: Value = response.json().await.unwrap();
        match says {
            "ignored" | "logged" => assert!(status == 200 && !left_out, "{name}: {answer}"),
            "left out" => assert!(status == 200 && left_out, "{name}: {answer}"),
            "honoured" | "refused" => {
                assert_eq!(status, 400, "{name}: {answer}");
                let message = answer["error"]["message"].as_str().unwrap();
                assert!(message.contains(&name), "{name}: {message}");
            }
            other => panic!("{name}: {other:?} is no answer to a member"),
        }
        rows += 1;
    }
    assert!(rows > 20, "{rows} rows");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_asks_for_nothing_is_accepted() {
    let gateway = fake().start().await;
    let [chat, completions, responses] = apis();
    for ((path, body), more) in [
        (
            &chat,
            json!({"logprobs": false, "top_logprobs": 0, "n": 1, "logit_bias": {}, "moderation": null, "modalities": ["text"]}),
        ),
        (
            &completions,
            json!({"best_of": 1, "echo": false, "suffix": "", "logit_bias": {}, "n": 1, "logprobs": null}),
        ),
        (
            &responses,
            json!({"background": false, "top_logprobs": 0, "conversation": null, "prompt": null,
            "reasoning": {"mode": "standard"}, "prompt_cache_options": {"prewarm": false}, "access_programs": {"cyber": "standard"}}),
        ),
    ] {
        let mut body = body.clone();
        let more = more.as_object().unwrap().clone();
        body.as_object_mut().unwrap().extend(more);
        let (status, answer) = ask(&gateway, path, &body).await;
        assert_eq!(status, 200, "{path}: {answer}");
    }
    gateway.stop().await;
}
