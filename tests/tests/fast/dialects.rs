//! Tools, responses and old completions, over one Codex turn each: the differences between the dialects and a chat.

use codex_gateway_tests::gateway::{Gateway, KEY, say, script};
use codex_gateway_tests::sse::{Event, Events, finishes, named};
use serde_json::{Value, json};

use crate::{fake, journal};

/// A script with two calls of `get_weather`.
pub(crate) fn two_calls() -> String {
    script(json!({
        "text": ["Let me look."],
        "call": [
            {"name": "get_weather", "arguments": "{\"city\": \"Paris\"}", "id": "call_1"},
            {"name": "get_weather", "arguments": "{\"city\":  \"Rome\"}", "id": "call_2"},
        ],
    }))
}

fn weather() -> Value {
    json!({"name": "get_weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}})
}

fn post(gateway: &Gateway, path: &str, body: &Value) -> reqwest::RequestBuilder {
    let url = format!("{}{path}", gateway.origin);
    gateway.client.post(url).bearer_auth(KEY).json(body)
}

async fn json_of(request: reqwest::RequestBuilder) -> (u16, Value) {
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_reach_the_client_as_the_model_wrote_them() {
    let gateway = fake().start().await;
    let mut body = say(&two_calls());
    body["tools"] = json!([{"type": "function", "function": weather()}]);
    let (status, answer) = json_of(gateway.chat(&body)).await;
    assert_eq!(status, 200, "{answer}");
    let choice = &answer["choices"][0];
    assert_eq!(choice["finish_reason"], "tool_calls");
    assert_eq!(choice["message"]["content"], "Let me look.");
    let calls = choice["message"]["tool_calls"].as_array().unwrap();
    assert_eq!(calls[0]["id"], "call_1");
    assert_eq!(
        calls[1]["function"]["arguments"], "{\"city\":  \"Rome\"}",
        "blanks and all"
    );

    body["stream"] = json!(true);
    let events = Events::of(gateway.chat(&body).send().await.unwrap())
        .rest()
        .await;
    assert_eq!(finishes(&events), ["tool_calls"]);
    let fragments: Vec<&Value> = events
        .iter()
        .filter_map(|event| match event {
            Event::Data(data) => data["choices"][0]["delta"]["tool_calls"].get(0),
            _ => None,
        })
        .collect();
    let first: Vec<&Value> = fragments
        .iter()
        .copied()
        .filter(|call| call.get("id").is_some())
        .collect();
    assert_eq!(
        (&first[0]["index"], &first[1]["index"]),
        (&json!(0), &json!(1))
    );
    assert_eq!(first[0]["type"], "function");
    let arguments: String = fragments
        .iter()
        .filter(|call| call["index"] == 0)
        .filter_map(|call| call["function"]["arguments"].as_str())
        .collect();
    assert_eq!(arguments, "{\"city\": \"Paris\"}");

    // The results are sent back as history.
    let messages = json!([
        {"role": "user", "content": "Weather?"},
        choice["message"],
        {"role": "tool", "tool_call_id": "call_1", "content": "18 degrees"},
        {"role": "tool", "tool_call_id": "call_2", "content": "24 degrees"},
    ]);
    let body =
        json!({"messages": messages, "tools": [{"type": "function", "function": weather()}]});
    assert_eq!(json_of(gateway.chat(&body)).await.0, 200);
    assert!(journal::text(&gateway).contains("24 degrees"));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_written_as_text_stay_text_or_become_calls() {
    let gateway = fake().start().await;
    let block = "<use_tool><name>localSearch</name><query>cats</query></use_tool>";
    let text = script(
        json!({"text": ["Searching. <use_", "tool><name>localSearch</name><query>cats</query></use_tool>"]}),
    );
    let response = gateway.chat(&say(&text)).send().await.unwrap();
    assert_eq!(response.headers()["x-proxy-output-mode"], "obsidian-xml");
    let answer: Value = response.json().await.unwrap();
    assert_eq!(
        answer["choices"][0]["message"]["content"],
        format!("Searching. {block}")
    );
    assert_eq!(answer["choices"][0]["finish_reason"], "stop");

    let asked = gateway
        .chat(&say(&text))
        .header("x-proxy-output-mode", "openai-json");
    let (_, answer) = json_of(asked).await;
    let call = &answer["choices"][0]["message"]["tool_calls"][0];
    assert_eq!(
        call["function"],
        json!({"name": "localSearch", "arguments": "{\"query\":\"cats\"}"})
    );
    assert_eq!(answer["choices"][0]["finish_reason"], "tool_calls");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn text_that_the_model_quotes_is_no_call_of_a_client_that_did_not_ask_for_that() {
    let gateway = fake().start().await;
    let quoted =
        "The manual has <use_tool><name>Bash</name><command>ls</command></use_tool>, for example.";
    let text = script(json!({"text": [quoted]}));
    let bash = json!({"type": "function", "name": "Bash", "parameters": {}});
    let body = json!({"model": "codex-5", "input": text, "tools": [bash]});
    let (_, answer) = json_of(post(&gateway, "/v1/responses", &body)).await;
    assert_eq!(
        answer["output"][0]["content"][0]["text"], quoted,
        "{answer}"
    );
    let tools = json!([{"name": "Bash", "input_schema": {"type": "object"}}]);
    let body = json!({"model": "codex-5", "max_tokens": 99, "messages": say(&text)["messages"], "tools": tools});
    let (_, answer) = json_of(post(&gateway, "/v1/messages", &body)).await;
    assert_eq!(answer["content"][0]["text"], quoted, "{answer}");
    // Where it was asked for, the block has to be of a tool that may be called.
    for (tools, choice, is_call) in [
        (json!([bash]), json!("auto"), true),
        (json!([bash]), json!("none"), false),
        (
            json!([{"type": "function", "name": "f", "parameters": {}}]),
            json!("auto"),
            false,
        ),
        (json!([]), json!("auto"), true),
    ] {
        let body =
            json!({"model": "codex-5", "input": text, "tools": tools, "tool_choice": choice});
        let asked =
            post(&gateway, "/v1/responses", &body).header("x-proxy-output-mode", "openai-json");
        let (_, answer) = json_of(asked).await;
        let items = answer["output"].as_array().unwrap();
        let called = items.iter().any(|item| item["type"] == "function_call");
        assert_eq!(called, is_call, "{tools} {choice}: {answer}");
    }
    let schema = json!({"format": {"type": "json_object"}});
    let text = script(json!({"text": ["{\"a\": \"<use_tool><name>f</name></use_tool>\"}"]}));
    let body = json!({"model": "codex-5", "input": [{"role": "developer", "content": "Answer in JSON."}, {"role": "user", "content": text}], "text": schema});
    let asked = post(&gateway, "/v1/responses", &body).header("x-proxy-output-mode", "openai-json");
    let (_, answer) = json_of(asked).await;
    assert_eq!(answer["output"][0]["type"], "message", "{answer}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_of_a_tool_that_is_not_allowed_does_not_reach_the_client() {
    let gateway = fake().start().await;
    let tool = |name: &str| json!({"type": "function", "name": name, "parameters": {}});
    let call = |name: &str| json!({"name": name, "arguments": "{}"});
    let text = script(json!({"call": [call("g"), call("f")], "text": ["I look."]}));
    let allowed = json!({"type": "allowed_tools", "mode": "auto", "tools": [tool("f")]});
    let body = json!({"model": "codex-5", "input": text, "tools": [tool("f"), tool("g")], "tool_choice": allowed});
    let (_, answer) = json_of(post(&gateway, "/v1/responses", &body)).await;
    let items = answer["output"].as_array().unwrap().iter();
    let calls: Vec<_> = items
        .filter(|item| item["type"] == "function_call")
        .collect();
    assert_eq!(
        (calls.len(), &calls[0]["name"]),
        (1, &json!("f")),
        "{answer}"
    );
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_streams_its_events_in_order() {
    let gateway = fake().start().await;
    let input = script(json!({"reasoning": ["Hm."], "text": ["Good ", "day."]}));
    let body = json!({"model": "codex-5", "input": input, "stream": true});
    let events = named(post(&gateway, "/v1/responses", &body).send().await.unwrap()).await;
    let names: Vec<&str> = events.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names[..2], ["response.created", "response.in_progress"]);
    assert_eq!(names.last(), Some(&"response.completed"));
    for (number, (name, data)) in events.iter().enumerate() {
        assert_eq!(
            (&data["sequence_number"], &data["type"]),
            (&json!(number), &json!(name))
        );
    }
    let text: String = events
        .iter()
        .filter(|(name, _)| name == "response.output_text.delta")
        .filter_map(|(_, data)| data["delta"].as_str())
        .collect();
    assert_eq!(text, "Good day.");
    let response = &events.last().unwrap().1["response"];
    let kinds: Vec<&Value> = response["output"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| &item["type"])
        .collect();
    assert_eq!(kinds, ["reasoning", "message"]);
    assert_eq!(response["usage"]["total_tokens"], 150);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_is_continued_fetched_and_forgotten_by_its_caller_only() {
    let alice = codex_gateway::secret::fingerprint(b"sk-test");
    let bob = codex_gateway::secret::fingerprint(b"sk-bob");
    let keys = json!({"keys": [{"id": "alice", "sha256": alice}, {"id": "bob", "sha256": bob}]});
    let setup = fake();
    let gateway = setup
        .policy("auth.json", keys.to_string().as_bytes())
        .start()
        .await;
    for stream in [false, true] {
        let body = json!({"input": script(json!({"text": ["Forty-two."]})), "stream": stream});
        let response = post(&gateway, "/v1/responses", &body).send().await.unwrap();
        let first: Value = match stream {
            false => response.json().await.unwrap(),
            true => named(response).await.pop().unwrap().1["response"].clone(),
        };
        let id = first["id"].as_str().unwrap();

        let body = json!({"input": format!("Why, {stream}?"), "previous_response_id": id});
        let (status, second) = json_of(post(&gateway, "/v1/responses", &body)).await;
        assert_eq!((status, &second["previous_response_id"]), (200, &json!(id)));
        let asked = journal::text(&gateway);
        let last = asked.lines().rfind(|line| line.contains("Why,")).unwrap();
        let last: Value = serde_json::from_str(last).unwrap();
        let thread = last["params"]["threadId"].as_str().unwrap();
        let mut of_thread = asked.lines().filter(|line| line.contains(thread));
        assert!(
            of_thread.any(|line| line.contains("Forty-two.")),
            "the conversation goes on in its thread: {last}"
        );

        let path = format!("/v1/responses/{id}");
        let (status, fetched) = json_of(gateway.get(&path)).await;
        assert_eq!((status, &fetched), (200, &first));
        let url = format!("{}{path}", gateway.origin);
        let stranger = gateway.client.get(&url).bearer_auth("sk-bob");
        assert_eq!(json_of(stranger).await.0, 404, "not bob's");
        let theft = gateway
            .client
            .post(format!("{}/v1/responses", gateway.origin));
        let (status, error) = json_of(theft.bearer_auth("sk-bob").json(&body)).await;
        assert_eq!(
            (status, &error["error"]["param"]),
            (400, &json!("previous_response_id"))
        );
        let (status, deleted) = json_of(gateway.client.delete(&url).bearer_auth(KEY)).await;
        assert_eq!((status, &deleted["deleted"]), (200, &json!(true)));
        assert_eq!(json_of(gateway.get(&path)).await.0, 404);
        let (status, error) = json_of(post(&gateway, "/v1/responses", &body)).await;
        assert_eq!(
            (status, &error["error"]["code"]),
            (400, &json!("previous_response_not_found"))
        );
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_calls_functions_and_takes_their_outputs() {
    let gateway = fake().start().await;
    let mut tool = weather();
    tool["type"] = json!("function");
    let body = json!({"input": two_calls(), "tools": [tool]});
    let (status, first) = json_of(post(&gateway, "/v1/responses", &body)).await;
    assert_eq!(status, 200, "{first}");
    let calls: Vec<&Value> = first["output"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|item| item["type"] == "function_call")
        .collect();
    assert_eq!(
        (&calls[0]["call_id"], &calls[1]["name"]),
        (&json!("call_1"), &json!("get_weather"))
    );
    let outputs = json!([
        {"type": "function_call_output", "call_id": "call_1", "output": "18 degrees"},
        {"type": "function_call_output", "call_id": "call_2", "output": "24 degrees"},
    ]);
    let body = json!({"input": outputs, "previous_response_id": first["id"], "tools": [tool]});
    let (status, second) = json_of(post(&gateway, "/v1/responses", &body)).await;
    assert_eq!(
        (status, &second["status"]),
        (200, &json!("completed")),
        "{second}"
    );
    assert!(journal::text(&gateway).contains("24 degrees"));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_completion_has_its_old_form() {
    let gateway = fake().start().await;
    let prompt = script(json!({"reasoning": ["hidden"], "text": ["once ", "upon"]}));
    let body = json!({"model": "codex-5", "prompt": prompt});
    let (status, answer) = json_of(post(&gateway, "/v1/completions", &body)).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["object"], "text_completion");
    let choice =
        json!({"text": "once upon", "index": 0, "logprobs": null, "finish_reason": "stop"});
    assert_eq!(answer["choices"], json!([choice]));

    let body = json!({"prompt": prompt, "stream": true, "stream_options": {"include_usage": true}});
    let response = post(&gateway, "/v1/completions", &body)
        .send()
        .await
        .unwrap();
    let events = Events::of(response).rest().await;
    let texts: String = events
        .iter()
        .filter_map(|event| match event {
            Event::Data(data) => data["choices"][0]["text"].as_str(),
            _ => None,
        })
        .collect();
    assert_eq!(
        (texts.as_str(), finishes(&events)),
        ("once upon", vec!["stop".to_owned()])
    );
    assert_eq!(events.last(), Some(&Event::Done));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn several_answers_are_several_turns_and_cost_as_much() {
    let gateway = fake().start().await;
    let mut body = say(&script(json!({"text": ["one ", "answer"]})));
    body["n"] = json!(3);
    let (status, answer) = json_of(gateway.chat(&body)).await;
    assert_eq!(status, 200, "{answer}");
    let choices = answer["choices"].as_array().unwrap();
    let indexes: Vec<&Value> = choices.iter().map(|choice| &choice["index"]).collect();
    assert_eq!(indexes, [0, 1, 2]);
    assert!(
        choices
            .iter()
            .all(|choice| choice["message"]["content"] == "one answer")
    );
    assert_eq!(answer["usage"]["total_tokens"], 3 * 150);

    body["stream"] = json!(true);
    let events = Events::of(gateway.chat(&body).send().await.unwrap())
        .rest()
        .await;
    assert_eq!(finishes(&events), ["stop"; 3]);
    assert_eq!(
        events.iter().filter(|event| **event == Event::Done).count(),
        1
    );

    let mut body = say(&script(json!({"text": ["a"], "exit_after": 1})));
    body["n"] = json!(2);
    let (status, _) = json_of(gateway.chat(&body)).await;
    assert_eq!(status, 503, "part of an answer is none");
    gateway.stop().await;
}
