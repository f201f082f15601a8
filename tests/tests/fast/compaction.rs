//! Conversations that are compacted, and go on with their summary.

use codex_gateway_tests::gateway::{Gateway, KEY};
use serde_json::{Value, json};

use crate::{fake, journal};

async fn post(gateway: &Gateway, path: &str, body: &Value) -> (u16, Value) {
    let url = format!("{}/v1/responses{path}", gateway.origin);
    let request = gateway.client.post(url).bearer_auth(KEY).json(body);
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

fn user(text: &str) -> Value {
    json!({"type": "message", "role": "user", "content": text})
}

/// The texts of a conversation's user messages, and the types of its other items.
fn told(output: &Value) -> Vec<&str> {
    let items = output.as_array().unwrap().iter();
    items
        .map(|item| match item["type"].as_str().unwrap() {
            "message" => item["content"][0]["text"].as_str().unwrap(),
            kind => kind,
        })
        .collect()
}

/// The requests of this method that the fake got.
fn asked(gateway: &Gateway, method: &str) -> Vec<String> {
    let journal = journal::text(gateway);
    let named = format!("\"{method}\"");
    let lines = journal.lines().filter(|line| line.contains(&named));
    lines.map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compacted_conversation_goes_on_with_its_summary() {
    let gateway = fake().start().await;
    let tool = json!({"type": "function", "name": "look"});
    let mut input = vec![
        user("Build a bridge."),
        json!({"role": "assistant", "content": "Of stone?"}),
        json!({"type": "function_call", "call_id": "c", "name": "look", "arguments": "{}"}),
        json!({"type": "function_call_output", "call_id": "c", "output": "a river"}),
        user("Of wood."),
    ];
    let body =
        json!({"model": "codex-5", "input": input, "instructions": "Obey.", "tools": [tool]});
    let (status, compacted) = post(&gateway, "/compact", &body).await;
    assert_eq!(status, 200, "{compacted}");
    assert_eq!(compacted["object"], "response.compaction");
    assert_eq!(compacted["usage"]["total_tokens"], 150);
    let output = &compacted["output"];
    assert_eq!(told(output), ["Build a bridge.", "Of wood.", "compaction"]);
    let prompts = asked(&gateway, "thread/inject_items");
    let prompt = prompts.last().unwrap();
    for said in ["Obey.", "a river", "CONTEXT CHECKPOINT COMPACTION"] {
        assert!(prompt.contains(said), "{prompt}");
    }
    let threads = asked(&gateway, "thread/start");
    assert!(
        !threads.last().unwrap().contains("look"),
        "no tools are offered"
    );

    input = output.as_array().unwrap().clone();
    input.push(user("Go on."));
    let (status, next) = post(&gateway, "", &json!({"input": input})).await;
    assert_eq!(status, 200, "{next}");
    let prompts = asked(&gateway, "thread/inject_items");
    let prompt = prompts.last().unwrap();
    for said in [
        "Of wood.",
        "Here is the summary produced by",
        "Hello from fake Codex.",
    ] {
        assert!(prompt.contains(said), "{prompt}");
    }
    assert!(!prompt.contains("a river"), "it is in the summary");

    let body = json!({"model": "codex-5", "input": "Further.", "previous_response_id": next["id"]});
    let (_, again) = post(&gateway, "/compact", &body).await;
    let expected = [
        "Build a bridge.",
        "Of wood.",
        "Go on.",
        "Further.",
        "compaction",
    ];
    assert_eq!(
        told(&again["output"]),
        expected,
        "the summary is in the next one"
    );
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_latest_messages_are_retained_as_far_as_they_fit() {
    let gateway = fake().start().await;
    let long = "x".repeat(50_000);
    let input = json!([user("first"), user(&long), user(&long), user("last")]);
    let (_, compacted) = post(
        &gateway,
        "/compact",
        &json!({"model": "codex-5", "input": input}),
    )
    .await;
    assert_eq!(told(&compacted["output"]), [&long, "last", "compaction"]);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_compacted_or_unfolded_is_refused_by_name() {
    let gateway = fake().start().await;
    let item = |content: &str| json!([{"type": "compaction", "encrypted_content": content}]);
    for (path, body, param) in [
        ("/compact", json!({"input": "hi"}), "model"),
        ("/compact", json!({"model": "codex-5"}), "input"),
        (
            "",
            json!({"input": item("gAAAAABoMadeByAnother")}),
            "input[0].encrypted_content",
        ),
        (
            "",
            json!({"input": item("cgw1_!")}),
            "input[0].encrypted_content",
        ),
        (
            "",
            json!({"input": [{"type": "compaction"}]}),
            "input[0].encrypted_content",
        ),
    ] {
        let (status, error) = post(&gateway, path, &body).await;
        assert_eq!(
            (status, &error["error"]["param"]),
            (400, &json!(param)),
            "{error}"
        );
    }
    gateway.stop().await;
}
