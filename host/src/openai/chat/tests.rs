//! Requests that are parsed, requests that are refused, and the bytes of answers.

mod answers;
mod calls;
mod custom;
mod messages;
mod tools;

use serde_json::{Value, json};

use super::*;
use crate::codex::{Item, Part, Role};
use crate::openai::tests::{assert_invalid, assert_smallest};

fn parse(body: &Value) -> ChatRequest {
    ChatRequest::parse(body.to_string().as_bytes(), &Reading::default())
        .unwrap_or_else(|error| panic!("{error}: {body}"))
}

/// The body of a request with the message "hi" and these additional members.
fn body_with(members: &Value) -> Value {
    let mut body = json!({"messages": [{"role": "user", "content": "hi"}]});
    let members = members.as_object().expect("members").clone();
    body.as_object_mut().expect("an object").extend(members);
    body
}

fn hi_with(members: &Value) -> ChatRequest {
    parse(&body_with(members))
}

fn plan(request: ChatRequest) -> Plan {
    request.into_plan(Target::default()).0
}

fn text(text: &str) -> Part {
    Part::Text(text.to_owned())
}

fn says(role: Role, words: &str) -> Item {
    Item::Message {
        role,
        parts: vec![text(words)],
    }
}

/// Asserts that the last item is a developer's instruction that contains `says`, or that there is no instruction.
fn assert_instruction(history: &[Item], says: Option<&str>) {
    match (history, says) {
        ([_], None) => {}
        (
            [
                _,
                Item::Message {
                    role: Role::Developer,
                    parts,
                },
            ],
            Some(says),
        ) => {
            let said = matches!(&parts[..], [Part::Text(text)] if text.contains(says));
            assert!(said, "{parts:?}");
        }
        _ => panic!("{history:?}, not {says:?}"),
    }
}

const TYPE: &str = "invalid_type";
const VALUE: &str = "invalid_value";
const MISSING: &str = "missing_required_parameter";

fn refusal(body: &Value) -> ApiError {
    match ChatRequest::parse(body.to_string().as_bytes(), &Reading::default()) {
        Err(error) => error,
        Ok(request) => panic!("{body} is read as {request:?}"),
    }
}

fn assert_refusal(body: &Value, code: &str, param: &str) {
    let error = refusal(body);
    assert_invalid(&error, body, code, param);
}

/// Asserts the refusal of members other than `messages`: the members, the code, the param.
fn assert_refused(cases: &[(Value, &str, &str)]) {
    for (members, code, param) in cases {
        assert_refusal(&body_with(members), code, param);
    }
}

#[test]
fn the_smallest_request_leaves_everything_open() {
    let request = hi_with(&json!({}));
    assert_eq!((&request.model, &request.effort), (&None, &None));
    assert_eq!(request.form, Form::default());
    let (plan, rules) = request.into_plan(Target {
        model: "gpt-6-sol".to_owned(),
        effort: Some("low".to_owned()),
        provider: Some("proxy".to_owned()),
    });
    assert_smallest(&plan, &rules);
}

#[test]
fn the_answers_form_is_read() {
    let functions = json!([{"name": "f"}]);
    let tools = json!([{"type": "function", "function": {"name": "f"}}]);
    let usage =
        |include: Value| json!({"stream": true, "stream_options": {"include_usage": include}});
    for (members, stream, include_usage, functions) in [
        (json!({"stream": true}), true, false, false),
        (
            json!({"stream": null, "stream_options": null}),
            false,
            false,
            false,
        ),
        (usage(json!(true)), true, true, false),
        (usage(json!(null)), true, false, false),
        (
            json!({"stream": true, "include_usage": true}),
            true,
            true,
            false,
        ),
        (json!({"functions": functions}), false, false, true),
        (
            json!({"tools": tools, "functions": null}),
            false,
            false,
            false,
        ),
    ] {
        let expected = Form {
            stream,
            include_usage,
            functions,
            one_call: functions,
            ..Form::default()
        };
        assert_eq!(hi_with(&members).form, expected, "{members}");
    }
    for (parallel, one_call) in [
        (json!(true), false),
        (json!(null), false),
        (json!(false), true),
    ] {
        let request = hi_with(&json!({"parallel_tool_calls": parallel}));
        assert_eq!(request.form.one_call, one_call);
    }
}

#[test]
fn model_and_effort_are_the_clients_words() {
    let both = json!({"reasoning_effort": "none", "reasoning": {"effort": "low"}});
    for (members, model, effort) in [
        (json!({"model": "codex-5"}), Some("codex-5"), None),
        (json!({"model": null, "reasoning_effort": null}), None, None),
        (json!({"model": "", "reasoning_effort": ""}), None, None),
        (json!({"reasoning_effort": "xhigh"}), None, Some("xhigh")),
        (both, None, Some("none")),
        (
            json!({"reasoning": {"effort": "minimal"}}),
            None,
            Some("minimal"),
        ),
        (json!({"reasoning": null}), None, None),
    ] {
        let request = hi_with(&members);
        let found = (request.model.as_deref(), request.effort.as_deref());
        assert_eq!(found, (model, effort), "{members}");
    }
}

#[test]
fn limits_and_stop_sequences_are_ours_to_enforce() {
    for (members, max_tokens, stop) in [
        (json!({"max_tokens": 5}), Some(5), &[][..]),
        (
            json!({"max_completion_tokens": 7, "max_tokens": 5}),
            Some(7),
            &[],
        ),
        (
            json!({"max_completion_tokens": null, "max_tokens": 5}),
            Some(5),
            &[],
        ),
        (json!({"stop": null}), None, &[]),
        (json!({"stop": "END"}), None, &["END"]),
        (json!({"stop": []}), None, &[]),
        (
            json!({"stop": ["a", "b", "c", "\n"]}),
            None,
            &["a", "b", "c", "\n"],
        ),
    ] {
        let request = hi_with(&members);
        let (_, rules) = request.into_plan(Target::default());
        assert_eq!(rules.max_tokens, max_tokens, "{members}");
        assert_eq!(rules.stop, stop, "{members}");
    }
}

#[test]
fn a_response_format_is_a_schema_or_an_instruction() {
    let schema = json!({"type": "object", "properties": {"maybe": {"type": "string"}}});
    let strictly = json!({"type": "object", "properties": {}, "additionalProperties": false});
    let list = json!({"type": "array", "items": {"type": "string"}});
    let named = |schema: &Value, strict: Value| {
        let named = json!({"name": "answer", "schema": schema, "strict": strict});
        json!({"type": "json_schema", "json_schema": named})
    };
    for (format, expected, says) in [
        (json!(null), None, None),
        (json!({"type": "text"}), None, None),
        (json!({"type": "json_object"}), None, Some("JSON object")),
        (named(&schema, json!(true)), Some(&schema), None),
        (
            named(&schema, json!(false)),
            None,
            Some(r#"{"maybe":{"type":"string"}}"#),
        ),
        (
            named(&schema, json!(null)),
            None,
            Some("valid against this JSON Schema"),
        ),
        (named(&strictly, json!(null)), Some(&strictly), None),
        (named(&list, json!(false)), Some(&list), None),
    ] {
        let request = hi_with(&json!({ "response_format": format }));
        let (plan, rules) = request.into_plan(Target::default());
        assert_eq!(plan.json, expected.is_some() || says.is_some());
        assert_eq!(plan.output_schema.as_ref(), expected, "{format}");
        assert_eq!(rules.json_object, says.is_some());
        assert_instruction(&plan.history, says);
    }
}

#[test]
fn verbosity_and_service_tier_are_passed_on_where_codex_knows_them() {
    for (verbosity, tier, expected_tier) in [
        (Some("low"), Some("flex"), Some("flex")),
        (None, Some("priority"), Some("priority")),
        (None, Some("fast"), Some("priority")),
        (None, Some("scale"), None),
        (Some("high"), Some("auto"), None),
        (None, Some("default"), None),
        (None, None, None),
    ] {
        let members = json!({"verbosity": verbosity, "service_tier": tier});
        let plan = plan(hi_with(&members));
        let found = (plan.verbosity.as_deref(), plan.service_tier.as_deref());
        assert_eq!(found, (verbosity, expected_tier), "{members}");
    }
}

#[test]
fn a_clients_cache_key_is_the_plans_unless_it_is_empty() {
    for (given, expected) in [
        (json!("k"), Some("k")),
        (json!(""), None),
        (json!(null), None),
    ] {
        let plan = plan(hi_with(&json!({"prompt_cache_key": given})));
        assert_eq!(plan.cache_key.as_deref(), expected);
    }
}

/// Clients send these members, with values and with nulls; Codex has no use for them.
#[test]
fn what_means_nothing_to_codex_is_ignored() {
    let values = json!({
        "temperature": 0.2, "top_p": 1, "seed": 7,
        "store": true, "frequency_penalty": 0, "presence_penalty": 0.1, "n": 1,
        "logit_bias": {}, "logprobs": false, "top_logprobs": 0,
        "parallel_tool_calls": true, "modalities": ["text"],
        "prediction": null, "no_such_thing": {"at": ["all"]},
    });
    let names = values.as_object().expect("an object").keys();
    let nulls: Value = names.map(|name| (name.clone(), Value::Null)).collect();
    let plain = hi_with(&json!({}));
    assert_eq!(hi_with(&values), plain);
    assert_eq!(hi_with(&nulls), plain);
}

#[test]
fn a_body_that_is_no_json_object_is_refused() {
    for (body, code, says) in [
        (&b""[..], "invalid_json", "no body"),
        (b"{\"messages\": [}", "invalid_json", "line 1 column 15"),
        (b"{\n  'a': 1}", "invalid_json", "line 2 column 3"),
        (b"{} {}", "invalid_json", "line 1 column 4"),
        (b"\xff", "invalid_json", "line 1 column 1"),
        (b"[]", TYPE, "an object, but it is an array"),
        (b"\"text\"", TYPE, "an object, but it is a string"),
        (b"null", TYPE, "an object, but it is null"),
    ] {
        let error = ChatRequest::parse(body, &Reading::default()).expect_err("a refusal");
        let found = (error.status, &*error.code, error.param.as_deref());
        assert_eq!(found, (400, code, None));
        assert!(error.message.contains(says), "{error}");
    }
}

#[test]
fn members_that_are_not_what_they_should_be_are_refused() {
    let usage = json!({"stream_options": {"include_usage": "yes"}});
    let format = |format: Value| json!({ "response_format": format });
    let schema =
        |named: Value| json!({"response_format": {"type": "json_schema", "json_schema": named}});
    assert_refused(&[
        (json!({"model": {}}), TYPE, "model"),
        (json!({"stream": "true"}), TYPE, "stream"),
        (json!({"stream": 1}), TYPE, "stream"),
        (json!({"stream_options": true}), TYPE, "stream_options"),
        (usage, TYPE, "stream_options.include_usage"),
        (json!({"reasoning_effort": 1}), TYPE, "reasoning_effort"),
        (json!({"reasoning": "high"}), TYPE, "reasoning"),
        (
            json!({"reasoning": {"effort": {}}}),
            TYPE,
            "reasoning.effort",
        ),
        (json!({"verbosity": 1}), TYPE, "verbosity"),
        (json!({"verbosity": "loud"}), VALUE, "verbosity"),
        (json!({"service_tier": "gold"}), VALUE, "service_tier"),
        (format(json!("text")), TYPE, "response_format"),
        (format(json!({})), MISSING, "response_format.type"),
        (
            format(json!({"type": "xml"})),
            VALUE,
            "response_format.type",
        ),
        (schema(json!(null)), MISSING, "response_format.json_schema"),
        (
            schema(json!({"name": "a"})),
            MISSING,
            "response_format.json_schema.schema",
        ),
        (
            schema(json!({"schema": []})),
            TYPE,
            "response_format.json_schema.schema",
        ),
        (
            schema(json!({"schema": {}, "strict": "yes"})),
            TYPE,
            "response_format.json_schema.strict",
        ),
    ]);
}

#[test]
fn numbers_and_stop_sequences_out_of_range_are_refused() {
    let below = "integer_below_min_value";
    let unsupported = "unsupported_value";
    let five = json!({"stop": ["a", "b", "c", "d", "e"]});
    assert_refused(&[
        (json!({"max_tokens": 0}), below, "max_tokens"),
        (json!({"max_tokens": -1}), below, "max_tokens"),
        (json!({"max_tokens": 1.5}), TYPE, "max_tokens"),
        (json!({"max_tokens": "5"}), TYPE, "max_tokens"),
        (
            json!({"max_completion_tokens": 0}),
            below,
            "max_completion_tokens",
        ),
        (
            json!({"max_completion_tokens": 1e30}),
            TYPE,
            "max_completion_tokens",
        ),
        (json!({"n": 0}), "integer_below_min_value", "n"),
        (json!({"n": "1"}), "invalid_type", "n"),
        (json!({"n": 1.5}), "invalid_type", "n"),
        (json!({"logprobs": true}), unsupported, "logprobs"),
        (json!({"logprobs": 3}), TYPE, "logprobs"),
        (json!({"top_logprobs": 2}), unsupported, "top_logprobs"),
        (
            json!({"modalities": ["text", "audio"]}),
            unsupported,
            "modalities",
        ),
        (
            json!({"web_search_options": {}}),
            unsupported,
            "web_search_options",
        ),
        (
            json!({"moderation": {"model": "m"}}),
            unsupported,
            "moderation",
        ),
        (json!({"stop": 1}), TYPE, "stop"),
        (json!({"stop": ""}), "empty_string", "stop"),
        (json!({"stop": ["a", ""]}), "empty_string", "stop[1]"),
        (json!({"stop": ["a", null]}), TYPE, "stop[1]"),
        (five, "array_above_max_length", "stop"),
    ]);
}

#[test]
fn a_refusal_says_what_would_be_right() {
    for (members, says) in [
        (
            json!({"verbosity": "loud"}),
            "'loud'. Supported values are: 'low', 'medium', 'high'.",
        ),
        (
            json!({"max_tokens": 1.5}),
            "expected a whole number, but got a decimal number.",
        ),
        (json!({"max_tokens": -3}), "at least 1, not -3."),
    ] {
        let error = refusal(&body_with(&members));
        assert!(error.message.contains(says), "{error}");
    }
    let long = json!({"messages": [{"role": "é".repeat(10_000), "content": "hi"}]});
    let message = &refusal(&long).message;
    assert!(
        message.len() < 300,
        "the client's words are shortened: {message}"
    );
}
