//! Conversations that begin alike on the real Codex: they have one key of the provider's cache.

use codex_gateway_tests::gateway::KEY;
use codex_gateway_tests::operator::keys as keys_of;
use codex_gateway_tests::real::{ask, real, set_up};
use serde_json::{Value, json};

use super::conversations::{keys, post};

fn question(instructions: &str, text: &str) -> Value {
    let messages = json!([
        {"role": "system", "content": instructions}, {"role": "user", "content": text},
    ]);
    json!({"model": "codex-5", "messages": messages})
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex"]
async fn long_instructions_have_one_key_and_short_ones_do_not() {
    let (gateway, provider) = real().await;
    let long = "Be terse. ".repeat(500);
    for (instructions, text) in [
        (long.as_str(), "one"),
        (&long, "two"),
        ("Be terse.", "one"),
        ("Be terse.", "two"),
        (&long, "three"),
    ] {
        let (status, answer) = ask(&gateway, &question(instructions, text)).await;
        assert_eq!(status, 200, "{answer}");
        assert_eq!(
            answer["choices"][0]["message"]["content"],
            "Hello from the provider."
        );
    }
    assert_eq!(keys(&provider), [0, 0, 1, 2, 0]);
    let requests = provider.requests();
    assert_eq!(requests[4].conversation().len(), 2, "nothing of the others");
    assert_eq!(requests[4].tools(), requests[2].tools());
    let sessions = gateway.home().join("sessions");
    assert!(!sessions.exists(), "nothing is stored");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex"]
async fn a_clients_key_is_one_key_in_chat_and_responses_for_fifteen_requests_a_minute() {
    let (gateway, provider) = real().await;
    let mut body = question("Be terse.", "one");
    body["prompt_cache_key"] = json!("ours");
    for _ in 0..16 {
        let (status, answer) = ask(&gateway, &body).await;
        assert_eq!(status, 200, "{answer}");
    }
    let response = json!({"model": "codex-5", "input": "one", "prompt_cache_key": "ours"});
    let response = post(&gateway, "responses", KEY, &response);
    let response: Value = response.send().await.unwrap().json().await.unwrap();
    assert_eq!(response["prompt_cache_key"], "ours");
    body["prompt_cache_key"] = json!("another");
    ask(&gateway, &body).await;
    let expected = [[0; 15].as_slice(), &[1, 1, 2]].concat();
    assert_eq!(keys(&provider), expected);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex"]
async fn two_callers_with_one_key_have_two() {
    let (setup, provider) = set_up("TEST_CODEX_BIN", "gpt-5.4").await;
    let callers = ["alice", "bob"];
    let settings = keys_of(&callers);
    let gateway = setup.policy("auth.json", settings.as_bytes()).start().await;
    let mut body = question("Be terse.", "one");
    body["prompt_cache_key"] = json!("ours");
    for secret in [callers[0], callers[1], callers[0]] {
        let answer = post(&gateway, "chat/completions", secret, &body).send();
        assert_eq!(answer.await.unwrap().status(), 200);
    }
    assert_eq!(keys(&provider), [0, 1, 0]);
    gateway.stop().await;
}
