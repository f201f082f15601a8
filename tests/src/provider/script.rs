//! The provider's scripts, and where in a request they are read from.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::tokens::Tokens;

use super::sense;

/// The script of one answer. Every member has a default: `Script::default()` is a short text.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Script {
    /// The deltas of the message.
    pub text: Vec<String>,
    /// The number of times the deltas are sent.
    pub repeat: usize,
    /// More messages, after the first.
    pub messages: Vec<Vec<String>>,
    /// The `phase` of the messages: `commentary` or `final_answer`.
    pub phase: Option<String>,
    /// Send the message whole, without deltas.
    pub whole: bool,
    /// A refusal of the model, sent word by word, in place of `text`.
    pub refusal: String,
    /// Parts of the reasoning summary; each is sent word by word.
    pub reasoning: Vec<String>,
    /// Raw reasoning, sent word by word.
    pub raw_reasoning: String,
    /// Functions the model calls.
    pub calls: Vec<Call>,
    /// The usage the answer reports.
    pub usage: Tokens,
    /// The pause before each delta.
    pub delay_ms: u64,
    /// Answer with this HTTP status and `body` instead.
    pub status: Option<u16>,
    /// The body for `status`.
    pub body: Value,
    /// Break the connection after this many deltas.
    pub cut: Option<usize>,
    /// Wait after this many deltas, until released.
    pub stall: Option<usize>,
    /// End with `response.incomplete` for this reason.
    pub incomplete: Option<String>,
    /// End with `response.failed` and this code.
    pub failed: Option<String>,
    /// End with an `error` event and this code.
    pub error: Option<String>,
    /// The message of `failed`; by default a text with its code.
    pub message: Option<String>,
    /// End the stream without a final event.
    pub unfinished: bool,
    /// The answer once the tools have run.
    pub then: Option<Box<Script>>,
}

/// A function call by the model.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Call {
    /// The function's name.
    pub name: String,
    /// The arguments as the model writes them: usually a string of JSON.
    pub arguments: String,
    /// The tool takes free text as input, which is then in `arguments`.
    #[serde(default)]
    pub custom: bool,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            text: ["Hello ", "from ", "the ", "provider."]
                .map(str::to_owned)
                .to_vec(),
            repeat: 1,
            messages: Vec::new(),
            phase: None,
            whole: false,
            refusal: String::new(),
            reasoning: Vec::new(),
            raw_reasoning: String::new(),
            calls: Vec::new(),
            usage: Tokens::default(),
            delay_ms: 0,
            status: None,
            body: Value::Null,
            cut: None,
            stall: None,
            incomplete: None,
            failed: None,
            error: None,
            message: None,
            unfinished: false,
            then: None,
        }
    }
}

impl Script {
    /// The script in a request's last user message, or its `then`; for a prompt that is no script, an answer by `sense`.
    ///
    /// # Panics
    /// If the script has a mistake: a test with a misspelled member must fail.
    #[must_use]
    pub fn asked_for(body: &Value) -> Self {
        let items = body["input"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        let Some(last) = items.iter().rposition(|item| item["role"] == "user") else {
            return Self::default();
        };
        let turn = &items[last..];
        // Some clients put notes of their own before the user's text, as parts of the same message.
        let parts = turn[0]["content"].as_array().into_iter().flatten().rev();
        let parts = parts.filter_map(|part| Some(part["text"].as_str()?.to_owned()));
        let script = [said(&turn[0]).1]
            .into_iter()
            .chain(parts)
            .find_map(|text| {
                let members: Map<String, Value> = serde_json::from_str(&text).ok()?;
                members.get("provider").cloned()
            });
        let Some(script) = script else {
            return sense::answer(body, turn);
        };
        let script: Self = serde_json::from_value(script).expect("a provider script");
        let tools_have_run = turn.iter().any(is_output);
        if tools_have_run {
            script.then.map_or_else(Self::default, |then| *then)
        } else {
            script
        }
    }
}

/// Whether an input item is the result of a tool.
pub(super) fn is_output(item: &Value) -> bool {
    item["type"] == "function_call_output" || item["type"] == "custom_tool_call_output"
}

/// Role (or type) and text of an input item.
pub(super) fn said(item: &Value) -> (String, String) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let joined = |parts: &Value| {
        let parts = parts.as_array().cloned().unwrap_or_default();
        parts
            .iter()
            .map(|part| text(&part["text"]))
            .collect::<String>()
    };
    match item["type"].as_str() {
        Some("function_call") => ("function_call".to_owned(), text(&item["arguments"])),
        Some(kind) if is_output(item) => {
            let output = &item["output"];
            let output = if output.is_array() {
                joined(output)
            } else {
                text(output)
            };
            (kind.to_owned(), output)
        }
        _ => (text(&item["role"]), joined(&item["content"])),
    }
}
