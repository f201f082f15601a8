//! The bytes of answers, against the files in `tests/fixtures/golden/responses`: `NAME.sse` streamed, `NAME.json` in one piece.

use super::*;
use crate::codex::{self, Cause};
use crate::openai::tests::golden::{assert_golden, busy, call, end, head, says};
use crate::turn::{self, Delta, Finish};

fn thinks(text: &str) -> Delta {
    Delta::Reasoning(text.to_owned())
}

fn context(members: &Value) -> Context {
    let target = Target {
        effort: Some("low".to_owned()),
        ..Target::default()
    };
    let planned = hi_with(members).into_plan(target, Memory::default());
    planned.expect("a plan").2
}

fn events(members: &Value, deltas: &[Delta]) -> Vec<Event> {
    let (mut events, mut out) = (
        Events::new(head("resp_golden"), context(members)),
        Vec::new(),
    );
    events.begin(&mut out);
    for delta in deltas {
        events.push(delta.clone(), &mut out);
    }
    out
}

fn object(members: &Value, deltas: &[Delta]) -> Result<String, ApiError> {
    let mut object = ResponseObject::new(head("resp_golden"), context(members));
    for delta in deltas {
        object.push(delta.clone());
    }
    object.into_json().map(|(json, _)| json)
}

fn values(events: &[Event]) -> Vec<Value> {
    let values = events
        .iter()
        .map(|event| serde_json::from_str(&event.data).expect("JSON"));
    values.collect()
}

fn sse(events: &[Event]) -> String {
    let frames = events
        .iter()
        .map(|event| format!("event: {}\ndata: {}\n\n", event.name, event.data));
    frames.collect()
}

fn answers() -> Vec<(&'static str, Vec<Delta>)> {
    vec![
        (
            "text",
            vec![says("Hel"), says("lo \"wörld\"\n"), end(Finish::Stop)],
        ),
        ("empty", vec![end(Finish::Stop)]),
        (
            "reasoning",
            vec![thinks("**Hm"), thinks("**"), says("Yes"), end(Finish::Stop)],
        ),
        ("length", vec![says("Once"), end(Finish::Length)]),
        (
            "content-filter",
            vec![says("Once"), end(Finish::ContentFilter)],
        ),
        (
            "tool-calls",
            vec![
                call(0, "{\"city\":\"Paris\"}"),
                call(1, ""),
                end(Finish::ToolCalls),
            ],
        ),
        (
            "every-kind",
            vec![
                thinks("Hm."),
                says("I look."),
                call(0, "{}"),
                says("Looking."),
                thinks("So."),
                end(Finish::ToolCalls),
            ],
        ),
    ]
}

#[test]
fn answers_are_written_as_the_goldens() {
    for (name, deltas) in answers() {
        let streamed = events(&json!({}), &deltas);
        assert_golden(&format!("responses/{name}.sse"), &sse(&streamed));
        let whole = object(&json!({}), &deltas).expect("an answer") + "\n";
        assert_golden(&format!("responses/{name}.json"), &whole);
    }
    let failed = events(&json!({}), &[thinks("Hm"), says("Hel"), busy()]);
    assert_golden("responses/failure.sse", &sse(&failed));
}

#[test]
fn a_response_repeats_its_request() {
    let schema = json!({"type": "object", "properties": {}, "additionalProperties": false});
    let members = json!({
        "instructions": "Be brief.", "max_output_tokens": 100, "max_tool_calls": 3,
        "metadata": {"topic": "weather"}, "parallel_tool_calls": false, "previous_response_id": "resp_1",
        "prompt_cache_key": "k", "reasoning": {"effort": "high", "summary": "auto"},
        "safety_identifier": "s", "service_tier": "flex", "store": false, "temperature": 0.5,
        "text": {
            "format": {
                "type": "json_schema", "name": "answer", "description": "d", "schema": schema, "strict": true,
            },
            "verbosity": "low",
        },
        "tool_choice": {"type": "function", "name": "get_weather"},
        "tools": [{"type": "function", "name": "get_weather", "description": "d", "parameters": schema, "strict": true}],
        "top_p": 1, "truncation": "auto", "user": "u",
    });
    let deltas = [says("{}"), end(Finish::Stop)];
    let whole = object(&members, &deltas).expect("an answer") + "\n";
    assert_golden("responses/request-repeated.json", &whole);
    let found: Value = serde_json::from_str(&whole).expect("JSON");
    for (name, asked) in members.as_object().expect("members") {
        match name.as_str() {
            "reasoning" => assert_eq!(
                found[name],
                json!({"effort": "low", "summary": "auto"}),
                "what is used"
            ),
            "tools" => assert_eq!(found[name][0]["strict"], false, "Codex has no such setting"),
            "temperature" | "top_p" => assert_eq!(found[name], 1.0, "the value that holds"),
            _ => assert_eq!(found[name], *asked, "{name}"),
        }
    }
}

#[test]
fn a_response_does_not_repeat_unknown_members() {
    let f = json!({"type": "function", "name": "f", "description": "d", "parameters": {}, "strict": false});
    let named = json!({"type": "function", "name": "f"});
    let unknown = |known: &Value| {
        let mut value = known.clone();
        value["mood"] = json!("good");
        value
    };
    let found = |members: Value| {
        let whole = object(&members, &[says("{}"), end(Finish::Stop)]).expect("an answer");
        serde_json::from_str::<Value>(&whole).expect("JSON")
    };
    let allowed = json!({"type": "allowed_tools", "mode": "auto", "tools": [named]});
    let asked = json!({"type": "allowed_tools", "mode": "auto", "tools": [unknown(&named)]});
    for (asked, expected) in [(unknown(&named), named), (unknown(&asked), allowed)] {
        let found = found(json!({"tools": [unknown(&f)], "tool_choice": asked}));
        assert_eq!(found["tools"], json!([f]));
        assert_eq!(found["tool_choice"], expected);
    }
    let schema = json!({
        "type": "json_schema", "name": "n", "description": "d", "schema": {"type": "object"}, "strict": false,
    });
    for format in [
        schema,
        json!({"type": "json_object"}),
        json!({"type": "text"}),
    ] {
        let found = found(json!({"text": {"format": unknown(&format)}}));
        assert_eq!(found["text"]["format"], format);
    }
}

/// Typed clients fail on a member that is missing or has another type.
#[test]
fn a_response_has_the_members_that_typed_clients_expect() {
    let f = json!({"type": "function", "name": "f"});
    let schema = json!({"type": "object"});
    let format = json!({"type": "json_schema", "name": "n", "schema": schema, "strict": null});
    let whole = object(
        &json!({"tools": [f], "top_p": 0.1, "text": {"format": format}}),
        &[says("{}"), end(Finish::Stop)],
    );
    let found: Value = serde_json::from_str(&whole.expect("an answer")).expect("JSON");
    let tool = json!({
        "type": "function", "name": "f", "description": null, "parameters": null, "strict": false,
    });
    assert_eq!(found["tools"], json!([tool]));
    let format = json!({
        "type": "json_schema", "name": "n", "description": null, "schema": schema, "strict": false,
    });
    assert_eq!(found["text"]["format"], format);
    for (name, holds) in [
        ("temperature", json!(1.0)),
        ("top_p", json!(1.0)),
        ("presence_penalty", json!(0.0)),
        ("frequency_penalty", json!(0.0)),
        ("top_logprobs", json!(0)),
        ("completed_at", found["created_at"].clone()),
    ] {
        assert_eq!(found[name], holds, "{name}");
    }
    let cut = object(&json!({}), &[says("hi"), end(Finish::Length)]).expect("an answer");
    let cut: Value = serde_json::from_str(&cut).expect("JSON");
    assert_eq!(cut["completed_at"], Value::Null, "it is incomplete");
}

#[test]
fn the_stream_ends_with_what_the_object_says() {
    for (name, deltas) in answers() {
        let streamed = values(&events(&json!({}), &deltas));
        let whole = object(&json!({}), &deltas).expect("an answer");
        let whole: Value = serde_json::from_str(&whole).expect("JSON");
        assert_eq!(
            streamed.last().expect("an end")["response"],
            whole,
            "{name}"
        );
        let done: Vec<&Value> = streamed
            .iter()
            .filter(|event| event["type"] == "response.output_item.done")
            .map(|event| &event["item"])
            .collect();
        assert_eq!(json!(done), whole["output"], "{name}");
    }
}

/// Joined as SDKs join them, the deltas give the content of the done events and of the items.
#[test]
fn deltas_join_to_what_is_done() {
    for (name, deltas) in answers() {
        let mut joined = String::new();
        for event in values(&events(&json!({}), &deltas)) {
            let kind = event["type"].as_str().expect("a type");
            if kind.ends_with(".delta") {
                joined.push_str(event["delta"].as_str().expect("a delta"));
            }
            let done = event["text"].as_str().or(event["arguments"].as_str());
            if let Some(done) = done {
                assert_eq!(std::mem::take(&mut joined), done, "{name}: {kind}");
            }
        }
        assert!(joined.is_empty(), "{name}: never done: {joined}");
    }
}

#[test]
fn events_are_numbered_named_and_say_which_item_they_are_about() {
    for (name, deltas) in answers() {
        let written = events(&json!({}), &deltas);
        let mut open: Option<(Value, Value)> = None;
        let mut items = 0;
        for (at, (event, value)) in written.iter().zip(values(&written)).enumerate() {
            assert_eq!(value["sequence_number"], at, "{name}");
            assert_eq!(value["type"], event.name, "{name}");
            let index = value["output_index"].clone();
            match event.name {
                "response.output_item.added" => {
                    assert_eq!(open, None, "{name}: one item at a time");
                    assert_eq!(index, items, "{name}");
                    items += 1;
                    open = Some((value["item"]["id"].clone(), index));
                }
                "response.output_item.done" => {
                    let about = (value["item"]["id"].clone(), index);
                    assert_eq!(open.take(), Some(about), "{name}");
                }
                _ if value.get("response").is_some() => assert_eq!(open, None, "{name}"),
                _ => assert_eq!(open, Some((value["item_id"].clone(), index)), "{name}"),
            }
        }
    }
}

#[test]
fn the_beginning_is_written_once() {
    let mut events = Events::new(head("resp_golden"), context(&json!({})));
    let mut out = Vec::new();
    events.push(says("a"), &mut out);
    events.begin(&mut out);
    let names: Vec<&str> = out.iter().map(|event| event.name).collect();
    assert_eq!(names[..2], ["response.created", "response.in_progress"]);
    assert_eq!(names.iter().filter(|name| **name == names[0]).count(), 1);
}

#[test]
fn nothing_follows_the_end() {
    for last in [end(Finish::Stop), busy()] {
        let once = events(&json!({}), &[says("a"), last.clone()]);
        let more = [says("a"), last, says("b"), busy(), end(Finish::Length)];
        assert_eq!(events(&json!({}), &more), once);
        let once = object(&json!({}), &more[..2]);
        assert_eq!(object(&json!({}), &more), once);
    }
}

#[test]
fn an_answer_that_fails_or_breaks_off_is_never_told_as_complete() {
    let failed = object(&json!({}), &[says("Hel"), busy()]);
    assert_eq!(failed.expect_err("the failure").code, "worker_busy");
    let cut = object(&json!({}), &[says("Hel")]);
    assert_eq!(cut.expect_err("a failure").status, 502);
    let streamed = events(&json!({}), &[says("Hel"), busy()]);
    let last = values(&streamed).pop().expect("an end");
    assert_eq!(last["type"], "response.failed");
    assert_eq!(last["response"]["status"], "failed");
    assert_eq!(last["response"]["output"][0]["status"], "incomplete");
    assert!(!sse(&streamed).contains("\"completed\""));
}

/// Clients accept only the codes OpenAI has published.
#[test]
fn failures_have_published_codes() {
    for (cause, code) in [
        (Cause::RateLimited, "rate_limit_exceeded"),
        (Cause::Quota, "rate_limit_exceeded"),
        (Cause::ContextLength, "invalid_prompt"),
        (Cause::ContentPolicy, "invalid_prompt"),
        (Cause::Overloaded, "server_error"),
        (Cause::Disconnected, "server_error"),
    ] {
        let failure = Delta::Failed(turn::Error::Codex(codex::Error::Upstream {
            cause,
            status: None,
            message: "http://10.0.0.7".to_owned(),
            named: codex::Named::default(),
        }));
        let streamed = events(&json!({}), &[failure]);
        let last = values(&streamed).pop().expect("an end");
        assert_eq!(last["response"]["error"]["code"], code, "{cause}");
        assert!(!last.to_string().contains("10.0.0.7"), "{last}");
    }
}

/// The length of an answer must not make each of its deltas more expensive.
#[test]
fn a_delta_costs_the_same_however_much_came_before() {
    let mut events = Events::new(head("resp_golden"), context(&json!({})));
    let mut bytes = |delta: Delta| {
        let mut out = Vec::new();
        events.push(delta, &mut out);
        out.iter().map(|event| event.data.len()).sum::<usize>()
    };
    bytes(says("word "));
    let early = bytes(says("word "));
    for _ in 0..10_000 {
        bytes(says("word "));
    }
    // The sequence number has four digits more.
    assert_eq!(bytes(says("word ")), early + 4);
}
