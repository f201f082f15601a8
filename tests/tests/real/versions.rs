//! Other versions of Codex that the gateway serves with: a short form of the suites for the tested one. `TEST_CODEX_OTHERS` has
//! their paths, with colons between them.

use codex_gateway_tests::gateway::Gateway;
use codex_gateway_tests::provider::Provider;
use codex_gateway_tests::real::{ask, assert_answers_whole_and_streamed, set_up_at, variable};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs other versions of the real Codex"]
async fn other_versions_answer_call_and_go_on() {
    let programs = variable("TEST_CODEX_OTHERS");
    for program in programs.split(':') {
        let (setup, provider) = set_up_at(program, "gpt-5.4").await;
        let gateway = setup.start().await;
        let version = gateway.backend.status().version;
        println!("codex {version}");
        assert_answers_whole_and_streamed(&gateway).await;

        provider.forget();
        let call = json!({"name": "get_weather", "arguments": "{\"city\": \"Paris\"}"});
        let text = json!({"provider": {"text": [], "calls": [call], "then": {"text": ["Warm."]}}});
        let function =
            json!({"name": "get_weather", "parameters": {"type": "object", "properties": {}}});
        let mut body = json!({
            "messages": [{"role": "user", "content": text.to_string()}],
            "tools": [{"type": "function", "function": function}],
        });
        let (status, answer) = ask(&gateway, &body).await;
        assert_eq!(status, 200, "{version}: {answer}");
        let message = answer["choices"][0]["message"].clone();
        let called = &message["tool_calls"][0];
        assert_eq!(
            called["function"]["arguments"], call["arguments"],
            "{version}"
        );
        let output = json!({"role": "tool", "tool_call_id": called["id"], "content": "18 degrees"});
        body["messages"]
            .as_array_mut()
            .unwrap()
            .extend([message, output]);
        let (status, answer) = ask(&gateway, &body).await;
        assert_eq!(status, 200, "{version}: {answer}");
        assert_eq!(
            answer["choices"][0]["message"]["content"], "Warm.",
            "{version}"
        );

        let requests = provider.requests();
        let [first, second] = &requests[..] else {
            panic!("{version} asked {} times", requests.len())
        };
        assert_eq!(first.tools(), ["get_weather"], "{version}");
        let key = |body: &Value| body["prompt_cache_key"].clone();
        assert_eq!(key(&first.body), key(&second.body), "{version}");
        assert_eq!(second.outputs(), ["18 degrees"], "{version}");

        provider.forget();
        assert_key_outlives_the_child(&gateway, &provider).await;
        gateway.stop().await;
    }
}

/// The second turn of a conversation, after its child was killed.
async fn assert_key_outlives_the_child(gateway: &Gateway, provider: &Provider) {
    let mut body = json!({"messages": [{"role": "user", "content": "one"}]});
    let (status, answer) = ask(gateway, &body).await;
    assert_eq!(status, 200, "{answer}");
    gateway.lose_worker().await;
    let next = [
        answer["choices"][0]["message"].clone(),
        json!({"role": "user", "content": "two"}),
    ];
    body["messages"].as_array_mut().unwrap().extend(next);
    let (status, answer) = ask(gateway, &body).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["usage"]["prompt_tokens"], 120, "{answer}");
    let requests = provider.requests();
    let [first, second] = &requests[..] else {
        panic!("asked {} times", requests.len())
    };
    let key = "prompt_cache_key";
    assert_eq!(first.body[key], second.body[key]);
    assert_eq!(first.tools(), second.tools());
}
