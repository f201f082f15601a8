//! Recorded turns of Codex 0.169.0, replayed.

use serde_json::{Value, json};

use super::*;
use crate::codex::app_server::protocol::Incoming;
use crate::codex::{Cause, Tool, Usage};

macro_rules! recorded {
    ($name:literal) => {
        recorded!($name, Decoder::default())
    };
    ($name:literal, $decoder:expr) => {
        replay(
            include_str!(concat!(
                "../../../../../tests/fixtures/turns/",
                $name,
                ".jsonl"
            )),
            $decoder,
        )
    };
}

fn replay(lines: &str, mut decoder: Decoder) -> Vec<Event> {
    let mut events = Vec::new();
    for line in lines.lines() {
        let incoming: Incoming<'_> = serde_json::from_str(line).unwrap();
        let (Some(method), Some(params)) = (incoming.method, incoming.params) else {
            panic!("{line}");
        };
        if concerns(&method) {
            let params = serde_json::from_str(params.get()).unwrap();
            decoder.accept(&method, params, &mut |event| events.push(event));
        }
    }
    events
}

/// The answer as one line: `|` for a break, `[name arguments]` for a call, reasoning in parentheses.
fn told(events: &[Event]) -> String {
    let mut line = String::new();
    for event in events {
        match event {
            Event::Text(text) => line.push_str(text),
            Event::TextBreak => line.push('|'),
            Event::Reasoning(text) => line.push_str(&format!("({text})")),
            Event::ReasoningBreak => line.push_str("(|)"),
            Event::Call {
                name, arguments, ..
            } => line.push_str(&format!("[{name} {arguments}]")),
            Event::Activity(activity) => line.push_str(&format!("<{}>", activity.id)),
            Event::Sampled(_) => line.push('$'),
            Event::Retrying(_) => line.push('^'),
            Event::Ended(_) => line.push('.'),
        }
    }
    line
}

fn outcome(events: &[Event]) -> &Outcome {
    match events.last() {
        Some(Event::Ended(outcome)) => outcome,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_tool_call_comes_whole_after_reasoning_and_text_and_ends_by_interrupt() {
    let events = recorded!("tool-calls");
    let expected = "(Two )(cities.)Let me look.\
        [get_weather {\"city\": \"Paris\"}][get_weather {\"city\":\"Oslo\"}]$.";
    assert_eq!(told(&events), expected);
    assert_eq!(*outcome(&events), Outcome::Interrupted);
    let usage = Usage {
        input: 120,
        cached_input: 40,
        output: 30,
        reasoning: 7,
    };
    assert!(events.contains(&Event::Sampled(usage)));
    assert_eq!(
        told(&recorded!("text-then-call")),
        "let me call[get_weather {\"city\":\"Paris\"}]$."
    );
}

#[test]
fn injected_calls_are_not_taken_for_the_models() {
    assert_eq!(told(&recorded!("tool-results")), "18C and 3C.$.");
}

#[test]
fn parts_of_reasoning_and_messages_are_set_apart() {
    let expected = "(raw )(chain )(of thought)(|)(**Step 0** )(thinking )(about it)\
        (|)(**Step 1** )(thinking )(about it)w0 w1 w2 w3 w4 .";
    assert_eq!(told(&recorded!("reasoning")), expected);
    assert_eq!(
        told(&recorded!("two-messages")),
        "first message|second message."
    );
    assert_eq!(told(&recorded!("two-responses")), "part one|part one.");
}

#[test]
fn a_message_without_deltas_is_told_whole_and_others_only_once() {
    assert_eq!(told(&recorded!("whole-message")), "no deltas$.");
    assert_eq!(told(&recorded!("empty")), ".");
}

#[test]
fn a_retry_is_announced_and_what_is_repeated_is_no_new_message() {
    assert_eq!(told(&recorded!("retry")), "w0 w1 ^w0 w1 w2 w3 w4 .");
}

#[test]
fn failures_and_cut_answers_end_as_what_they_are() {
    let cause = |events: &[Event]| match outcome(events) {
        Outcome::Failed(Error::Upstream { cause, .. }) => *cause,
        other => panic!("{other:?}"),
    };
    assert_eq!(cause(&recorded!("cut")), Cause::Disconnected);
    assert_eq!(cause(&recorded!("unauthorized")), Cause::Credential);
    assert_eq!(cause(&recorded!("invalid-request")), Cause::InvalidRequest);
    assert_eq!(cause(&recorded!("refused-connection")), Cause::Unreachable);
    assert_eq!(*outcome(&recorded!("incomplete")), Outcome::MaxOutputTokens);
    assert_eq!(*outcome(&recorded!("filtered")), Outcome::ContentFilter);
}

/// Feeds notifications of turn `k` on thread `t`, in the short form `method params`.
fn feed(decoder: &mut Decoder, lines: &[&str]) -> Vec<Event> {
    let mut events = Vec::new();
    for line in lines {
        let (method, params) = line.split_once(' ').unwrap();
        decoder.accept(
            method,
            serde_json::from_str(params).unwrap(),
            &mut |event| events.push(event),
        );
    }
    events
}

const STARTED: &str = r#"turn/started {"threadId":"t","turn":{"id":"k","status":"inProgress"}}"#;

#[test]
fn other_turns_of_the_thread_are_not_heard() {
    let mut decoder = Decoder::default();
    let early = feed(
        &mut decoder,
        &[r#"item/agentMessage/delta {"turnId":"other","itemId":"m","delta":"early"}"#],
    );
    assert_eq!(told(&early), "");
    let events = feed(
        &mut decoder,
        &[
            STARTED,
            r#"item/agentMessage/delta {"turnId":"other","itemId":"m","delta":"no"}"#,
            r#"item/agentMessage/delta {"turnId":"k","itemId":"m","delta":"yes"}"#,
            r#"turn/started {"threadId":"t","turn":{"id":"other","status":"inProgress"}}"#,
            r#"turn/completed {"turn":{"id":"other","status":"completed"}}"#,
            r#"item/agentMessage/delta {"turnId":"k","itemId":"m","delta":"!"}"#,
            r#"turn/completed {"turn":{"id":"k","status":"completed"}}"#,
            r#"item/agentMessage/delta {"turnId":"k","itemId":"m","delta":"late"}"#,
        ],
    );
    assert_eq!(told(&events), "yes!.");
    assert_eq!(decoder.turn_id(), Some("k"));
}

#[test]
fn messages_that_share_an_id_are_still_two() {
    let events = feed(
        &mut Decoder::default(),
        &[
            STARTED,
            r#"item/agentMessage/delta {"turnId":"k","itemId":"m","delta":"one"}"#,
            r#"item/completed {"turnId":"k","item":{"type":"agentMessage","id":"m","text":"one"}}"#,
            r#"item/completed {"turnId":"k","item":{"type":"agentMessage","id":"m","text":"two"}}"#,
        ],
    );
    assert_eq!(told(&events), "one|two");
}

#[test]
fn a_retry_repeats_only_what_came_after_the_last_response() {
    let events = feed(
        &mut Decoder::default(),
        &[
            STARTED,
            r#"item/agentMessage/delta {"turnId":"k","itemId":"a","delta":"first"}"#,
            r#"item/completed {"turnId":"k","item":{"type":"agentMessage","id":"a","text":"first"}}"#,
            r#"rawResponse/completed {"turnId":"k","usage":null}"#,
            r#"item/agentMessage/delta {"turnId":"k","itemId":"b","delta":"sec"}"#,
            r#"error {"turnId":"k","willRetry":true,"error":{"message":"Reconnecting... 1/5"}}"#,
            r#"item/agentMessage/delta {"turnId":"k","itemId":"c","delta":"second"}"#,
        ],
    );
    assert_eq!(told(&events), "first$|sec^|second");
}

#[test]
fn a_message_that_only_the_end_tells_is_told() {
    let end = r#"turn/completed {"turn":{"id":"k","status":"completed","items":[{"type":"agentMessage","id":"m","text":"whole"}]}}"#;
    assert_eq!(
        told(&feed(&mut Decoder::default(), &[STARTED, end])),
        "whole."
    );
}

#[test]
fn unexpected_shapes_are_passed_over() {
    let events = feed(
        &mut Decoder::default(),
        &[
            STARTED,
            r#"item/completed {"turnId":"k","item":{"type":"somethingNew","text":3}}"#,
            r#"item/completed {"turnId":"k","item":[]}"#,
            r#"item/completed {"turnId":"k"}"#,
            r#"rawResponseItem/completed {"turnId":"k","item":{"type":"function_call"}}"#,
            r#"item/agentMessage/delta {"turnId":"k","delta":"no item"}"#,
            r#"something/new {"turnId":"k"}"#,
            r#"turn/completed {}"#,
            r#"turn/completed {"turn":{"id":"k","status":"exploded"}}"#,
        ],
    );
    assert_eq!(events.len(), 1);
    assert!(matches!(
        outcome(&events),
        Outcome::Failed(Error::Upstream {
            cause: Cause::Internal,
            ..
        })
    ));
}

#[test]
fn a_closed_thread_ends_its_turn() {
    let events = feed(
        &mut Decoder::default(),
        &[STARTED, r#"thread/closed {"threadId":"t"}"#],
    );
    assert!(matches!(
        outcome(&events),
        Outcome::Failed(Error::WorkerExited(_))
    ));
}

#[test]
fn a_conversation_codex_would_shorten_is_refused_instead() {
    let mut decoder = Decoder::default();
    let compaction = r#"item/started {"turnId":"k","item":{"type":"contextCompaction","id":"c"}}"#;
    let text = r#"item/agentMessage/delta {"turnId":"k","itemId":"m","delta":"from memory"}"#;
    let events = feed(&mut decoder, &[STARTED, compaction, text]);
    assert_eq!(told(&events), ".");
    assert!(matches!(
        outcome(&events),
        Outcome::Failed(Error::Upstream {
            cause: Cause::ContextLength,
            ..
        })
    ));
    assert!(decoder.is_given_up(), "it is to be interrupted");
    let end = r#"turn/completed {"turn":{"id":"k","status":"interrupted","items":[]}}"#;
    assert_eq!(told(&feed(&mut decoder, &[end])), "");
    assert!(decoder.is_over());
}

fn agent() -> Decoder {
    agent_beside("get_weather")
}

fn agent_beside(function: &str) -> Decoder {
    let tool = Tool {
        name: function.to_owned(),
        description: None,
        parameters: json!({}),
    };
    Decoder::agent(&[tool], Path::new("/work"))
}

#[test]
fn a_clients_function_named_as_an_agents_own_is_told_apart() {
    let mut decoder = agent_beside("exec_command");
    let call = |name: &str| {
        format!(
            r#"rawResponseItem/completed {{"turnId":"k","item":{{"type":"function_call","call_id":"c","name":"{name}","arguments":""}}}}"#
        )
    };
    let (own, clients) = (call("exec_command"), call("client_exec_command"));
    let events = feed(&mut decoder, &[STARTED, &own, &clients]);
    assert_eq!(told(&events), "[exec_command ]");
}

#[test]
fn an_agents_own_tools_are_not_calls_for_the_client() {
    let call = |members: &str| {
        format!(
            r#"rawResponseItem/completed {{"turnId":"k","item":{{"type":"function_call","call_id":"c",{members},"arguments":""}}}}"#
        )
    };
    let lines = [
        STARTED.to_owned(),
        call(r#""name":"exec_command""#),
        call(r#""name":"get_weather","namespace":"mcp__own""#),
        call(r#""name":"get_weather","namespace":null"#),
    ];
    let lines: Vec<_> = lines.iter().map(String::as_str).collect();
    assert_eq!(told(&feed(&mut agent(), &lines)), "[get_weather ]");
    assert_eq!(
        told(&feed(&mut Decoder::default(), &lines)),
        "[exec_command ][get_weather ][get_weather ]"
    );
}

const IN_PASSING: [&str; 4] = [
    STARTED,
    r#"item/started {"turnId":"k","item":{"type":"agentMessage","id":"a","text":"","phase":"commentary"}}"#,
    r#"item/agentMessage/delta {"turnId":"k","itemId":"a","delta":"I look."}"#,
    r#"item/completed {"turnId":"k","item":{"type":"agentMessage","id":"a","text":"I look.","phase":"commentary"}}"#,
];

#[test]
fn what_an_agent_says_in_passing_is_thinking_unless_it_is_all_it_says() {
    let end = r#"turn/completed {"turn":{"id":"k","status":"completed","items":[]}}"#;
    let whole = r#"item/completed {"turnId":"k","item":{"type":"agentMessage","id":"b","text":"And more.","phase":"commentary"}}"#;
    let last = r#"item/completed {"turnId":"k","item":{"type":"agentMessage","id":"c","text":"Done.","phase":"final_answer"}}"#;
    let with = |more: &[&str]| told(&feed(&mut agent(), &[&IN_PASSING, more].concat()));
    assert_eq!(with(&[whole, last, end]), "(I look.)(|)(And more.)Done..");
    assert_eq!(with(&[end]), "(I look.)I look..");
    let chat = feed(
        &mut Decoder::default(),
        &[&IN_PASSING[..], &[last, end]].concat(),
    );
    assert_eq!(told(&chat), "I look.|Done..");
}

#[test]
fn an_agents_work_may_be_shortened() {
    let compaction = r#"item/started {"turnId":"k","item":{"type":"contextCompaction","id":"c"}}"#;
    let mut decoder = agent();
    assert_eq!(told(&feed(&mut decoder, &[STARTED, compaction])), "");
    assert!(!decoder.is_given_up());
}

fn deeds(events: &[Event]) -> Vec<Value> {
    let deeds = events.iter().filter_map(|event| match event {
        Event::Activity(activity) => serde_json::to_value(activity).ok(),
        _ => None,
    });
    deeds.collect()
}

#[test]
fn an_agents_work_is_told_also_what_failed_and_what_was_refused() {
    let events = recorded!("agent-work", agent());
    let line = "(Let me look.)$<update_plan>$<call_2><call_2>$<call_3>$<call_4>$<call_5>$<call_6><web_7_0>All done.$.";
    assert_eq!(told(&events), line);
    let deeds = deeds(&events);
    let expected = [
        json!({"id": "update_plan", "status": "completed", "type": "plan", "explanation": "Two things.", "steps": [
            {"step": "look", "status": "inProgress"}, {"step": "write", "status": "pending"},
        ]}),
        json!({"id": "call_2", "status": "in_progress", "type": "command", "command": "echo 'hello there'; exit 3"}),
        json!({
            "id": "call_2", "status": "failed", "type": "command", "command": "echo 'hello there'; exit 3",
            "exit_code": 3, "duration_ms": 0, "output": "hello there\n",
        }),
        json!({
            "id": "call_3", "status": "failed", "type": "command", "command": "echo stray > /etc/stray",
            "exit_code": 1, "output": "/bin/bash: line 1: /etc/stray: Read-only file system\n",
        }),
    ];
    assert_eq!(deeds[..4], expected);
    let refused = deeds[4]["output"].as_str().unwrap();
    assert!(refused.starts_with("approval policy is Never"), "{refused}");
    let changed = json!({"id": "call_5", "status": "completed", "type": "file_change", "changes": [
        {"path": "new.txt", "kind": "add", "diff": "hello\nthere\n"},
    ]});
    assert_eq!(deeds[5], changed);
    assert_eq!(
        (&deeds[6]["type"], &deeds[6]["status"]),
        (&json!("tool"), &json!("failed"))
    );
    assert_eq!(deeds[7]["query"], "weather");
}

#[test]
fn a_tool_of_an_mcp_server_is_told_as_it_begins_and_ends() {
    let item = |method: &str, status: &str, duration: &str| {
        format!(
            r#"item/{method} {{"turnId":"k","item":{{"type":"mcpToolCall","id":"c","server":"notes","tool":"find","status":"{status}","arguments":{{"a":1}},"result":null,"error":null,"durationMs":{duration}}}}}"#
        )
    };
    let begun = item("started", "inProgress", "null");
    let ended = item("completed", "failed", "8");
    let events = feed(&mut agent(), &[STARTED, &begun, &ended]);
    let told = json!({"id": "c", "type": "mcp_tool", "server": "notes", "tool": "find", "arguments": "{\"a\":1}"});
    let told_as = |more: Value| {
        let mut told = told.clone();
        let members = told.as_object_mut().unwrap();
        members.append(&mut more.as_object().unwrap().clone());
        told
    };
    let expected = [
        told_as(json!({"status": "in_progress"})),
        told_as(json!({"status": "failed", "duration_ms": 8})),
    ];
    assert_eq!(deeds(&events), expected);
}

#[test]
fn a_chats_turn_has_no_work() {
    assert!(deeds(&recorded!("agent-work")).is_empty());
}
