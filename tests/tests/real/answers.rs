//! Answers of the real Codex in all forms: finish reasons, several choices, reasoning, structured output, and answers
//! after very long conversations.

use codex_gateway_tests::gateway::{Gateway, KEY};
use codex_gateway_tests::real::{ask, real, script, set_up};
use codex_gateway_tests::sse::{self, Event, Events, finishes};
use serde_json::{Value, json};

/// The answer's text and finish reason, streamed or not.
async fn told(gateway: &Gateway, mut body: Value, stream: bool) -> (String, String) {
    body["stream"] = json!(stream);
    if stream {
        let response = gateway.chat(&body).send().await.unwrap();
        let events = Events::of(response).rest().await;
        assert_eq!(events.last(), Some(&Event::Done), "{events:?}");
        return (sse::text(&events), finishes(&events).join(" "));
    }
    let (status, answer) = ask(gateway, &body).await;
    assert_eq!(status, 200, "{answer}");
    let choice = &answer["choices"][0];
    let text = choice["message"]["content"].as_str().unwrap_or_default();
    let finish = choice["finish_reason"].as_str().unwrap_or_default();
    (text.to_owned(), finish.to_owned())
}

/// The provider's script, extra members of the client's request, and the text and finish reason the client gets.
type Ending = (Value, Value, &'static str, &'static str);

/// Refusals. Codex drops their words, and the item that they are in.
fn refusals() -> [Ending; 2] {
    let json_object = json!({"response_format": {"type": "json_object"}});
    let filtered = |refusal: &str, members| {
        let script = json!({"refusal": refusal});
        (script, members, "", "content_filter")
    };
    [
        filtered("I cannot help with that.", json!({})),
        filtered("No.", json_object),
    ]
}

fn endings() -> [Ending; 10] {
    let call = json!({"name": "f", "arguments": "{}"});
    let function = json!({"name": "f", "parameters": {"type": "object"}});
    let tools = json!({"tools": [{"type": "function", "function": function}]});
    let text = |deltas: &[&str]| json!({"text": deltas});
    let cut = |delta: &str, reason: &str| json!({"text": [delta], "incomplete": reason});
    let called = |deltas: &[&str]| json!({"text": deltas, "calls": [call]});
    let nothing = json!({});
    [
        (
            text(&["all ", "of it"]),
            nothing.clone(),
            "all of it",
            "stop",
        ),
        (
            json!({"text": [], "usage": {"output": 7, "reasoning": 7}}),
            nothing.clone(),
            "",
            "stop",
        ),
        (
            text(&["one END two"]),
            json!({"stop": "END"}),
            "one ",
            "stop",
        ),
        (
            text(&["1234", "5"]),
            json!({"max_tokens": 1}),
            "1234",
            "length",
        ),
        (
            text(&["1234", "5"]),
            json!({"max_completion_tokens": 1}),
            "1234",
            "length",
        ),
        (
            cut("half", "max_output_tokens"),
            nothing.clone(),
            "half",
            "length",
        ),
        (
            cut("unsp", "content_filter"),
            nothing,
            "unsp",
            "content_filter",
        ),
        (called(&[]), tools.clone(), "", "tool_calls"),
        (called(&["Wait."]), tools, "Wait.", "tool_calls"),
        (
            called(&[]),
            json!({"functions": [function]}),
            "",
            "function_call",
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex"]
async fn every_answer_says_why_it_ended() {
    let (gateway, _provider) = real().await;
    for (answer, wish, text, finish) in endings().into_iter().chain(refusals()) {
        for stream in [false, true] {
            let mut body = script(answer.clone(), stream);
            let members = wish.as_object().unwrap().clone();
            body.as_object_mut().unwrap().extend(members);
            let expected = (text.to_owned(), finish.to_owned());
            assert_eq!(
                told(&gateway, body, stream).await,
                expected,
                "{answer} {wish}"
            );
        }
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex"]
async fn three_answers_are_three_turns_of_the_same_conversation() {
    let (gateway, provider) = real().await;
    let mut body = script(json!({"text": ["one ", "of three"]}), false);
    body["n"] = json!(3);
    let (status, answer) = ask(&gateway, &body).await;
    assert_eq!(status, 200, "{answer}");
    let choices = answer["choices"].as_array().unwrap();
    let told: Vec<_> = choices
        .iter()
        .map(|choice| {
            (
                &choice["index"],
                &choice["message"]["content"],
                &choice["finish_reason"],
            )
        })
        .collect();
    let (text, stop) = (json!("one of three"), json!("stop"));
    assert_eq!(
        told,
        [
            (&json!(0), &text, &stop),
            (&json!(1), &text, &stop),
            (&json!(2), &text, &stop)
        ]
    );
    assert_eq!(answer["usage"]["total_tokens"], 3 * 150);
    assert_eq!(provider.requests().len(), 3);

    body["stream"] = json!(true);
    let events = Events::of(gateway.chat(&body).send().await.unwrap())
        .rest()
        .await;
    let mut texts = [const { String::new() }; 3];
    for event in &events {
        let Event::Data(data) = event else { continue };
        for choice in data["choices"].as_array().unwrap() {
            let index = usize::try_from(choice["index"].as_u64().unwrap()).unwrap();
            texts[index].push_str(choice["delta"]["content"].as_str().unwrap_or_default());
        }
    }
    assert_eq!(texts, ["one of three"; 3]);
    assert_eq!(finishes(&events), ["stop"; 3]);
    assert_eq!(events.last(), Some(&Event::Done));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex"]
async fn a_schema_reaches_the_provider_as_the_client_wrote_it() {
    let (gateway, provider) = real().await;
    // Codex keeps schema keywords here that it drops from functions.
    let schema = json!({
        "type": "object", "title": "City", "additionalProperties": false, "required": ["name"],
        "properties": {"name": {"type": "string", "pattern": "^[A-Z]", "maxLength": 9}},
    });
    let answer = json!({"text": ["{\"name\": ", "\"Rome\"}"]});
    let mut body = script(answer.clone(), false);
    let named = json!({"name": "city", "schema": schema, "strict": true});
    body["response_format"] = json!({"type": "json_schema", "json_schema": named});
    for stream in [false, true] {
        let expected = ("{\"name\": \"Rome\"}".to_owned(), "stop".to_owned());
        assert_eq!(told(&gateway, body.clone(), stream).await, expected);
        let format = provider.requests().pop().unwrap().body["text"]["format"].clone();
        assert_eq!(
            (&format["type"], &format["schema"]),
            (&json!("json_schema"), &schema)
        );
        assert_eq!(format["strict"], true);
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex"]
async fn a_schema_that_is_not_strict_is_told_in_words() {
    let (gateway, provider) = real().await;
    let schema = json!({"type": "object", "properties": {"name": {"type": "string"}}});
    let url = format!("{}/v1/responses", gateway.origin);
    for (text, status) in [("{}", 200), ("Rome", 502)] {
        let mut body = script(json!({"text": [text]}), false);
        let input = body["messages"][0]["content"].clone();
        let named = json!({"name": "city", "schema": schema});
        body["response_format"] = json!({"type": "json_schema", "json_schema": named});
        let chat = gateway.chat(&body);
        let format =
            json!({"type": "json_schema", "name": "city", "schema": schema, "strict": false});
        let body = json!({"model": "codex-5", "input": input, "text": {"format": format}});
        let responses = gateway.client.post(&url).bearer_auth(KEY).json(&body);
        for request in [chat, responses] {
            let answer = request.send().await.unwrap();
            assert_eq!(answer.status(), status, "{}", answer.text().await.unwrap());
            let asked = provider.requests().pop().unwrap();
            assert_eq!(asked.body["text"]["format"], json!(null));
            let (role, said) = asked.conversation().pop().unwrap();
            assert_eq!(role, "developer");
            assert!(said.contains(&schema.to_string()), "{said}");
        }
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex"]
async fn reasoning_is_told_through_chat_and_responses() {
    let (gateway, provider) = real().await;
    let summary = json!({"reasoning": ["First this.", "Then that."], "text": ["So."]});
    let raw = json!({"raw_reasoning": "step by step", "text": ["So."]});
    for (answer, thought) in [
        (summary, "First this.\n\nThen that."),
        (raw, "step by step"),
    ] {
        for stream in [false, true] {
            let body = script(answer.clone(), stream);
            let response = gateway.chat(&body).send().await.unwrap();
            let told = if stream {
                let events = Events::of(response).rest().await;
                let thoughts = events.iter().filter_map(|event| match event {
                    Event::Data(data) => data["choices"][0]["delta"]["reasoning_content"].as_str(),
                    _ => None,
                });
                thoughts.collect()
            } else {
                let answer: Value = response.json().await.unwrap();
                let told = &answer["choices"][0]["message"]["reasoning_content"];
                told.as_str().unwrap_or_default().to_owned()
            };
            assert_eq!(told, thought, "chat, stream {stream}");

            let input = &body["messages"][0]["content"];
            let body = json!({"model": "codex-5", "input": input, "stream": stream, "reasoning": {"effort": "high"}});
            let url = format!("{}/v1/responses", gateway.origin);
            let request = gateway.client.post(url).bearer_auth(KEY).json(&body);
            let text = request.send().await.unwrap().text().await.unwrap();
            let last: Value = if stream {
                let (_, data) = text.trim_end().rsplit_once("data: ").unwrap();
                serde_json::from_str::<Value>(data).unwrap()["response"].clone()
            } else {
                serde_json::from_str(&text).unwrap()
            };
            let item = &last["output"][0];
            assert_eq!(item["type"], "reasoning", "{last}");
            let told = item["summary"][0]["text"].as_str().unwrap_or_default();
            assert_eq!(told, thought, "responses, stream {stream}: {item}");
            assert_eq!(last["output"][1]["content"][0]["text"], "So.");
            let asked = provider.requests().pop().unwrap().body;
            assert_eq!(asked["reasoning"]["effort"], "high");
        }
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex"]
async fn two_megabytes_of_history_and_a_huge_result_arrive_whole() {
    let (gateway, provider) = real().await;
    let line = "All work and no play makes Jack a dull boy. \u{1F600}\n";
    let part = line.repeat(20_000 / line.len());
    let mut messages = Vec::new();
    for turn in 0..52 {
        messages.push(json!({"role": "user", "content": format!("{turn}: {part}")}));
        messages.push(json!({"role": "assistant", "content": format!("{turn}. {part}")}));
    }
    let result: String = (0..60_000).map(|number| format!("{number:05}")).collect();
    assert_eq!(result.len(), 300_000);
    let call =
        json!({"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}});
    messages.push(json!({"role": "user", "content": "Read it."}));
    messages.push(json!({"role": "assistant", "content": null, "tool_calls": [call]}));
    messages.push(json!({"role": "tool", "tool_call_id": "call_1", "content": result}));
    let function = json!({"name": "f", "parameters": {"type": "object"}});
    let body = json!({"messages": messages, "tools": [{"type": "function", "function": function}]});
    assert!(body.to_string().len() > 2_000_000);
    let (text, finish) = told(&gateway, body, true).await;
    assert_eq!(
        (text.as_str(), finish.as_str()),
        ("Hello from the provider.", "stop")
    );
    assert_eq!(
        provider.requests().len(),
        1,
        "Codex did not shorten it first"
    );
    let asked = provider.requests().remove(0).conversation();
    assert_eq!(asked.len(), 2 * 52 + 3);
    for (turn, pair) in asked.chunks(2).take(52).enumerate() {
        assert_eq!(pair[0], ("user".to_owned(), format!("{turn}: {part}")));
        assert_eq!(pair[1], ("assistant".to_owned(), format!("{turn}. {part}")));
    }
    assert_eq!(
        asked.last(),
        Some(&("function_call_output".to_owned(), result))
    );
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex"]
async fn the_longest_message_there_may_be_costs_nobody_the_answer() {
    const LARGEST: usize = 60 << 20;
    let (setup, provider) = set_up("TEST_CODEX_BIN", "gpt-5.4").await;
    let setup = setup.var("PROXY_MAX_BODY_BYTES", &LARGEST.to_string());
    let gateway = setup.start().await;
    let slow = script(json!({"text": ["one ", "two"], "stall": 1}), true);
    let mut events = Events::of(gateway.chat(&slow).send().await.unwrap());
    assert!(events.next().await.is_some());
    provider.wait_for(|counts| counts.stalled == 1).await;

    let says = |text: String| json!({"messages": [{"role": "user", "content": text}]});
    let frame = says(String::new()).to_string().len();
    let (status, answer) = ask(&gateway, &says("x".repeat(LARGEST - frame))).await;
    assert_eq!(status, 200, "{answer}");

    provider.release();
    let events = events.rest().await;
    assert!(sse::text(&events).ends_with("two"), "{events:?}");
    assert_eq!(finishes(&events), ["stop"]);
    assert_eq!(gateway.backend.status().restarts, 0);
    gateway.stop().await;
}
