//! Requests: what becomes of each member, and what is refused.

use serde_json::{Value, json};

use super::*;
use crate::codex::tests::said;
use crate::codex::{Part, Role};
use crate::openai::tests::{assert_invalid, assert_smallest};

mod answers;
mod history;
mod tools;

fn hi() -> Value {
    json!({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]})
}

/// The smallest request with these members.
fn with(members: &Value) -> Value {
    let mut body = hi();
    let more = members.as_object().unwrap().clone();
    body.as_object_mut().unwrap().extend(more);
    body
}

fn parse(body: &Value) -> Result<MessagesRequest, ApiError> {
    MessagesRequest::parse(body.to_string().as_bytes(), &Reading::default())
}

fn plan(body: &Value) -> (Plan, Rules) {
    let target = Target {
        model: "gpt-6-sol".to_owned(),
        effort: Some("low".to_owned()),
        provider: Some("proxy".to_owned()),
    };
    parse(body).expect("a request").into_plan(target)
}

/// Requests that are refused: the members, the code, the member at fault.
fn assert_refused(cases: &[(Value, &str, &str)]) {
    for (members, code, param) in cases {
        let body = with(members);
        assert_invalid(&parse(&body).unwrap_err(), &body, code, param);
    }
}

const VALUE: &str = "invalid_value";
const TYPE: &str = "invalid_type";
const MISSING: &str = "missing_required_parameter";

#[test]
fn the_smallest_request_is_a_plan() {
    let mut body = hi();
    body.as_object_mut().unwrap().remove("max_tokens");
    let (plan, rules) = plan(&body);
    assert_smallest(&plan, &rules);
}

#[test]
fn members_reach_the_plan_and_the_rules() {
    let schema = json!({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": false});
    let body = with(&json!({
        "stream": true,
        "system": [{"type": "text", "text": "Be terse.", "cache_control": {"type": "ephemeral"}}, {"type": "text", "text": "Be kind."}],
        "stop_sequences": ["END"],
        "metadata": {"user_id": "u-1"},
        "output_config": {"effort": "high", "format": {"type": "json_schema", "schema": schema}},
        "speed": "fast",
        "thinking": {"type": "enabled", "budget_tokens": 2048},
    }));
    let request = parse(&body).unwrap();
    assert!(request.stream && request.form.thinking);
    assert_eq!(request.model.as_deref(), Some("m"));
    assert_eq!(request.effort.as_deref(), Some("high"));
    assert_eq!(request.metadata.user.as_deref(), Some("u-1"));
    let (plan, rules) = plan(&body);
    assert_eq!(plan.output_schema, Some(schema.clone()));
    assert_eq!(plan.service_tier.as_deref(), Some("priority"));
    assert_eq!(
        (rules.stop, rules.max_tokens),
        (vec!["END".to_owned()], Some(9))
    );
    let system = ["Be terse.", "Be kind."].map(|text| Part::Text(text.to_owned()));
    let system = Item::Message {
        role: Role::Developer,
        parts: system.to_vec(),
    };
    assert_eq!(plan.history, [system, said(Role::User, "hi")]);
    let older = json!({"output_format": {"type": "json_schema", "schema": schema}});
    assert!(self::plan(&with(&older)).0.output_schema.is_some());
}

#[test]
fn members_without_which_the_answer_is_the_same_are_ignored() {
    let plain = parse(&hi()).unwrap();
    for members in [
        json!({"temperature": 0.5, "top_p": 0.9, "top_k": 5}),
        json!({"service_tier": "standard_only", "inference_geo": "global"}),
        json!({"cache_control": {"type": "ephemeral"}, "diagnostics": {"previous_message_id": null}}),
        json!({"context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]}}),
        json!({"thinking": {"type": "disabled"}, "output_config": {}, "metadata": {"user_id": null}}),
        json!({"thinking": {"type": "adaptive", "display": "omitted"}, "mcp_servers": [], "tools": []}),
        json!({"system": null, "stop_sequences": null, "tool_choice": null, "stream": null, "something": 1}),
    ] {
        assert_eq!(parse(&with(&members)).unwrap(), plain, "{members}");
    }
}

#[test]
fn a_request_that_cannot_be_carried_is_refused() {
    let many = vec!["a"; 17];
    assert_refused(&[
        (json!({"messages": null}), MISSING, "messages"),
        (json!({"messages": []}), "empty_array", "messages"),
        (
            json!({"max_tokens": 0}),
            "integer_below_min_value",
            "max_tokens",
        ),
        (json!({"max_tokens": "5"}), TYPE, "max_tokens"),
        (json!({"model": 5}), TYPE, "model"),
        (json!({"stream": 1}), TYPE, "stream"),
        (
            json!({"tool_choice": {"type": "auto", "name": {}}}),
            TYPE,
            "tool_choice.name",
        ),
        (json!({"system": 1}), TYPE, "system"),
        (
            json!({"system": [{"type": "image"}]}),
            VALUE,
            "system[0].type",
        ),
        (json!({"stop_sequences": "a"}), TYPE, "stop_sequences"),
        (
            json!({"stop_sequences": ["a", ""]}),
            "empty_string",
            "stop_sequences[1]",
        ),
        (json!({"stop_sequences": many}), VALUE, "stop_sequences"),
        (
            json!({"thinking": {"type": "deep"}}),
            VALUE,
            "thinking.type",
        ),
        (json!({"thinking": {}}), MISSING, "thinking.type"),
        (
            json!({"output_config": {"effort": 1}}),
            TYPE,
            "output_config.effort",
        ),
        (
            json!({"output_config": {"format": {"type": "xml"}}}),
            VALUE,
            "output_config.format.type",
        ),
        (
            json!({"thread": {"type": "create"}}),
            "thread_unsupported_request",
            "thread",
        ),
        (json!({"compaction": {}}), "unsupported_value", "compaction"),
        (
            json!({"inference_geo": "us"}),
            "unsupported_value",
            "inference_geo",
        ),
    ]);
}

#[test]
fn a_conversation_whose_tokens_are_counted_may_end_anywhere() {
    let call = json!({"type": "tool_use", "id": "a", "name": "f", "input": {"city": "Rome"}});
    let body = json!({"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": [call]}]});
    assert!(parse(&body).is_err());
    let part = MessagesRequest::parse_part(body.to_string().as_bytes(), &Reading::default());
    let (_, rules) = part.unwrap().into_plan(Target::default());
    assert_eq!(rules.prompt_tokens_estimate, 5, "2 + 1 + 15 characters");
    assert_eq!(count(5), r#"{"input_tokens":5}"#);
}

#[test]
fn tools_are_part_of_the_count() {
    let count = |tools: Value| {
        let body = with(&json!({ "tools": tools })).to_string();
        let part = MessagesRequest::parse_part(body.as_bytes(), &Reading::default());
        part.unwrap()
            .into_plan(Target::default())
            .1
            .prompt_tokens_estimate
    };
    let none = count(json!([]));
    let own =
        json!({"name": "f", "description": "x".repeat(400), "input_schema": {"type": "object"}});
    let found = count(json!([own]));
    assert!((none + 100..none + 110).contains(&found), "{found}");
    let known = count(json!([{"type": "bash_20250124", "name": "bash"}]));
    assert!(
        known > none + 20,
        "its schema is not in the request: {known}"
    );
}

#[test]
fn errors_are_told_as_anthropic_does() {
    let error = |status: u16, code: &'static str, param: Option<&str>| {
        let mut error = ApiError::from(crate::openai::GatewayError::Internal);
        (error.status, error.code) = (status, code.into());
        error.message = "It failed.".into();
        error.param = param.map(str::to_owned);
        let told = MessagesError::from(&error);
        let body: Value = serde_json::from_str(&told.to_json(Some("req_1"))).unwrap();
        assert_eq!(
            (&body["type"], &body["request_id"]),
            (&json!("error"), &json!("req_1"))
        );
        let text = |member: &str| body["error"][member].as_str().unwrap().to_owned();
        (told.status, text("type"), text("message"))
    };
    for (status, kind) in [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (402, "billing_error"),
        (403, "permission_error"),
        (404, "not_found_error"),
        (408, "timeout_error"),
        (413, "request_too_large"),
        (422, "invalid_request_error"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (502, "api_error"),
        (503, "api_error"),
        (504, "timeout_error"),
        (529, "overloaded_error"),
    ] {
        let told = error(status, "c", None);
        assert_eq!(told, (status, kind.to_owned(), "It failed.".to_owned()));
    }
    assert_eq!(error(503, "overloaded", None).1, "overloaded_error");
    assert_eq!(error(400, "c", Some("tools[0]")).2, "tools[0]: It failed.");
    let (status, kind, message) = error(403, "context_length_exceeded", Some("messages"));
    assert_eq!((status, kind.as_str()), (400, "invalid_request_error"));
    assert_eq!(message, "prompt is too long: It failed.");
}
