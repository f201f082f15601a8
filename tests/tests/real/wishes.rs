//! Settings for the model's work in a client's request, as they arrive at the provider of the real Codex.

use codex_gateway_tests::gateway::{Gateway, KEY};
use codex_gateway_tests::provider::Provider;
use codex_gateway_tests::real::{ask, on_provider, real};
use serde_json::{Value, json};

/// The operator's model, which Codex does not list, one that it lists, and one that it lists with a tier of its own.
const MODELS: [&str; 3] = ["codex-5", "gpt-5.5", "gpt-6-sol"];

/// The request to the provider for a chat request with these members.
async fn sent(gateway: &Gateway, provider: &Provider, model: &str, wishes: &Value) -> Value {
    let mut body = json!({"model": model, "messages": [{"role": "user", "content": "hi"}]});
    let wishes = wishes.as_object().unwrap().clone();
    body.as_object_mut().unwrap().extend(wishes);
    let (status, answer) = ask(gateway, &body).await;
    assert_eq!(status, 200, "{answer}");
    provider.requests().pop().unwrap().body
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex"]
async fn verbosity_and_service_tier_are_the_clients_for_every_model() {
    let (gateway, provider) = real().await;
    for model in MODELS {
        for (wishes, verbosity, tier) in [
            (json!({}), json!(null), json!(null)),
            (json!({"verbosity": "low"}), json!("low"), json!(null)),
            (json!({"verbosity": "high"}), json!("high"), json!(null)),
            (
                json!({"service_tier": "priority"}),
                json!(null),
                json!("priority"),
            ),
            (json!({"service_tier": "flex"}), json!(null), json!("flex")),
            (json!({"service_tier": "default"}), json!(null), json!(null)),
        ] {
            let body = sent(&gateway, &provider, model, &wishes).await;
            let found = (&body["text"]["verbosity"], &body["service_tier"]);
            assert_eq!(found, (&verbosity, &tier), "{model}, {wishes}");
        }
    }
    gateway.stop().await;
}

/// Asserts that a responses request with this `reasoning` sends this `reasoning.summary` upstream, and returns its own.
async fn assert_summaries(gateway: &Gateway, provider: &Provider) {
    for (reasoning, summary) in [
        (json!(null), json!("auto")),
        (json!({"summary": "auto"}), json!("auto")),
        (json!({"summary": "concise"}), json!("concise")),
        (json!({"summary": "detailed"}), json!("detailed")),
        (json!({"generate_summary": "detailed"}), json!("detailed")),
    ] {
        let body = json!({"model": "codex-5-low", "input": "hi", "reasoning": reasoning});
        let url = format!("{}/v1/responses", gateway.origin);
        let request = gateway.client.post(url).bearer_auth(KEY).json(&body);
        let answer: Value = request.send().await.unwrap().json().await.unwrap();
        assert_eq!(answer["status"], "completed", "{answer}");
        let told = reasoning.get("generate_summary");
        let told = told.or(reasoning.get("summary")).unwrap_or(&Value::Null);
        assert_eq!(&answer["reasoning"]["summary"], told, "{reasoning}");
        let sent = provider.requests().pop().unwrap().body;
        assert_eq!(sent["reasoning"]["summary"], summary, "{reasoning}");
        assert_eq!(sent["reasoning"]["effort"], "low");
    }
    let body = json!({"model": "codex-5-low", "messages": [{"role": "user", "content": "hi"}]});
    assert_eq!(ask(gateway, &body).await.0, 200);
    let sent = provider.requests().pop().unwrap().body;
    assert_eq!(sent["reasoning"]["summary"], "auto", "chat");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex"]
async fn reasoning_is_summarised_as_the_client_asks() {
    let (gateway, provider) = real().await;
    assert_summaries(&gateway, &provider).await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex 0.42"]
async fn reasoning_is_summarised_as_the_client_asks_by_proto_too() {
    let (gateway, provider) = on_provider("TEST_CODEX_PROTO_BIN", "gpt-5").await;
    assert_summaries(&gateway, &provider).await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex"]
async fn no_reasoning_is_passed_on_for_every_model() {
    let (gateway, provider) = real().await;
    for model in MODELS {
        let wishes = json!({"reasoning_effort": "none"});
        let body = sent(&gateway, &provider, model, &wishes).await;
        assert_eq!(body["reasoning"]["effort"], "none", "{model}");
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex"]
async fn a_function_without_parameters_takes_an_object() {
    let (gateway, provider) = real().await;
    let members = json!({"a": {"type": "string"}});
    for (schema, properties) in [
        (json!({}), json!({})),
        (json!(null), json!({})),
        (json!({"type": "object"}), json!({})),
        (json!({"properties": members}), members.clone()),
        (json!({"description": "nothing"}), json!({})),
        (json!({"additionalProperties": false}), json!({})),
    ] {
        let function = json!({"name": "f", "parameters": schema, "strict": true});
        let wishes = json!({"tools": [{"type": "function", "function": function}]});
        let body = sent(&gateway, &provider, "codex-5", &wishes).await;
        let tool = &body["tools"][0];
        let found = (
            &tool["parameters"]["type"],
            &tool["parameters"]["properties"],
        );
        assert_eq!(found, (&json!("object"), &properties), "{schema}: {tool}");
        assert_eq!(tool["strict"], false, "Codex has no such setting");
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex"]
async fn the_author_of_a_message_is_told_to_the_model() {
    let (gateway, provider) = real().await;
    let messages = json!([
        {"role": "user", "name": "Ann", "content": "hi"},
        {"role": "assistant", "name": "Bot", "content": "hello"},
        {"role": "user", "name": "Bob", "content": [{"type": "text", "text": "me too"}]},
    ]);
    let (status, answer) = ask(&gateway, &json!({"messages": messages})).await;
    assert_eq!(status, 200, "{answer}");
    let told = provider.requests().pop().unwrap().conversation();
    let told: Vec<&str> = told.iter().map(|(_, text)| text.as_str()).collect();
    assert_eq!(told, ["Ann: hi", "Bot: hello", "Bob: me too"]);
    gateway.stop().await;
}
