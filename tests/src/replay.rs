//! Answers recorded of the gateway's predecessor, to be asked for again: what was sent, and what came back.

pub mod facts;
pub mod table;

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

/// Cases that one gateway can be asked in this order.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// The environment of the predecessor, as far as it is understood today.
    pub vars: std::collections::BTreeMap<String, String>,
    /// What the fake Codex answers (a `Script`), as the predecessor's fake did.
    pub turn: Value,
    /// What goes wrong when the fake Codex starts (a `StartFault`).
    #[serde(default)]
    pub start: Value,
    /// One exchange each.
    pub cases: Vec<Case>,
}

/// One exchange.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// The predecessor's age, and a name.
    pub name: String,
    /// What it was recorded for.
    pub does: String,
    /// Where it is asked.
    #[serde(default)]
    pub door: Door,
    /// So many streams are open meanwhile.
    #[serde(default)]
    pub held: usize,
    /// So many requests were answered before.
    #[serde(default)]
    pub first: usize,
    /// What is sent.
    pub request: Request,
    /// What came back.
    pub answer: Answer,
}

/// A listener.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Door {
    /// The gateway's own.
    #[default]
    Main,
    /// That of `AUTH_PORT`.
    Auth,
}

/// As it was sent; tool calls have the tools added that a model of today must be offered, and questions of edge
/// proxies the headers that they send.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// For example `POST`.
    pub method: String,
    /// With its query.
    pub path: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// Text, or `{"prompt_of": n}`: a chat request of so many letters.
    #[serde(default)]
    pub body: Value,
}

/// As it came.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// Those that are compared, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Text.
    pub body: String,
}

/// All that was recorded.
///
/// # Panics
/// If the files are not as they should be.
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
    /// What is to be sent.
    ///
    /// # Panics
    /// If it is neither text nor a length.
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
