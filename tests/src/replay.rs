//! Exchanges recorded from the gateway's predecessor, to be replayed: the requests and their answers.

pub mod facts;
pub mod table;

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

/// Cases to replay on one gateway, in this order.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// The environment of the predecessor, except for variables that are unknown today.
    pub vars: std::collections::BTreeMap<String, String>,
    /// The fake Codex's `Script`, equal to the predecessor's fake.
    pub turn: Value,
    /// Faults at the start of the fake Codex (a `StartFault`).
    #[serde(default)]
    pub start: Value,
    /// The exchanges.
    pub cases: Vec<Case>,
}

/// One exchange.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// The age of the predecessor, and a name.
    pub name: String,
    /// The behaviour the exchange was recorded for.
    pub does: String,
    /// The listener the request is sent to.
    #[serde(default)]
    pub door: Door,
    /// The number of streams open at the same time.
    #[serde(default)]
    pub held: usize,
    /// The number of requests answered before.
    #[serde(default)]
    pub first: usize,
    /// The request that was sent.
    pub request: Request,
    /// The answer that came back.
    pub answer: Answer,
}

/// A listener.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Door {
    /// The main listener.
    #[default]
    Main,
    /// The listener of `AUTH_PORT`.
    Auth,
}

/// A request as it was sent. Two changes: tool calls have the tools added that a model needs today, and forward
/// authentication has the headers that edge proxies send.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The method, for example `POST`.
    pub method: String,
    /// The path with its query.
    pub path: String,
    /// The headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// A text, or `{"prompt_of": n}`: a chat request with a prompt of this many letters.
    #[serde(default)]
    pub body: Value,
}

/// An answer as it came back.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The headers that are compared, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body as text.
    pub body: String,
}

/// All recorded groups.
///
/// # Panics
/// If a file cannot be read or parsed.
#[must_use]
pub fn groups() -> Vec<Group> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/replay");
    let files = ["2025-09.json", "2026-01.json"];
    let read = |file: &str| -> Vec<Group> {
        let text = std::fs::read_to_string(folder.join(file)).expect(file);
        serde_json::from_str(&text).expect(file)
    };
    files.into_iter().flat_map(read).collect()
}

impl Request {
    /// The body to send.
    ///
    /// # Panics
    /// If the body is neither a text nor a length.
    #[must_use]
    pub fn bytes(&self) -> Option<String> {
        match &self.body {
            Value::Null => None,
            Value::String(text) => Some(text.clone()),
            other => {
                let letters = usize::try_from(other["prompt_of"].as_u64().expect("a length"));
                let prompt = "a".repeat(letters.expect("not too many"));
                let said = serde_json::json!({"role": "user", "content": prompt});
                Some(serde_json::json!({"model": "codex-5", "messages": [said]}).to_string())
            }
        }
    }
}
