//! Conversations as Obsidian Copilot has them, from `fixtures/obsidian`: the prompts that reach the model, and the answers,
//! streamed and not.

use std::collections::BTreeMap;
use std::path::Path;

use codex_gateway_tests::gateway::{Gateway, Setup};
use codex_gateway_tests::sse::{self, Event, Events, finishes};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{fake, journal};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Conversation {
    what: String,
    #[serde(default)]
    vars: BTreeMap<String, String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    request: Value,
    /// Texts that are sent to the model, in this order.
    prompt: Vec<String>,
    /// Texts that are not sent to the model.
    #[serde(default)]
    absent: Vec<String>,
    /// The model's answer: a script for the fake.
    model: Value,
    answer: Answer,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    content: String,
    finish: String,
    /// Names and arguments of calls.
    #[serde(default)]
    calls: Vec<(String, String)>,
}

fn conversations() -> Vec<(String, Conversation)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/obsidian");
    let mut all: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            let read = serde_json::from_str(&text);
            (
                name.clone(),
                read.unwrap_or_else(|error| panic!("{name}: {error}")),
            )
        })
        .collect();
    all.sort_by(|(one, _), (other, _)| one.cmp(other));
    all
}

async fn whole(gateway: &Gateway, conversation: &Conversation) -> Answer {
    let response = send(gateway, conversation, false).await;
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["model"], conversation.request["model"]);
    let choice = &body["choices"][0];
    let calls = choice["message"]["tool_calls"].as_array();
    let calls = calls.into_iter().flatten().map(|call| {
        let text = |member: &str| call["function"][member].as_str().unwrap().to_owned();
        (text("name"), text("arguments"))
    });
    Answer {
        content: choice["message"]["content"]
            .as_str()
            .unwrap_or_default()
            .to_owned(),
        finish: choice["finish_reason"].as_str().unwrap().to_owned(),
        calls: calls.collect(),
    }
}

async fn streamed(gateway: &Gateway, conversation: &Conversation) -> Answer {
    let events = Events::of(send(gateway, conversation, true).await)
        .rest()
        .await;
    assert_eq!(events.last(), Some(&Event::Done));
    let deltas = events.iter().filter_map(|event| match event {
        Event::Data(data) => data["choices"][0]["delta"]["tool_calls"].as_array(),
        _ => None,
    });
    let mut calls = BTreeMap::<u64, (String, String)>::new();
    for call in deltas.flatten() {
        let (name, arguments) = calls.entry(call["index"].as_u64().unwrap()).or_default();
        name.push_str(call["function"]["name"].as_str().unwrap_or_default());
        arguments.push_str(call["function"]["arguments"].as_str().unwrap_or_default());
    }
    Answer {
        content: sse::text(&events),
        finish: finishes(&events).join("+"),
        calls: calls.into_values().collect(),
    }
}

async fn send(gateway: &Gateway, conversation: &Conversation, stream: bool) -> reqwest::Response {
    let mut body = conversation.request.clone();
    body["stream"] = json!(stream);
    let mut request = gateway
        .chat(&body)
        .header("user-agent", "Mozilla/5.0 obsidian/1.9.10 Electron/37.3.1")
        .header("origin", "app://obsidian.md");
    for (name, value) in &conversation.headers {
        request = request.header(name, value);
    }
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 200);
    response
}

#[tokio::test(flavor = "multi_thread")]
async fn every_conversation_goes_as_written() {
    let all = conversations();
    assert!(all.len() >= 9);
    for (name, conversation) in all {
        let case = format!("{name}: {}", conversation.what);
        let setup = fake();
        let script = conversation.model.to_string();
        std::fs::write(setup.home().join("fake-turn.json"), script).unwrap();
        let with = |setup: Setup, (name, value): (&String, &String)| setup.var(name, value);
        let gateway = conversation.vars.iter().fold(setup, with).start().await;

        assert_eq!(
            whole(&gateway, &conversation).await,
            conversation.answer,
            "{case}"
        );
        assert_eq!(
            streamed(&gateway, &conversation).await,
            conversation.answer,
            "{case}, streamed"
        );

        let journal = journal::text(&gateway);
        let mut rest = journal.as_str();
        for text in &conversation.prompt {
            let quoted = json!(text).to_string();
            let found = rest.split_once(quoted.trim_matches('"'));
            (_, rest) = found.unwrap_or_else(|| panic!("{case}: `{text}` did not reach the model"));
        }
        for text in &conversation.absent {
            assert!(
                !journal.contains(text.as_str()),
                "{case}: `{text}` reached the model"
            );
        }
        gateway.stop().await;
    }
}
