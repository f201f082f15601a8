//! A client's functions on the real Codex: the client gets the model's calls unchanged, and the model gets the functions'
//! results.

use codex_gateway_tests::gateway::{Gateway, KEY};
use codex_gateway_tests::provider::{Provider, Recorded};
use codex_gateway_tests::real::{ask, real, script};
use codex_gateway_tests::sse::{Event, Events, finishes, text};
use serde_json::{Value, json};

fn tool(name: &str) -> Value {
    let parameters = json!({"type": "object", "properties": {"city": {"type": "string"}}});
    json!({"type": "function", "function": {"name": name, "description": "Tells it.", "parameters": parameters}})
}

fn with_tools(answer: Value, stream: bool, names: &[&str]) -> Value {
    let mut body = script(answer, stream);
    body["tools"] = names.iter().copied().map(tool).collect();
    body
}

/// The assistant's message and the finish reason, streamed or not.
async fn told(gateway: &Gateway, body: &Value) -> (Value, String) {
    if body["stream"] == true {
        let response = gateway.chat(body).send().await.unwrap();
        assert_eq!(response.status(), 200);
        return put_together(&Events::of(response).rest().await);
    }
    let (status, answer) = ask(gateway, body).await;
    assert_eq!(status, 200, "{answer}");
    let choice = &answer["choices"][0];
    let reason = choice["finish_reason"].as_str().unwrap_or_default();
    (choice["message"].clone(), reason.to_owned())
}

fn put_together(events: &[Event]) -> (Value, String) {
    let mut calls: Vec<Value> = Vec::new();
    for event in events {
        let Event::Data(data) = event else { continue };
        for fragment in data["choices"][0]["delta"]["tool_calls"]
            .as_array()
            .into_iter()
            .flatten()
        {
            let at = usize::try_from(fragment["index"].as_u64().unwrap()).unwrap();
            if at == calls.len() {
                let (id, name) = (&fragment["id"], &fragment["function"]["name"]);
                calls.push(json!({"id": id, "type": "function", "function": {"name": name, "arguments": ""}}));
            }
            let arguments = &mut calls[at]["function"]["arguments"];
            let more = fragment["function"]["arguments"].as_str().unwrap();
            *arguments = json!(arguments.as_str().unwrap().to_owned() + more);
        }
    }
    let message = json!({"role": "assistant", "content": text(events), "tool_calls": calls});
    (message, finishes(events).concat())
}

/// The name and arguments of each call.
fn calls(message: &Value) -> Vec<(&str, &str)> {
    let calls = message["tool_calls"].as_array().into_iter().flatten();
    calls
        .map(|call| {
            let function = &call["function"];
            let word = |name: &str| function[name].as_str().unwrap();
            (word("name"), word("arguments"))
        })
        .collect()
}

/// The next request, with `message` and the results of its calls, in the order of the calls.
fn after(mut body: Value, message: Value, results: &[&str]) -> Value {
    let messages = body["messages"].as_array_mut().unwrap();
    let ids: Vec<Value> = message["tool_calls"]
        .as_array()
        .unwrap()
        .iter()
        .map(|call| call["id"].clone())
        .collect();
    assert_eq!(ids.len(), results.len());
    messages.push(message);
    for (id, content) in ids.iter().zip(results) {
        messages.push(json!({"role": "tool", "tool_call_id": id, "content": content}));
    }
    body
}

/// Call id, name and arguments of every call, and call id and text of every result, in a request to the provider.
fn exchanged(asked: &Recorded) -> (Vec<[Value; 3]>, Vec<[Value; 2]>) {
    let items = asked.body["input"].as_array().unwrap();
    let of = |kind: &'static str| items.iter().filter(move |item| item["type"] == kind);
    let calls = of("function_call")
        .map(|item| ["call_id", "name", "arguments"].map(|name| item[name].clone()));
    let results =
        of("function_call_output").map(|item| ["call_id", "output"].map(|name| item[name].clone()));
    (calls.collect(), results.collect())
}

fn last(provider: &Provider) -> Recorded {
    provider.requests().pop().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex"]
async fn one_call_or_several_and_their_results_make_the_round_trip() {
    let (gateway, provider) = real().await;
    let paris = ("get_weather", "{\"city\":  \"Paris\"}");
    let rome = ("get_time", "{\"city\":\"R\\u00f4me\"}");
    for stream in [false, true] {
        for (text, made) in [
            ("", vec![paris]),
            ("Let me look.", vec![paris, rome, paris]),
        ] {
            let scripted: Vec<Value> = made
                .iter()
                .map(|(name, arguments)| json!({"name": name, "arguments": arguments}))
                .collect();
            let answer = json!({
                "text": [text], "calls": scripted, "then": {"text": ["Rome ", "is warmer."]},
            });
            let body = with_tools(answer, stream, &["get_weather", "get_time"]);
            let (message, finish) = told(&gateway, &body).await;
            assert_eq!(finish, "tool_calls");
            assert_eq!(calls(&message), made, "exactly as the model wrote them");
            assert_eq!(message["content"].as_str().unwrap_or_default(), text);
            assert_eq!(last(&provider).tools(), ["get_weather", "get_time"]);

            let results: Vec<&str> = ["18 degrees", "noon \u{2600}", ""][..made.len()].to_vec();
            let (answer, finish) = told(&gateway, &after(body, message.clone(), &results)).await;
            assert_eq!(
                (answer["content"].as_str(), finish.as_str()),
                (Some("Rome is warmer."), "stop")
            );
            assert_eq!(calls(&answer), []);
            let (made_upstream, results_upstream) = exchanged(&last(&provider));
            for (at, (name, arguments)) in made.iter().enumerate() {
                // The model's own id where the conversation goes on in its thread, else one of the gateway's.
                let id = made_upstream[at][0].clone();
                assert!(id.as_str().unwrap().starts_with("call_"), "{id}");
                let expected = [id.clone(), json!(name), json!(arguments)];
                assert_eq!(made_upstream[at], expected);
                assert_eq!(results_upstream[at], [id, json!(results[at])]);
            }
        }
    }
    // A call ends its turn in Codex, which does not wait for the result.
    gateway.idle().await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex"]
async fn arguments_that_are_no_json_and_functions_nobody_offered_are_the_clients_to_judge() {
    let (gateway, provider) = real().await;
    for stream in [false, true] {
        let made = [
            ("get_weather", "{\"city\": \"Par"),
            ("get_weather", "[1,]"),
            ("no_such_function", "{\"a\": 1}"),
        ];
        let scripted: Vec<Value> = made
            .iter()
            .map(|(name, arguments)| json!({"name": name, "arguments": arguments}))
            .collect();
        let answer = json!({"calls": scripted, "then": {"text": ["I see."]}});
        let body = with_tools(answer, stream, &["get_weather"]);
        let (message, finish) = told(&gateway, &body).await;
        assert_eq!(
            (calls(&message).as_slice(), finish.as_str()),
            (&made[..], "tool_calls")
        );
        // Codex itself tells the model what is wrong with such calls, and may have asked it again before the interrupt. The
        // answer to that is not used.
        let results = ["not JSON", "not an object", "there is no such function"];
        let (answer, _) = told(&gateway, &after(body, message, &results)).await;
        assert_eq!(answer["content"], "I see.");
        let (made_upstream, results_upstream) = exchanged(&last(&provider));
        assert_eq!((made_upstream.len(), results_upstream.len()), (3, 3));
        assert_eq!(made_upstream[0][2], "{\"city\": \"Par");
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex"]
async fn the_old_functions_are_called_in_their_old_form() {
    let (gateway, provider) = real().await;
    for stream in [false, true] {
        let call = json!({"name": "get_weather", "arguments": "{\"city\": \"Paris\"}"});
        let answer = json!({"calls": [call], "then": {"text": ["18."]}});
        let mut body = script(answer, stream);
        body["functions"] = json!([tool("get_weather")["function"]]);
        let message = if stream {
            let events = Events::of(gateway.chat(&body).send().await.unwrap())
                .rest()
                .await;
            assert_eq!(finishes(&events), ["function_call"]);
            let fragments = events.iter().filter_map(|event| match event {
                Event::Data(data) => data["choices"][0]["delta"].get("function_call"),
                _ => None,
            });
            let joined = |name: &str| -> String {
                fragments
                    .clone()
                    .filter_map(|fragment| fragment[name].as_str())
                    .collect()
            };
            let call = json!({"name": joined("name"), "arguments": joined("arguments")});
            json!({"role": "assistant", "content": null, "function_call": call})
        } else {
            let (_, answer) = ask(&gateway, &body).await;
            assert_eq!(answer["choices"][0]["finish_reason"], "function_call");
            answer["choices"][0]["message"].clone()
        };
        let made = json!({"name": "get_weather", "arguments": "{\"city\": \"Paris\"}"});
        assert_eq!(message["function_call"], made);
        let messages = body["messages"].as_array_mut().unwrap();
        messages.push(message);
        messages.push(json!({"role": "function", "name": "get_weather", "content": "18 degrees"}));
        let (answer, finish) = told(&gateway, &body).await;
        assert_eq!(
            (&answer["content"], finish.as_str()),
            (&json!("18."), "stop")
        );
        let (calls, results) = exchanged(&last(&provider));
        assert_eq!(calls[0][0], results[0][0], "the result is that call's");
        assert_eq!(results[0][1], "18 degrees");
    }
    gateway.stop().await;
}

/// Sends a responses request whose input is `items` and a last message; its status and answer.
async fn respond(gateway: &Gateway, items: &[Value]) -> (u16, Value) {
    let last = json!({"role": "user", "content": "And now?"});
    let input: Vec<&Value> = items.iter().chain([&last]).collect();
    let url = format!("{}/v1/responses", gateway.origin);
    let body = json!({"model": "codex-5", "input": input});
    let request = gateway.client.post(url).bearer_auth(KEY).json(&body);
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex"]
async fn any_ids_of_calls_reach_the_provider_as_short_ones_that_differ() {
    let (gateway, provider) = real().await;
    let (one, other) = ("a".repeat(64) + "1", "a".repeat(64) + "2");
    let call = |id: &str| json!({"id": id, "type": "function", "function": {"name": "get", "arguments": "{}"}});
    let output =
        |id: &str, words: &str| json!({"role": "tool", "tool_call_id": id, "content": words});
    let messages = json!([
        {"role": "user", "content": "Well?"},
        {"role": "assistant", "tool_calls": [call(&one), call(&other)]},
        output(&one, "first"),
        output(&other, "second"),
        {"role": "assistant", "tool_calls": [call(&one)]},
        output(&one, "third"),
    ]);
    let (status, answer) = ask(&gateway, &json!({"messages": messages})).await;
    assert_eq!(status, 200, "{answer}");
    let chat = exchanged(&last(&provider));
    let made = |id: &str| json!({"type": "function_call", "call_id": id, "name": "get", "arguments": "{}"});
    let told = |id: &str, words: &str| json!({"type": "function_call_output", "call_id": id, "output": words});
    let (status, answer) = respond(
        &gateway,
        &[
            made(&one),
            made(&other),
            told(&one, "first"),
            told(&other, "second"),
            made(&one),
            told(&one, "third"),
        ],
    )
    .await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(exchanged(&last(&provider)), chat);
    let (calls, results) = chat;
    let ids = ["call_past_1", "call_past_2", "call_past_3"];
    for (at, words) in ["first", "second", "third"].into_iter().enumerate() {
        assert_eq!(calls[at][0], ids[at]);
        assert_eq!(results[at], [json!(ids[at]), json!(words)]);
    }
    assert_eq!((calls.len(), results.len()), (3, 3));
    gateway.stop().await;
}
