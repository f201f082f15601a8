//! The memory of a response, and what later requests get of it.

use std::collections::HashMap;

use super::*;
use crate::codex::Usage;
use crate::openai::Head;
use crate::turn::{self, Delta, Finish};

fn head(id: &str) -> Head {
    Head {
        id: id.to_owned(),
        created: 7,
        model: "codex-5".to_owned(),
        clock: || 7,
    }
}

fn end(finish: Finish) -> Delta {
    Delta::End {
        finish,
        stop: None,
        usage: Usage::default(),
        estimated: false,
    }
}

/// An answer with one item of each kind.
fn answer() -> Vec<Delta> {
    vec![
        Delta::Reasoning("hm".to_owned()),
        Delta::Text("I ".to_owned()),
        Delta::Text("look.".to_owned()),
        Delta::Call {
            index: 0,
            id: "call_0".to_owned(),
            name: "get".to_owned(),
            arguments: String::new(),
        },
        end(Finish::ToolCalls),
    ]
}

fn streamed(context: Context, deltas: Vec<Delta>) -> Option<Memory> {
    let (mut events, mut out) = (Events::new(head("resp_a"), context), Vec::new());
    for delta in deltas {
        assert_eq!(events.take_memory(), None, "it has not ended");
        events.push(delta, &mut out);
    }
    let memory = events.take_memory();
    assert_eq!(events.take_memory(), None, "once only");
    memory
}

fn folded(context: Context, deltas: Vec<Delta>) -> Option<Memory> {
    let mut object = ResponseObject::new(head("resp_a"), context);
    for delta in deltas {
        object.push(delta);
    }
    object.into_json().ok()?.1
}

fn expected() -> Memory {
    let items = [
        ("rs_a_0", None),
        ("msg_a_1", Some(says(Role::Assistant, "I look."))),
        ("fc_a_2", Some(calls("call_0", "get", "{}"))),
    ];
    Memory {
        conversation: vec![
            says(Role::User, "hi"),
            says(Role::Assistant, "I look."),
            calls("call_0", "get", "{}"),
        ],
        input: 1,
        items: items
            .into_iter()
            .map(|(id, item)| (id.to_owned(), item))
            .collect(),
    }
}

#[test]
fn the_conversation_is_remembered_without_instructions() {
    let members = json!({
        "instructions": "Be brief.",
        "text": {"format": {"type": "json_object"}},
        "tools": [{"type": "function", "name": "get"}], "tool_choice": "required",
    });
    for remember in [streamed, folded] {
        let (plan, _, context) = planned(hi_with(&members));
        assert_eq!(plan.history.len(), 4, "three of them are instructions");
        assert_eq!(remember(context, answer()), Some(expected()));
    }
}

#[test]
fn only_what_ended_well_and_may_be_kept_is_remembered() {
    let broken = vec![
        Delta::Text("I".to_owned()),
        Delta::Failed(turn::Error::Draining),
    ];
    let cut = vec![Delta::Text("I".to_owned()), end(Finish::Length)];
    for (members, deltas, is_kept) in [
        (json!({"store": false}), answer(), false),
        (json!({}), broken, false),
        (json!({}), vec![Delta::Text("I".to_owned())], false),
        (json!({}), cut, true),
        (json!({}), vec![end(Finish::Stop)], true),
    ] {
        for remember in [streamed, folded] {
            let (.., context) = planned(hi_with(&members));
            let found = remember(context, deltas.clone());
            assert_eq!(found.is_some(), is_kept, "{members} {deltas:?}");
        }
    }
}

#[test]
fn a_request_continues_what_is_remembered() {
    let body = json!({
        "previous_response_id": "resp_a",
        "instructions": "Be long.",
        "input": [{"type": "function_call_output", "call_id": "call_0", "output": "sun"}],
    });
    let request = parse(&body).expect("a request");
    let (plan, _, context) = request
        .into_plan(Target::default(), expected())
        .expect("a plan");
    let mut said = expected().conversation;
    said.push(returns("call_0", "sun"));
    assert_eq!(plan.history[0], says(Role::Developer, "Be long."));
    assert_eq!(plan.history[1..], conversation::with_own_ids(said.clone()));
    let memory = streamed(
        context,
        vec![Delta::Text("Sun.".to_owned()), end(Finish::Stop)],
    );
    said.push(says(Role::Assistant, "Sun."));
    assert_eq!(memory.expect("a memory").conversation, said);
}

#[test]
fn nothing_new_needs_to_be_said_to_continue_unless_something_was_called() {
    let request = parse(&json!({"previous_response_id": "resp_a"})).expect("a request");
    let refused = request.clone().into_plan(Target::default(), expected());
    let told = &refused.expect_err("a refusal").message;
    assert_eq!(told, "No tool output found for function call call_0.");
    let mut past = expected();
    past.conversation.pop();
    let said = past.conversation.clone();
    let (plan, ..) = request.into_plan(Target::default(), past).expect("a plan");
    assert_eq!(plan.history, said);
}

#[test]
fn items_can_be_referred_to() {
    let input = json!([
        {"role": "user", "content": "hi"},
        {"type": "item_reference", "id": "rs_a_0"},
        {"id": "msg_a_1"},
        {"type": "item_reference", "id": "fc_a_2"},
        {"type": "function_call_output", "call_id": "call_0", "output": "sun"},
    ]);
    let request = parse(&json!({ "input": input })).expect("a request");
    let references: Vec<&str> = request.references().collect();
    assert_eq!(references, ["rs_a_0", "msg_a_1", "fc_a_2"]);
    let past = Memory {
        conversation: Vec::new(),
        input: 0,
        items: expected().items,
    };
    let (plan, ..) = request
        .clone()
        .into_plan(Target::default(), past)
        .expect("a plan");
    let mut said = expected().conversation;
    said.push(returns("call_0", "sun"));
    assert_eq!(plan.history, conversation::with_own_ids(said));
    let past = Memory {
        conversation: Vec::new(),
        input: 0,
        items: HashMap::from([("rs_a_0".to_owned(), None)]),
    };
    let error = request
        .into_plan(Target::default(), past)
        .expect_err("a refusal");
    let found = (error.status, &*error.code, error.param.as_deref());
    assert_eq!(found, (400, "item_not_found", Some("input[2].id")));
    assert!(error.message.contains("'msg_a_1'"), "{error}");
}
