//! Requests in which any members are replaced: each is read, or refused in a few words, and its calls are paired with outputs.

use std::collections::HashSet;

use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};

use crate::codex::Item;
use crate::openai::chat::ChatRequest;
use crate::openai::completions::CompletionRequest;
use crate::openai::messages::MessagesRequest;
use crate::openai::responses::{Memory, ResponsesRequest};
use crate::openai::{ApiError, Reading, Target};

/// The most bytes of a refusal's words.
const WORDS: usize = 1500;

fn function() -> Value {
    json!({"name": "f", "description": "Does it.", "strict": true, "parameters": {
        "type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": false,
    }})
}

fn chat() -> Value {
    let call = |id: &str| json!({"id": id, "type": "function", "function": {"name": "f", "arguments": "{}"}});
    let picture = json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,AA==", "detail": "low"}});
    json!({
        "model": "m", "n": 2, "stream": false, "stop": ["a"], "max_tokens": 9, "reasoning_effort": "low", "verbosity": "low",
        "tool_choice": {"type": "function", "function": {"name": "f"}}, "parallel_tool_calls": false, "user": "u",
        "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}, "strict": false}},
        "tools": [{"type": "function", "function": function()}], "stream_options": {"include_usage": true}, "metadata": {"a": "b"},
        "messages": [
            {"role": "system", "content": "Be terse.", "name": "s"},
            {"role": "user", "content": [{"type": "text", "text": "hi"}, picture]},
            {"role": "assistant", "content": null, "refusal": null, "tool_calls": [call("a"), call("b")]},
            {"role": "tool", "tool_call_id": "b", "content": [{"type": "text", "text": "1"}]},
            {"role": "tool", "tool_call_id": "a", "content": "2"},
            {"role": "assistant", "content": "Done.", "function_call": null},
            {"role": "user", "content": "more"},
        ],
    })
}

fn responses() -> Value {
    let mut tool = function();
    tool["type"] = json!("function");
    json!({
        "model": "m", "instructions": "Be terse.", "max_output_tokens": 9, "store": true, "tools": [tool], "tool_choice": "auto",
        "reasoning": {"effort": "low", "summary": "auto"}, "text": {"format": {"type": "text"}, "verbosity": "low"},
        "metadata": {"a": "b"}, "include": [], "truncation": "disabled", "user": "u", "service_tier": "auto",
        "input": [
            {"type": "message", "role": "user", "content": [
                {"type": "input_text", "text": "hi"},
                {"type": "input_image", "image_url": "data:image/png;base64,AA==", "detail": "low"},
            ]},
            {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "hm"}], "encrypted_content": "x"},
            {"type": "function_call", "id": "fc_1", "call_id": "a", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "a", "output": [{"type": "input_text", "text": "1"}]},
            {"type": "message", "role": "assistant", "id": "msg_1", "phase": "final_answer", "content": [
                {"type": "output_text", "text": "Done.", "annotations": []}, {"type": "refusal", "refusal": "No."},
            ]},
            {"role": "user", "content": "more"},
        ],
    })
}

fn completions() -> Value {
    json!({"model": "m", "prompt": ["a", "b"], "n": 2, "stop": "x", "max_tokens": 5, "stream": true, "best_of": 2, "suffix": null})
}

fn messages() -> Value {
    let call = |id: &str| json!({"type": "tool_use", "id": id, "name": "f", "input": {"a": 1}});
    let picture = json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}});
    let schema = json!({"type": "object", "properties": {"a": {"type": "integer"}}});
    json!({
        "model": "m", "max_tokens": 9, "stream": false, "stop_sequences": ["a"], "metadata": {"user_id": "u"},
        "system": [{"type": "text", "text": "Be terse."}], "thinking": {"type": "adaptive", "display": "summarized"},
        "tools": [{"name": "f", "description": "Does it.", "input_schema": schema}, {"type": "bash_20250124", "name": "bash"}],
        "tool_choice": {"type": "tool", "name": "f", "disable_parallel_tool_use": true},
        "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": schema}},
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "hi"}, picture]},
            {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm", "signature": "s"}, call("a"), call("b")]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "b", "content": [{"type": "text", "text": "1"}], "is_error": true},
                {"type": "tool_result", "tool_use_id": "a", "content": "2"},
            ]},
            {"role": "assistant", "content": "Done."},
            {"role": "user", "content": "more"},
            {"role": "system", "content": "Be kind."},
        ],
    })
}

/// Replaces a value somewhere in `body`.
fn replace(body: &mut Value, at: &Index, new: Value) {
    fn paths(value: &Value, path: &str, into: &mut Vec<String>) {
        into.push(path.to_owned());
        match value {
            Value::Object(members) => members
                .iter()
                .for_each(|(name, value)| paths(value, &format!("{path}/{name}"), into)),
            Value::Array(items) => items
                .iter()
                .enumerate()
                .for_each(|(n, value)| paths(value, &format!("{path}/{n}"), into)),
            _ => {}
        }
    }
    let mut all = Vec::new();
    paths(body, "", &mut all);
    if let Some(place) = body.pointer_mut(&all[at.index(all.len())]) {
        *place = new;
    }
}

fn value() -> impl Strategy<Value = Value> {
    let long = || "\u{e9}".repeat(5000);
    prop_oneof![
        Just(Value::Null),
        Just(json!("")),
        Just(json!("a")),
        Just(json!("b")),
        Just(json!(long())),
        Just(json!(-1)),
        Just(json!(u64::MAX)),
        Just(json!(1e300)),
        Just(json!(true)),
        Just(json!([])),
        Just(json!({})),
        Just(json!([[[["x"]]]])),
        Just(json!({long(): {"type": "function"}})),
        Just(json!("data:image/png;base64,")),
        Just(json!("https://example.com/x.png")),
        "[a-z_\\u{0}-\\u{1f}]{0,80}".prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
    ]
}

fn assert_refused(error: &ApiError, body: &Value) -> Result<(), TestCaseError> {
    prop_assert_eq!(error.status, 400, "{} {}", error, body);
    prop_assert!(!error.code.is_empty());
    let words = error.message.len() + error.param.as_deref().map_or(0, str::len);
    prop_assert!(words < WORDS, "{} bytes: {:.200}", words, error.message);
    Ok(())
}

/// Each call has an id of its own, each output belongs to a call before it, and no call is without one.
fn assert_paired(history: &[Item]) -> Result<(), TestCaseError> {
    let (mut calls, mut open) = (HashSet::new(), HashSet::new());
    for item in history {
        match item {
            Item::Call { id, .. } => {
                prop_assert!(id.len() <= 64 && !id.is_empty(), "{}", id);
                prop_assert!(calls.insert(id), "{} is there twice", id);
                open.insert(id);
            }
            Item::CallOutput { id, .. } => {
                prop_assert!(calls.contains(id), "{} has no call", id);
                open.remove(id);
            }
            Item::Message { parts, .. } => prop_assert!(!parts.is_empty()),
        }
    }
    prop_assert!(open.is_empty(), "without an output: {:?}", open);
    Ok(())
}

proptest! {
    #[test]
    fn any_request_is_read_or_refused(changes in prop::collection::vec((any::<Index>(), value()), 0..4)) {
        let changed = |mut body: Value| {
            for (at, new) in &changes {
                replace(&mut body, at, new.clone());
            }
            body
        };
        let (reading, target) = (Reading::default(), Target::default());
        let body = changed(chat());
        match ChatRequest::parse(body.to_string().as_bytes(), &reading) {
            Ok(request) => assert_paired(&request.into_plan(target.clone()).0.history)?,
            Err(error) => assert_refused(&error, &body)?,
        }
        let body = changed(responses());
        let planned = ResponsesRequest::parse(body.to_string().as_bytes(), &reading)
            .and_then(|request| request.into_plan(target.clone(), Memory::default()));
        match planned {
            Ok((plan, ..)) => assert_paired(&plan.history)?,
            Err(error) => assert_refused(&error, &body)?,
        }
        let body = changed(messages());
        match MessagesRequest::parse(body.to_string().as_bytes(), &reading) {
            Ok(request) => assert_paired(&request.into_plan(target.clone()).0.history)?,
            Err(error) => assert_refused(&error, &body)?,
        }
        let body = changed(completions());
        match CompletionRequest::parse(body.to_string().as_bytes()) {
            Ok(request) => for (plan, _) in request.into_plans(&target) {
                prop_assert!(plan.history.len() <= 1);
            },
            Err(error) => assert_refused(&error, &body)?,
        }
    }
}
