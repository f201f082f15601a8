//! Compares two answers by status, headers and the shape of the body, and lists the differences.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::Answer;

/// Facts of an answer, names and values; the values of one name are sorted and separated by blanks.
pub type Facts = BTreeMap<String, String>;

/// Headers whose value is compared.
const VALUES: [&str; 8] = [
    "access-control-allow-credentials",
    "access-control-allow-headers",
    "access-control-allow-methods",
    "access-control-allow-origin",
    "cache-control",
    "www-authenticate",
    "x-accel-buffering",
    "x-proxy-output-mode",
];
/// Headers of which only the presence is compared.
const NAMES: [&str; 6] = [
    "retry-after",
    "x-codex-stop-after-tools-mode",
    "x-codex-tool-call-count",
    "x-codex-tool-call-truncated",
    "x-proxy-trace-id",
    "x-request-id",
];
/// Members whose value is compared: words of the API, and the model's text. Of other members only the type is compared.
const WORDS: [&str; 13] = [
    "code",
    "content",
    "finish_reason",
    "model",
    "object",
    "ok",
    "owned_by",
    "param",
    "role",
    "status",
    "text",
    "type",
    "arguments",
];

/// The facts of an answer.
#[must_use]
pub fn of(method: &str, answer: &Answer) -> Facts {
    let mut facts = Facts::new();
    facts.insert("status".to_owned(), answer.status.to_string());
    for (name, value) in answer
        .headers
        .iter()
        .filter(|(name, _)| counts(name, method))
    {
        let fact = format!("header {name}");
        if name == "content-type" {
            let essence = value.split(';').next().unwrap_or_default();
            facts.insert(fact, essence.to_owned());
        } else if name == "vary" {
            let mut names: Vec<_> = value
                .split(',')
                .map(|name| name.trim().to_ascii_lowercase())
                .collect();
            names.extend(facts.remove(&fact));
            names.sort();
            facts.insert(fact, names.join(", "));
        } else if VALUES.contains(&name.as_str()) {
            facts.insert(fact, value.clone());
        } else if NAMES.contains(&name.as_str()) {
            facts.insert(fact, "there".to_owned());
        }
    }
    let is_stream = facts
        .get("header content-type")
        .is_some_and(|kind| kind == "text/event-stream");
    if is_stream {
        stream(&answer.body, &mut facts);
    } else if let Ok(body) = serde_json::from_str::<Value>(&answer.body) {
        flatten("body", &body, &mut facts);
    } else if !answer.body.is_empty() {
        facts.insert("body".to_owned(), "text".to_owned());
    }
    facts
}

/// Whether a header is compared: two are meaningful only in the answer to a preflight.
fn counts(header: &str, method: &str) -> bool {
    let of_preflights = [
        "access-control-allow-headers",
        "access-control-allow-methods",
    ];
    method == "OPTIONS" || !of_preflights.contains(&header)
}

/// One line for each difference, `name: before -> after`, with `none` for a missing fact. If the answers are of different
/// kinds there is only one line, with status, content type and error code.
#[must_use]
pub fn differences(before: &Facts, after: &Facts) -> Vec<String> {
    let (kind, other) = (answer_kind(before), answer_kind(after));
    if kind != other {
        return vec![format!("answer: {kind} -> {other}")];
    }
    let names: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    let value =
        |facts: &Facts, name: &str| facts.get(name).map_or("none", String::as_str).to_owned();
    names
        .into_iter()
        .filter(|name| before.get(*name) != after.get(*name))
        .filter(|name| {
            event_kind(name).is_none_or(|kind| sends(before, kind) && sends(after, kind))
        })
        .map(|name| format!("{name}: {} -> {}", value(before, name), value(after, name)))
        .collect()
}

fn answer_kind(facts: &Facts) -> String {
    let names = ["status", "header content-type", "body.error.code"];
    let parts: Vec<&str> = names
        .iter()
        .filter_map(|name| facts.get(*name))
        .map(String::as_str)
        .collect();
    parts.join(" ").replace('"', "")
}

/// The kind of event in the name of a fact about events.
fn event_kind(name: &str) -> Option<&str> {
    let rest = name.strip_prefix("event ")?;
    // Some kinds have dots, which come before the dots of members.
    let end = [
        ".choices",
        ".error",
        ".id",
        ".object",
        ".created",
        ".model",
        ".usage",
        ".type",
        ".sequence_number",
    ];
    let at = end.iter().filter_map(|member| rest.find(member)).min();
    rest.get(..at.unwrap_or(rest.len()))
}

fn sends(facts: &Facts, kind: &str) -> bool {
    let order = facts.get("stream").map_or("", String::as_str);
    order.split(", ").any(|sent| sent == kind)
}

fn add(facts: &mut Facts, name: String, value: &str) {
    let known = facts.entry(name).or_default();
    let mut values: BTreeSet<&str> = known
        .split(" | ")
        .filter(|known| !known.is_empty())
        .collect();
    values.insert(value);
    *known = values.into_iter().collect::<Vec<_>>().join(" | ");
}

fn flatten(path: &str, value: &Value, facts: &mut Facts) {
    let member = path.rsplit('.').next().unwrap_or_default();
    match value {
        Value::Object(members) if members.is_empty() => add(facts, path.to_owned(), "{}"),
        Value::Object(members) => {
            for (name, value) in members {
                flatten(&format!("{path}.{name}"), value, facts);
            }
        }
        Value::Array(elements) if elements.is_empty() => add(facts, path.to_owned(), "[]"),
        Value::Array(elements) => {
            if ["choices", "tool_calls", "output"].contains(&member) {
                add(facts, format!("{path} length"), &elements.len().to_string());
            }
            for element in elements {
                flatten(&format!("{path}[]"), element, facts);
            }
        }
        Value::String(text) if WORDS.contains(&member) => {
            add(
                facts,
                path.to_owned(),
                &Value::from(text.as_str()).to_string(),
            );
        }
        Value::Null => add(facts, path.to_owned(), "null"),
        Value::Bool(flag) => add(facts, path.to_owned(), &flag.to_string()),
        Value::Number(_) => add(facts, path.to_owned(), "number"),
        Value::String(_) => add(facts, path.to_owned(), "string"),
    }
}

/// The kinds of the events in their order, their joined texts, and the shape of each kind.
fn stream(body: &str, facts: &mut Facts) {
    let mut order: Vec<String> = Vec::new();
    let mut said: BTreeMap<String, String> = BTreeMap::new();
    for frame in body.split("\n\n").filter(|frame| !frame.trim().is_empty()) {
        let data: Vec<&str> = frame
            .lines()
            .filter_map(|line| line.strip_prefix("data:"))
            .collect();
        let data = data.join("\n");
        let kind = match serde_json::from_str::<Value>(data.trim()) {
            Ok(mut event) => {
                let kind = kind(&event);
                gather(&mut event, &mut said);
                flatten(&format!("event {kind}"), &event, facts);
                kind
            }
            Err(_) if frame.starts_with(':') => "comment".to_owned(),
            Err(_) => data.trim().to_owned(),
        };
        if order.last() != Some(&kind) {
            order.push(kind);
        }
    }
    facts.insert("stream".to_owned(), order.join(", "));
    for (name, text) in said {
        facts.insert(format!("stream {name}"), Value::from(text).to_string());
    }
}

fn kind(event: &Value) -> String {
    if let Some(name) = event["type"].as_str() {
        return name.to_owned();
    }
    if event["error"].is_object() {
        return "error".to_owned();
    }
    let choice = &event["choices"][0];
    let delta = &choice["delta"];
    let has = |member: &str| delta.get(member).is_some();
    let word = match choice["finish_reason"].as_str() {
        Some(reason) => return format!("finish={reason}"),
        None if choice.is_null() => "usage",
        None if has("tool_calls") || has("function_call") => "call",
        None if delta["content"]
            .as_str()
            .is_some_and(|text| !text.is_empty()) =>
        {
            "text"
        }
        None if has("role") => "role",
        None => "text",
    };
    word.to_owned()
}

/// Takes out texts that are sent in pieces, and joins them: the division into pieces is not compared.
fn gather(event: &mut Value, said: &mut BTreeMap<String, String>) {
    let mut take = |name: &str, value: &mut Value| {
        if let Value::String(text) = value {
            said.entry(name.to_owned()).or_default().push_str(text);
            *value = Value::from(0);
        }
    };
    for pointer in ["/choices/0/delta/content", "/choices/0/text", "/delta"] {
        if let Some(value) = event.pointer_mut(pointer) {
            take("text", value);
        }
    }
    let calls = event.pointer_mut("/choices/0/delta/tool_calls");
    for call in calls.and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(value) = call.pointer_mut("/function/arguments") {
            take("arguments", value);
        }
    }
}
