//! Calls and their outputs in the history: pairing, ids, and what is refused.

use super::messages::{assert_messages_refused, history};
use super::*;
use crate::codex::tests::{call as calls, output as returns};

#[test]
fn calls_and_their_outputs_stay_tied() {
    let call = |id: &str, arguments: Value| {
        let function = json!({"name": "get", "arguments": arguments});
        json!({"id": id, "type": "function", "function": function})
    };
    let two = json!([
        call("c1", json!("{\"city\":\"Paris\"}")),
        call("c2", json!(""))
    ]);
    let sun = json!([{"type": "text", "text": "sun"}]);
    let messages = json!([
        {"role": "user", "content": "weather?"},
        {"role": "assistant", "content": "I look.", "tool_calls": two},
        {"role": "tool", "tool_call_id": "c2", "content": "rain"},
        {"role": "tool", "tool_call_id": "c1", "content": sun, "name": "get"},
        {"role": "assistant", "content": null, "tool_calls": [call("c3", json!(null))]},
        {"role": "tool", "tool_call_id": "c3", "content": null},
    ]);
    let expected = [
        says(Role::User, "weather?"),
        says(Role::Assistant, "I look."),
        calls("call_past_1", "get", "{\"city\":\"Paris\"}"),
        calls("call_past_2", "get", "{}"),
        returns("call_past_2", "rain"),
        returns("call_past_1", "sun"),
        calls("call_past_3", "get", "{}"),
        returns("call_past_3", ""),
    ];
    assert_eq!(history(&messages), expected);
}

#[test]
fn ids_that_clients_reuse_or_make_too_long_stay_apart() {
    let (one, other) = ("a".repeat(64) + "1", "a".repeat(64) + "2");
    let call = |id: &str| json!({"id": id, "function": {"name": "get"}});
    let output =
        |id: &str, words: &str| json!({"role": "tool", "tool_call_id": id, "content": words});
    let history = history(&json!([
        {"role": "assistant", "tool_calls": [call(&one), call(&other)]},
        output(&other, "2"),
        output(&one, "1"),
        {"role": "assistant", "tool_calls": [call(&one)]},
        output(&one, "3"),
    ]));
    let ids = history.iter().map(|item| match item {
        Item::Call { id, .. } | Item::CallOutput { id, .. } => id.as_str(),
        Item::Message { .. } => panic!("{history:?}"),
    });
    let [first, second, third] = ["call_past_1", "call_past_2", "call_past_3"];
    let expected = [first, second, second, first, third, third];
    assert_eq!(ids.collect::<Vec<_>>(), expected);
}

#[test]
fn an_id_that_is_empty_or_twice_in_a_message_is_refused() {
    let call = |id: &str| json!({"id": id, "function": {"name": "get"}});
    let assistant = |calls: Value| json!([{"role": "assistant", "tool_calls": calls}]);
    let output = json!({"role": "tool", "tool_call_id": "", "content": "a"});
    assert_messages_refused(&[
        (
            assistant(json!([call("")])),
            "empty_string",
            "messages[0].tool_calls[0].id",
        ),
        (
            assistant(json!([call("c"), call("c")])),
            VALUE,
            "messages[0].tool_calls[1].id",
        ),
        (json!([output]), "empty_string", "messages[0].tool_call_id"),
    ]);
}

#[test]
fn a_call_without_its_output_is_refused_where_the_output_should_be() {
    let call = |id: &str| json!({"id": id, "function": {"name": "get"}});
    let both = json!({"role": "assistant", "tool_calls": [call("c1"), call("c2")]});
    let user = json!({"role": "user", "content": "a"});
    let output = |id: &str| json!({"role": "tool", "tool_call_id": id, "content": "out"});
    let [one, other] = [output("c1"), output("c2")];
    for (messages, missing) in [
        (json!([user, both]), "c1, c2"),
        (json!([user, both, other]), "c1"),
        (json!([user, both, one, user, other]), "c2"),
        (
            json!([user, both, other, {"role": "system", "content": "a"}, one]),
            "c1",
        ),
        (
            json!([user, both, {"role": "assistant", "content": ""}, one, other]),
            "c1, c2",
        ),
    ] {
        let body = json!({ "messages": messages });
        assert_refusal(&body, VALUE, "messages[1].tool_calls");
        let told = &refusal(&body).message;
        assert!(
            told.ends_with(&format!("response messages: {missing}.")),
            "{told}"
        );
    }
    history(&json!([user, both, other, one, user, both, one, other]));
}

#[test]
fn a_second_output_of_a_call_is_refused() {
    let call = json!({"id": "c", "function": {"name": "f"}});
    let output = json!({"role": "tool", "tool_call_id": "c", "content": "a"});
    let function = json!({"role": "function", "name": "f", "content": "a"});
    assert_messages_refused(&[
        (
            json!([{"role": "assistant", "tool_calls": [call]}, output, output]),
            VALUE,
            "messages[2].tool_call_id",
        ),
        (
            json!([{"role": "assistant", "function_call": call["function"]}, function, function]),
            VALUE,
            "messages[2].name",
        ),
    ]);
}

#[test]
fn a_function_message_answers_the_latest_call_of_its_name() {
    let call = |name: &str| json!({"name": name, "arguments": "{}"});
    let history = history(&json!([
        {"role": "assistant", "content": null, "function_call": call("f")},
        {"role": "function", "name": "f", "content": "one"},
        {"role": "assistant", "content": null, "function_call": call("g")},
        {"role": "assistant", "content": null, "function_call": call("f")},
        {"role": "function", "name": "f", "content": "two"},
        {"role": "function", "name": "g", "content": null},
    ]));
    let id = |at: usize| match &history[at] {
        Item::Call { id, .. } | Item::CallOutput { id, .. } => id.as_str(),
        Item::Message { .. } => panic!("{history:?}"),
    };
    assert_eq!([id(1), id(4), id(5)], [id(0), id(3), id(2)]);
    assert_ne!(id(0), id(3), "each call has an id of its own");
}

#[test]
fn calls_and_outputs_that_do_not_fit_are_refused() {
    let assistant = |name: &str, value: Value| json!([{"role": "assistant", name: value}]);
    let call = |call: Value| assistant("tool_calls", json!([call]));
    let arguments = json!({"id": "c", "function": {"name": "f", "arguments": {}}});
    let orphan = json!([{"role": "tool", "tool_call_id": "c", "content": "a"}]);
    let nameless = json!([{"role": "function", "name": "f", "content": "a"}]);
    assert_messages_refused(&[
        (
            assistant("tool_calls", json!({})),
            TYPE,
            "messages[0].tool_calls",
        ),
        (call(json!(1)), TYPE, "messages[0].tool_calls[0]"),
        (
            call(json!({"type": "telepathy"})),
            VALUE,
            "messages[0].tool_calls[0].type",
        ),
        (
            call(json!({"type": "function"})),
            MISSING,
            "messages[0].tool_calls[0].id",
        ),
        (
            call(json!({"id": "c"})),
            MISSING,
            "messages[0].tool_calls[0].function",
        ),
        (
            call(json!({"id": "c", "function": {}})),
            MISSING,
            "messages[0].tool_calls[0].function.name",
        ),
        (
            call(arguments),
            TYPE,
            "messages[0].tool_calls[0].function.arguments",
        ),
        (
            assistant("function_call", json!("f")),
            TYPE,
            "messages[0].function_call",
        ),
        (
            assistant("function_call", json!({})),
            MISSING,
            "messages[0].function_call.name",
        ),
        (
            json!([{"role": "tool", "content": "a"}]),
            MISSING,
            "messages[0].tool_call_id",
        ),
        (orphan, VALUE, "messages[0].tool_call_id"),
        (
            json!([{"role": "function", "content": "a"}]),
            MISSING,
            "messages[0].name",
        ),
        (nameless, VALUE, "messages[0].name"),
    ]);
}
