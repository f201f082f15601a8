//! Features of requests, end to end: function names that Codex uses itself, response formats, images, errors of each dialect.

use codex_gateway_tests::gateway::{Gateway, KEY, Setup, say, script};
use codex_gateway_tests::sse::{self, Event, Events};
use serde_json::{Value, json};

use crate::{fake, journal};

async fn post(gateway: &Gateway, path: &str, body: &Value) -> reqwest::Response {
    let url = format!("{}{path}", gateway.origin);
    let request = gateway.client.post(url).bearer_auth(KEY).json(body);
    request.send().await.unwrap()
}

async fn json_of(response: reqwest::Response) -> (u16, Value) {
    (response.status().as_u16(), response.json().await.unwrap())
}

/// The parameters of the fake's last request of this method.
fn last(gateway: &Gateway, method: &str) -> Value {
    let lines = journal::lines(gateway).into_iter();
    let mut asked = lines.filter(|line| line["method"] == method);
    asked.next_back().unwrap()["params"].take()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_may_have_a_name_that_is_codexs_own() {
    let gateway = fake().start().await;
    // The model gets the functions under other names.
    let call = |name: &str, id: &str| json!({"name": name, "arguments": "{}", "id": id});
    let calls = [
        call("client_exec_command", "c1"),
        call("mcp-_files__read", "c2"),
    ];
    let tool = |name: &str| json!({"type": "function", "function": {"name": name}});
    let mut body = say(&script(json!({"call": calls})));
    body["tools"] = json!([
        tool("exec_command"),
        tool("mcp__files__read"),
        tool("get_weather")
    ]);
    let (status, answer) = json_of(gateway.chat(&body).send().await.unwrap()).await;
    assert_eq!(status, 200, "{answer}");
    let message = &answer["choices"][0]["message"];
    let names: Vec<&Value> = message["tool_calls"]
        .as_array()
        .unwrap()
        .iter()
        .map(|call| &call["function"]["name"])
        .collect();
    assert_eq!(names, ["exec_command", "mcp__files__read"]);
    let offered = last(&gateway, "thread/start");
    let offered: Vec<&Value> = offered["dynamicTools"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tool| &tool["name"])
        .collect();
    assert_eq!(
        offered,
        ["client_exec_command", "mcp-_files__read", "get_weather"]
    );

    // Calls in the client's history are sent under the same other names.
    body["messages"] = json!([
        {"role": "user", "content": "go"},
        message,
        {"role": "tool", "tool_call_id": "c1", "content": "done"},
        {"role": "tool", "tool_call_id": "c2", "content": "read"},
    ]);
    let (status, answer) = json_of(gateway.chat(&body).send().await.unwrap()).await;
    assert_eq!(status, 200, "{answer}");
    let told = last(&gateway, "thread/inject_items");
    assert_eq!(told["items"][1]["name"], "client_exec_command");
    assert_eq!(told["items"][2]["name"], "mcp-_files__read");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_no_json_object_is_none() {
    let gateway = fake().start().await;
    let asking = |text: &str| {
        let mut body = say(&script(json!({"text": [text]})));
        body["response_format"] = json!({"type": "json_object"});
        body
    };
    let (status, answer) =
        json_of(gateway.chat(&asking(" {\"a\": 1}")).send().await.unwrap()).await;
    let content = &answer["choices"][0]["message"]["content"];
    assert_eq!((status, content), (200, &json!(" {\"a\": 1}")));

    let mut prose = asking("Here you are: {\"a\": 1}");
    let (status, answer) = json_of(gateway.chat(&prose).send().await.unwrap()).await;
    let code = &answer["error"]["code"];
    assert_eq!((status, code), (502, &json!("answer_not_json")), "{answer}");
    prose["stream"] = json!(true);
    let events = Events::of(gateway.chat(&prose).send().await.unwrap())
        .rest()
        .await;
    assert_eq!(sse::text(&events), "Here you are: {\"a\": 1}");
    assert_eq!(sse::error(&events).unwrap()["code"], "answer_not_json");
    assert!(!events.contains(&Event::Done), "it is not complete");

    let input = script(json!({"text": ["prose"]}));
    let body = json!({"input": input, "text": {"format": {"type": "json_object"}}});
    let (status, answer) = json_of(post(&gateway, "/v1/responses", &body).await).await;
    let code = &answer["error"]["code"];
    assert_eq!((status, code), (502, &json!("answer_not_json")), "{answer}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_that_codex_would_leave_out_is_refused() {
    let gateway = fake().start().await;
    let picture = |url: &str| {
        let part = json!({"type": "image_url", "image_url": {"url": url}});
        json!({"messages": [{"role": "user", "content": [part]}]})
    };
    let png = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAAB";
    assert_eq!(
        gateway.chat(&picture(png)).send().await.unwrap().status(),
        200
    );
    let svg = "data:image/svg+xml;base64,PHN2Zy8+";
    let (status, answer) = json_of(gateway.chat(&picture(svg)).send().await.unwrap()).await;
    assert_eq!(status, 400);
    let error = &answer["error"];
    assert_eq!(error["code"], "unsupported_image_media_type");
    assert_eq!(error["param"], "messages[0].content[0].image_url");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_dialect_is_told_of_mistakes_in_its_own_words() {
    let gateway = fake().start().await;
    // No text was sent before the failure, so a stream, too, gets the status of its failure.
    let failure =
        json!({"text": [], "error": {"codexErrorInfo": "contextWindowExceeded", "message": "no"}});
    let prompt = script(failure);
    for (path, mut body, param) in [
        ("/v1/chat/completions", say(&prompt), "messages"),
        ("/v1/responses", json!({"input": prompt}), "input"),
        ("/v1/completions", json!({"prompt": prompt}), "prompt"),
    ] {
        for stream in [false, true] {
            body["stream"] = json!(stream);
            let response = post(&gateway, path, &body).await;
            let (status, answer) = json_of(response).await;
            let found = (status, answer["error"]["param"].as_str());
            assert_eq!(found, (400, Some(param)), "{path}: {answer}");
        }
    }
    for (path, body, param) in [
        (
            "/v1/chat/completions",
            json!({"messages": [{"role": "user", "content": "hi"}], "reasoning_effort": "huge"}),
            "reasoning_effort",
        ),
        (
            "/v1/responses",
            json!({"input": "hi", "reasoning": {"effort": "huge"}}),
            "reasoning.effort",
        ),
        (
            "/v1/responses",
            json!({"input": "hi", "model": "gpt-nope"}),
            "model",
        ),
        (
            "/v1/completions",
            json!({"prompt": "hi", "model": "gpt-nope"}),
            "model",
        ),
    ] {
        let (_, answer) = json_of(post(&gateway, path, &body).await).await;
        assert_eq!(answer["error"]["param"], param, "{path}: {answer}");
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_url_that_has_a_part_twice_or_not_at_all_is_answered_with_the_right_one() {
    let gateway = Setup::demo().start().await;
    for (path, meant) in [
        ("/v1/responses/responses", "/v1/responses"),
        ("/v1/models/models", "/v1/models"),
        (
            "/openai/deployments//chat/completions",
            "/v1/chat/completions",
        ),
    ] {
        let (status, body) = json_of(post(&gateway, path, &say("x")).await).await;
        let error = &body["error"];
        assert_eq!((status, &error["code"]), (404, &json!("unknown_url")));
        let meant = format!("Did you mean {meant}? ");
        assert!(error["message"].as_str().unwrap().contains(&meant));
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_base_url_that_is_nearly_right_is_corrected() {
    let gateway = Setup::demo().start().await;
    for path in [
        "/chat/completions",
        "/v1/v1/chat/completions",
        "//v1//chat/completions",
        "/openai/v1/chat/completions",
        "/openai/deployments/codex-5/chat/completions?api-version=2024-10-21",
    ] {
        let mut body = say("x");
        body.as_object_mut().unwrap().remove("model");
        let (status, answer) = json_of(post(&gateway, path, &body).await).await;
        assert_eq!(status, 200, "{path}: {answer}");
        let is_named = path.contains("codex-5");
        assert_eq!(answer["model"] == "codex-5", is_named, "{answer}");
    }
    let url = format!(
        "{}/openai/deployments/codex-5/chat/completions",
        gateway.origin
    );
    for (key, expected) in [(KEY, 200), ("sk-another", 401)] {
        let azures = gateway.client.post(&url).header("api-key", key);
        let response = azures.json(&say("x")).send().await.unwrap();
        assert_eq!(response.status(), expected);
    }
    let path = "/openai/deployments/gpt-nope/completions";
    let unknown = post(&gateway, path, &json!({"prompt": "x"})).await;
    let (status, body) = json_of(unknown).await;
    assert_eq!(
        (status, &body["error"]["code"]),
        (404, &json!("model_not_found"))
    );
    gateway.stop().await;
    let gateway = Setup::demo()
        .var("PROXY_URL_ALIASES", "false")
        .start()
        .await;
    for path in [
        "/chat/completions",
        "/api/chat/completions",
        "/v1/chat/completions/chat/completions",
    ] {
        let (status, body) = json_of(post(&gateway, path, &say("x")).await).await;
        let error = &body["error"];
        assert_eq!((status, &error["code"]), (404, &json!("unknown_url")));
        let message = error["message"].as_str().unwrap();
        assert!(
            message.contains("Did you mean /v1/chat/completions?"),
            "{message}"
        );
    }
    gateway.stop().await;
}
