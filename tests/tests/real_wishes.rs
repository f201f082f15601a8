//! How the model is to work, as the client asks for it and as it arrives upstream of the real Codex.

use codex_gateway_tests::gateway::Gateway;
use codex_gateway_tests::provider::Provider;
use codex_gateway_tests::real::{ask, real};
use serde_json::{Value, json};

/// The operator's, which Codex does not list, one that it lists, and one that it lists with a tier of its own.
const MODELS: [&str; 3] = ["codex-5", "gpt-5.5", "gpt-6-sol"];

/// What is sent upstream for a chat request with these members.
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
