//! Recorded turns of an agent, replayed.

use serde_json::{Value, json};

use super::*;
use crate::codex::Tool;

fn agent() -> Decoder {
    agent_beside("get_weather")
}

fn agent_beside(function: &str) -> Decoder {
    let tool = Tool {
        name: function.to_owned(),
        description: None,
        parameters: json!({}),
    };
    let mut decoder = Decoder::agent(&[tool]);
    decoder.works_in(Path::new("/work"));
    decoder
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

fn actions(events: &[Event]) -> Vec<Value> {
    let actions = events.iter().filter_map(|event| match event {
        Event::Activity(activity) => serde_json::to_value(activity).ok(),
        _ => None,
    });
    actions.collect()
}

#[test]
fn an_agents_work_is_told_also_what_failed_and_what_was_refused() {
    let events = recorded!("agent-work", agent());
    let line = "(Let me look.)$<update_plan>$<call_2><call_2>$<call_3>$<call_4>$<call_5>$<call_6><web_7_0>All done.$.";
    assert_eq!(told(&events), line);
    let actions = actions(&events);
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
    assert_eq!(actions[..4], expected);
    let refused = actions[4]["output"].as_str().unwrap();
    assert!(refused.starts_with("approval policy is Never"), "{refused}");
    let changed = json!({"id": "call_5", "status": "completed", "type": "file_change", "changes": [
        {"path": "new.txt", "kind": "add", "diff": "hello\nthere\n"},
    ]});
    assert_eq!(actions[5], changed);
    assert_eq!(
        (&actions[6]["type"], &actions[6]["status"]),
        (&json!("tool"), &json!("failed"))
    );
    assert_eq!(actions[7]["query"], "weather");
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
    assert_eq!(actions(&events), expected);
}

#[test]
fn a_chats_turn_has_no_work() {
    assert!(actions(&recorded!("agent-work")).is_empty());
}
