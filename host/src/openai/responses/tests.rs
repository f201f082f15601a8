//! Requests that are parsed, requests that are refused, the memory of responses, and the bytes of answers.

mod answers;
mod input;
mod memory;
mod tools;

use serde_json::{Value, json};

use super::*;
use crate::codex::tests::{call as calls, output as returns};
use crate::codex::{Part, Role, Tool};
use crate::openai::tests::{assert_invalid, assert_smallest};

const TYPE: &str = "invalid_type";
const VALUE: &str = "invalid_value";
const MISSING: &str = "missing_required_parameter";
const UNSUPPORTED: &str = "unsupported_value";

/// The body of a request with the input "hi" and these additional members.
fn body_with(members: &Value) -> Value {
    let mut body = json!({"input": "hi"});
    let members = members.as_object().expect("members").clone();
    body.as_object_mut().expect("an object").extend(members);
    body
}

fn parse(body: &Value) -> Result<ResponsesRequest, ApiError> {
    ResponsesRequest::parse(body.to_string().as_bytes(), &Reading::default())
}

fn hi_with(members: &Value) -> ResponsesRequest {
    let body = body_with(members);
    parse(&body).unwrap_or_else(|error| panic!("{error}: {body}"))
}

fn planned(request: ResponsesRequest) -> (Plan, Rules, Context) {
    let planned = request.into_plan(Target::default(), Memory::default());
    planned.unwrap_or_else(|error| panic!("{error}"))
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

/// Asserts a refusal by the parser, or after the earlier conversation is known.
fn assert_refusal(body: &Value, code: &str, param: &str) {
    let planned =
        parse(body).and_then(|request| request.into_plan(Target::default(), Memory::default()));
    let error = planned.expect_err(&body.to_string());
    assert_invalid(&error, body, code, param);
}

/// Asserts the refusal of members other than `input`: the members, the code, the param.
fn assert_refused(cases: &[(Value, &str, &str)]) {
    for (members, code, param) in cases {
        assert_refusal(&body_with(members), code, param);
    }
}

#[test]
fn the_smallest_request_leaves_everything_open() {
    let request = hi_with(&json!({}));
    assert_eq!((&request.model, &request.effort), (&None, &None));
    assert!(!request.stream, "not streamed unless asked for");
    assert!(request.store, "OpenAI remembers unless told not to");
    let target = Target {
        model: "gpt-6-sol".to_owned(),
        effort: Some("low".to_owned()),
        provider: Some("proxy".to_owned()),
    };
    let (plan, rules, _) = request
        .into_plan(target, Memory::default())
        .expect("a plan");
    assert_smallest(&plan, &rules);
}

#[test]
fn what_the_gateway_has_to_know_is_read() {
    let request = hi_with(&json!({
        "model": "codex-5", "stream": true, "store": false, "previous_response_id": "resp_1",
        "reasoning": {"effort": "xhigh", "summary": "concise"}, "max_output_tokens": 9,
        "service_tier": "flex", "text": {"verbosity": "low"}, "prompt_cache_key": "k",
    }));
    assert_eq!(request.model.as_deref(), Some("codex-5"));
    assert_eq!(request.effort.as_deref(), Some("xhigh"));
    assert_eq!(request.previous_response_id.as_deref(), Some("resp_1"));
    assert_eq!((request.stream, request.store), (true, false));
    let (plan, rules, _) = planned(request);
    assert_eq!(rules.max_tokens, Some(9));
    assert_eq!(plan.service_tier.as_deref(), Some("flex"));
    assert_eq!(plan.verbosity.as_deref(), Some("low"));
    assert_eq!(plan.summary.as_deref(), Some("concise"));
    assert_eq!(plan.cache_key.as_deref(), Some("k"));
}

#[test]
fn instructions_come_first_and_ours_last() {
    let members = json!({
        "instructions": "Be brief.",
        "text": {"format": {"type": "json_object"}},
        "tools": [{"type": "function", "name": "f"}],
        "tool_choice": {"type": "function", "name": "f"},
    });
    let (plan, ..) = planned(hi_with(&members));
    let [first, hi, form, choice] = &plan.history[..] else {
        panic!("{:?}", plan.history);
    };
    assert_eq!(*first, says(Role::Developer, "Be brief."));
    assert_eq!(*hi, says(Role::User, "hi"));
    assert!(format!("{form:?}").contains("JSON object"));
    assert!(format!("{choice:?}").contains("must call the function `f`"));
}

#[test]
fn a_schema_is_passed_on() {
    let schema = json!({"type": "object"});
    let format = json!({"type": "json_schema", "name": "answer", "schema": schema, "strict": true});
    let (plan, ..) = planned(hi_with(&json!({"text": {"format": format}})));
    assert_eq!(plan.output_schema, Some(schema.clone()));
    assert_eq!(plan.history, [says(Role::User, "hi")]);
    // If it were sent as a schema, Codex would send it as strict.
    let format = json!({"type": "json_schema", "name": "answer", "schema": schema});
    let (plan, rules, _) = planned(hi_with(&json!({"text": {"format": format}})));
    assert!(plan.output_schema.is_none() && rules.json_object);
    assert!(format!("{:?}", plan.history).contains("JSON Schema"));
}

#[test]
fn functions_are_offered_as_they_were_given() {
    let schema = json!({"type": "object", "properties": {"city": {"type": "string"}}});
    let f = json!({"type": "function", "name": "f", "description": "Weather", "parameters": schema, "strict": true});
    let g = json!({"type": "function", "name": "g", "parameters": null, "strict": null});
    let tool = |name: &str, description: Option<&str>, parameters: Value| Tool {
        name: name.to_owned(),
        description: description.map(str::to_owned),
        parameters,
    };
    let expected = [
        tool("f", Some("Weather"), schema),
        tool("g", None, json!({"type": "object", "properties": {}})),
    ];
    for (choice, says) in [
        (json!(null), None),
        (json!("auto"), None),
        (json!("required"), Some("must call at least one")),
        (
            json!({"type": "function", "name": "g"}),
            Some("function `g`"),
        ),
    ] {
        let (plan, rules, _) = planned(hi_with(&json!({"tools": [f, g], "tool_choice": choice})));
        assert_eq!(plan.tools, expected);
        assert!(rules.tools);
        let last = format!("{:?}", plan.history.last());
        assert_eq!(plan.history.len(), 1 + usize::from(says.is_some()));
        assert!(last.contains(says.unwrap_or("hi")), "{choice}: {last}");
    }
    let allowed = json!({"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "g"}]});
    let (plan, ..) = planned(hi_with(&json!({"tools": [f, g], "tool_choice": allowed})));
    assert_eq!(plan.tools, expected[1..]);
    assert!(format!("{:?}", plan.history.last()).contains("must call at least one"));
    let (plan, rules, _) = planned(hi_with(&json!({"tools": [f], "tool_choice": "none"})));
    assert!(plan.tools.is_empty() && !rules.tools);
}

/// Clients send these members, with values and with nulls; Codex has no use for them.
#[test]
fn what_means_nothing_to_codex_is_accepted() {
    let values = json!({
        "temperature": 0.2, "top_p": 1, "truncation": "auto", "user": "u", "metadata": {"a": "b"},
        "include": ["reasoning.encrypted_content"], "parallel_tool_calls": false, "background": false,
        "safety_identifier": "s", "max_tool_calls": 0, "top_logprobs": 0,
        "stream_options": {"include_obfuscation": true}, "no_such_thing": {"at": ["all"]},
    });
    let (plain, rules, _) = planned(hi_with(&json!({})));
    let (plan, same, _) = planned(hi_with(&values));
    assert_eq!((&plan, &same), (&plain, &rules));
    let more = [
        "model",
        "instructions",
        "max_output_tokens",
        "previous_response_id",
        "reasoning",
        "service_tier",
        "store",
        "stream",
        "text",
        "tool_choice",
        "tools",
        "conversation",
        "prompt",
    ];
    let names = values.as_object().expect("an object").keys();
    let names = names.map(String::as_str).chain(more);
    let nulls: Value = names.map(|name| (name.to_owned(), Value::Null)).collect();
    assert_eq!(hi_with(&nulls), hi_with(&json!({})));
}

#[test]
fn what_would_be_missed_in_the_answer_is_refused() {
    let logprobs = json!({"include": ["message.output_text.logprobs"]});
    assert_refused(&[
        (
            json!({"background": true, "store": false}),
            UNSUPPORTED,
            "store",
        ),
        (
            json!({"conversation": "conv_1"}),
            UNSUPPORTED,
            "conversation",
        ),
        (json!({"prompt": {"id": "pmpt_1"}}), UNSUPPORTED, "prompt"),
        (logprobs, UNSUPPORTED, "include"),
        (json!({"top_logprobs": 2}), UNSUPPORTED, "top_logprobs"),
    ]);
}

/// `none` is a word of Codex, not of OpenAI: `proto` would send it to the provider, which does not know it.
#[test]
fn summaries_that_openai_does_not_have_are_refused() {
    for word in ["all", "none"] {
        for member in ["summary", "generate_summary"] {
            let param = format!("reasoning.{member}");
            assert_refused(&[(json!({"reasoning": {member: word}}), VALUE, &param)]);
        }
    }
}

#[test]
fn members_that_are_not_what_they_should_be_are_refused() {
    let below = "integer_below_min_value";
    let format = |format: Value| json!({"text": {"format": format}});
    assert_refused(&[
        (json!({"model": {}}), TYPE, "model"),
        (json!({"stream": "true"}), TYPE, "stream"),
        (json!({"store": 1}), TYPE, "store"),
        (json!({"background": "no"}), TYPE, "background"),
        (json!({"instructions": ["a"]}), TYPE, "instructions"),
        (json!({"include": "a"}), TYPE, "include"),
        (json!({"max_output_tokens": 0}), below, "max_output_tokens"),
        (json!({"metadata": []}), TYPE, "metadata"),
        (json!({"metadata": {"a": 1}}), TYPE, "metadata.a"),
        (
            json!({"previous_response_id": 1}),
            TYPE,
            "previous_response_id",
        ),
        (json!({"reasoning": "high"}), TYPE, "reasoning"),
        (
            json!({"reasoning": {"effort": 1}}),
            TYPE,
            "reasoning.effort",
        ),
        (json!({"service_tier": "gold"}), VALUE, "service_tier"),
        (json!({"temperature": "hot"}), TYPE, "temperature"),
        (json!({"truncation": "some"}), VALUE, "truncation"),
        (json!({"text": "text"}), TYPE, "text"),
        (
            json!({"text": {"verbosity": "loud"}}),
            VALUE,
            "text.verbosity",
        ),
        (format(json!({})), MISSING, "text.format.type"),
        (
            format(json!({"type": "grammar"})),
            VALUE,
            "text.format.type",
        ),
        (
            format(json!({"type": "json_schema", "schema": {}})),
            MISSING,
            "text.format.name",
        ),
        (
            format(json!({"type": "json_schema", "name": "a"})),
            MISSING,
            "text.format.schema",
        ),
    ]);
}

#[test]
fn unknown_tools_and_choices_are_refused_by_name() {
    let tools = |tool: Value| json!({ "tools": [tool] });
    let nested = json!({"type": "function", "function": {"name": "f"}});
    let f = json!({"type": "function", "name": "f"});
    let choice = |choice: Value| json!({"tools": [f], "tool_choice": choice});
    assert_refused(&[
        (json!({"tools": {}}), TYPE, "tools"),
        (tools(json!({"name": "f"})), MISSING, "tools[0].type"),
        (tools(nested), MISSING, "tools[0].name"),
        (json!({"tools": [f, f]}), VALUE, "tools[1].name"),
        (choice(json!("always")), VALUE, "tool_choice"),
        (
            choice(json!({"type": "function", "name": "g"})),
            VALUE,
            "tool_choice.name",
        ),
        (
            choice(
                json!({"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "g"}]}),
            ),
            VALUE,
            "tool_choice.tools[0].name",
        ),
        (
            choice(json!({"type": "web_search"})),
            VALUE,
            "tool_choice.type",
        ),
        (json!({"tool_choice": "required"}), VALUE, "tool_choice"),
    ]);
    let body = body_with(&tools(json!({"type": "telepathy"})));
    assert_refusal(&body, VALUE, "tools[0].type");
    let error = parse(&body).expect_err("a refusal");
    assert!(error.message.contains("telepathy"), "{error}");
}
