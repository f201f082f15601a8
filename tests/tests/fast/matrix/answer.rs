//! Reads the answers of every dialect into the short words that the cells of the matrix are written in.

use std::collections::BTreeMap;

use codex_gateway_tests::sse::{self, Event};
use serde_json::{Value, json};

use super::dialect::Dialect;

/// One answer.
#[derive(Debug, Default)]
pub(super) struct Answer {
    /// Status and finish reason, or status, type and code of the error; what broke an answer that had begun comes after `then`.
    pub(super) ending: String,
    /// The text, joined.
    pub(super) text: String,
    /// The number of calls.
    pub(super) calls: usize,
    /// Tokens of the prompt and of the answer.
    pub(super) usage: Option<(u64, u64)>,
    /// The headers, names in lower case; of a WebSocket those of its error event.
    pub(super) headers: BTreeMap<String, String>,
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or("nothing")
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// The texts at `pointer` in each of these, joined.
fn joined<'a>(values: impl IntoIterator<Item = &'a Value>, pointer: &str) -> String {
    let texts = values
        .into_iter()
        .filter_map(|value| value.pointer(pointer)?.as_str());
    texts.collect()
}

fn count(values: &[Value], kind: &str) -> usize {
    let of_kind = values.iter().filter(|value| value["type"] == kind);
    of_kind.count()
}

/// Type and code of an error, whose form is checked.
pub(super) fn error(dialect: Dialect, body: &Value) -> String {
    let error = &body["error"];
    let message = word(&error["message"]);
    assert!(message.len() > 5, "an error says why: {body}");
    if dialect == Dialect::Messages {
        let form = json!({"type": "error", "error": {"type": error["type"], "message": message}, "request_id": body["request_id"]});
        assert_eq!(*body, form);
        assert!(word(&body["request_id"]).starts_with("req_"), "{body}");
        return word(&error["type"]).to_owned();
    }
    let mut members: Vec<&String> = error.as_object().expect("an object").keys().collect();
    members.sort();
    assert_eq!(members, ["code", "message", "param", "type"], "{body}");
    format!("{} {}", word(&error["type"]), word(&error["code"]))
}

impl Answer {
    /// An answer in one piece.
    pub(super) fn whole(dialect: Dialect, status: u16, body: &Value) -> Self {
        if status != 200 {
            let ending = format!("{status} {}", error(dialect, body));
            return Self {
                ending,
                ..Self::default()
            };
        }
        let usage = |of_prompt: &str, of_answer: &str| {
            let count = |name: &str| body["usage"][name].as_u64();
            let cached = count("cache_read_input_tokens").unwrap_or(0);
            Some((count(of_prompt)? + cached, count(of_answer)?))
        };
        let choice = &body["choices"][0];
        let (reason, text, calls, usage) = match dialect {
            Dialect::Chat => (
                &choice["finish_reason"],
                word(&choice["message"]["content"]).to_owned(),
                list(&choice["message"]["tool_calls"]).len(),
                usage("prompt_tokens", "completion_tokens"),
            ),
            Dialect::Completions => (
                &choice["finish_reason"],
                word(&choice["text"]).to_owned(),
                0,
                usage("prompt_tokens", "completion_tokens"),
            ),
            Dialect::Responses | Dialect::Socket => (
                match body["status"].as_str() {
                    Some("incomplete") => &body["incomplete_details"]["reason"],
                    _ => &body["status"],
                },
                joined(list(&body["output"]), "/content/0/text"),
                count(list(&body["output"]), "function_call"),
                usage("input_tokens", "output_tokens"),
            ),
            Dialect::Messages => (
                &body["stop_reason"],
                joined(list(&body["content"]), "/text"),
                count(list(&body["content"]), "tool_use"),
                usage("input_tokens", "output_tokens"),
            ),
        };
        Self {
            ending: format!("200 {}", word(reason)),
            text,
            calls,
            usage,
            headers: BTreeMap::new(),
        }
    }

    fn broken(cause: &str) -> Self {
        Self {
            ending: format!("200 then {cause}"),
            ..Self::default()
        }
    }

    /// A stream of chat or completions.
    pub(super) fn chunks(dialect: Dialect, events: &[Event]) -> Self {
        if let Some(cause) = sse::error(events) {
            assert!(!events.contains(&Event::Done), "it looks complete");
            return Self::broken(&error(dialect, &json!({ "error": cause })));
        }
        assert_eq!(events.last(), Some(&Event::Done), "{events:?}");
        let data: Vec<&Value> = events
            .iter()
            .filter_map(|event| match event {
                Event::Data(data) => Some(data),
                _ => None,
            })
            .collect();
        let texts = ["/choices/0/delta/content", "/choices/0/text"];
        let text = texts.map(|pointer| joined(data.iter().copied(), pointer));
        let ids = data
            .iter()
            .filter(|data| data["choices"][0]["delta"]["tool_calls"][0]["id"].is_string());
        let (finishes, calls) = (sse::finishes(events), vec![Value::Null; ids.count()]);
        assert_eq!(finishes.len(), 1, "{events:?}");
        let (reason, text) = (&finishes[0], text.concat());
        let message = json!({"content": text, "tool_calls": calls});
        let choice = json!({"finish_reason": reason, "message": message, "text": text});
        let usage = data.last().map(|last| &last["usage"]);
        Self::whole(dialect, 200, &json!({"choices": [choice], "usage": usage}))
    }

    /// The events of a response, over HTTP or a WebSocket.
    pub(super) fn response(dialect: Dialect, events: &[Value]) -> Self {
        let last = events.last().expect("events");
        let response = &last["response"];
        match word(&last["type"]) {
            "response.completed" | "response.incomplete" => Self::whole(dialect, 200, response),
            "response.failed" => Self::broken(&format!(
                "response.failed {}",
                word(&response["error"]["code"])
            )),
            "error" => {
                let status = last["status"].as_u64().expect("a status");
                let headers = last["headers"].as_object().expect("headers");
                let headers = headers
                    .iter()
                    .map(|(name, value)| (name.clone(), word(value).to_owned()));
                Self {
                    ending: format!("error {status} {}", error(dialect, last)),
                    headers: headers.collect(),
                    ..Self::default()
                }
            }
            other => panic!("{other} is no end of a stream"),
        }
    }

    /// The events of a message.
    pub(super) fn message(events: &[Value]) -> Self {
        let last = events.last().expect("events");
        if last["type"] == "error" {
            return Self::broken(&error(Dialect::Messages, last));
        }
        assert_eq!(last["type"], "message_stop", "{events:?}");
        let delta = &events[events.len() - 2];
        let blocks: Vec<&Value> = events
            .iter()
            .map(|event| &event["content_block"])
            .filter(|block| block.is_object())
            .collect();
        let text = json!({"type": "text", "text": joined(events, "/delta/text")});
        let calls = blocks
            .into_iter()
            .filter(|block| block["type"] == "tool_use");
        let content: Vec<Value> = std::iter::once(text).chain(calls.cloned()).collect();
        let reason = &delta["delta"]["stop_reason"];
        let whole = json!({"stop_reason": reason, "content": content, "usage": delta["usage"]});
        Self::whole(Dialect::Messages, 200, &whole)
    }
}
