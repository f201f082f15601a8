//! Tools that are no functions: how they are offered to Codex, how their calls come back, and how their histories are read.

use super::*;
use crate::openai::tests::golden::{end, head};
use crate::turn::{Delta, Finish};

/// The tools of Codex 0.171.0, in short: functions, a custom tool, a namespace, a search it runs itself, a hosted tool.
fn offered() -> Value {
    let grammar = json!({"type": "grammar", "syntax": "lark", "definition": "start: LINE+"});
    json!([
        {"type": "function", "name": "exec_command", "strict": false, "parameters": {"type": "object", "properties": {}}},
        {"type": "custom", "name": "apply_patch", "description": "Edits files.", "format": grammar},
        {"type": "namespace", "name": "agents", "description": "Helpers.", "tools": [
            {"type": "function", "name": "spawn", "description": "Starts one."},
            {"type": "custom", "name": "note"},
        ]},
        {"type": "tool_search", "execution": "client", "description": "Finds tools."},
        {"type": "local_shell"},
        {"type": "web_search", "external_web_access": true},
    ])
}

fn names(plan: &Plan) -> Vec<&str> {
    plan.tools.iter().map(|tool| tool.name.as_str()).collect()
}

/// The item of an answer that makes this call, and the events that tell of it.
fn told(members: &Value, name: &str, arguments: &str) -> (Value, Vec<Event>) {
    let context = || planned(hi_with(members)).2;
    let call = Delta::Call {
        index: 0,
        id: "call_1".to_owned(),
        name: name.to_owned(),
        arguments: arguments.to_owned(),
    };
    let deltas = [call, end(Finish::ToolCalls)];
    let (mut events, mut out) = (Events::new(head("resp_golden"), context()), Vec::new());
    let mut object = ResponseObject::new(head("resp_golden"), context());
    for delta in deltas {
        events.push(delta.clone(), &mut out);
        object.push(delta);
    }
    let object: Value = serde_json::from_str(&object.into_json().unwrap().0).unwrap();
    (object["output"][0].clone(), out)
}

#[test]
fn each_tool_that_a_client_runs_becomes_a_function() {
    let request = hi_with(&json!({"tools": offered()}));
    assert_eq!(request.left_out, ["web_search"]);
    let (plan, rules, context) = planned(request);
    let expected = [
        "exec_command",
        "apply_patch",
        "agents__spawn",
        "agents__note",
        "tool_search",
        "local_shell",
    ];
    assert_eq!(names(&plan), expected);
    assert!(rules.tools);
    let about = |at: usize| plan.tools[at].description.as_deref().unwrap();
    assert!(about(1).starts_with("Edits files.") && about(1).contains("start: LINE+"));
    assert_eq!(about(2), "Helpers.\n\nStarts one.");
    assert_eq!(about(4), "Finds tools.");
    assert_eq!(plan.tools[1].parameters["required"], json!(["input"]));
    // The response tells which tools the model had.
    let object = ResponseObject::new(head("resp_golden"), context);
    let mut object = object;
    object.push(end(Finish::Stop));
    let object: Value = serde_json::from_str(&object.into_json().unwrap().0).unwrap();
    assert_eq!(object["tools"].as_array().unwrap().len(), 5);
}

#[test]
fn a_call_comes_back_as_the_item_that_its_client_knows() {
    let members = json!({"tools": offered()});
    let item = |name, arguments| told(&members, name, arguments).0;
    let patch = item("apply_patch", r#"{"input": "*** Begin"}"#);
    assert_eq!(patch["type"], "custom_tool_call");
    assert_eq!(
        (&patch["name"], &patch["input"]),
        (&json!("apply_patch"), &json!("*** Begin"))
    );
    assert_eq!(patch["call_id"], "call_1");
    let spawn = item("agents__spawn", r#"{"n":1}"#);
    assert_eq!(spawn["type"], "function_call");
    assert_eq!(
        (&spawn["namespace"], &spawn["name"]),
        (&json!("agents"), &json!("spawn"))
    );
    assert_eq!(spawn["arguments"], r#"{"n":1}"#);
    let note = item("agents__note", r#"{"input": ""}"#);
    assert_eq!(
        (&note["namespace"], &note["input"]),
        (&json!("agents"), &json!(""))
    );
    let search = item("tool_search", r#"{"query": "mail"}"#);
    assert_eq!(
        (&search["type"], &search["execution"]),
        (&json!("tool_search_call"), &json!("client"))
    );
    assert_eq!(search["arguments"], json!({"query": "mail"}));
    let shell = item("local_shell", r#"{"command": ["ls"]}"#);
    assert_eq!(shell["type"], "local_shell_call");
    assert_eq!(
        shell["action"],
        json!({"type": "exec", "command": ["ls"], "env": {}})
    );
    // The client tells the model that it cannot run this.
    let broken = item("local_shell", r#"{"cmd": "ls"}"#);
    assert_eq!(
        (&broken["type"], &broken["name"]),
        (&json!("function_call"), &json!("local_shell"))
    );
}

#[test]
fn events_tell_of_a_call_in_the_clients_form() {
    let members = json!({"tools": offered()});
    let names = |name, arguments| -> Vec<&'static str> {
        let (_, events) = told(&members, name, arguments);
        let events = events.iter().map(|event| event.name);
        let mut events: Vec<_> = events.skip(2).collect();
        assert_eq!(events.pop(), Some("response.completed"));
        events
    };
    let (added, done) = ("response.output_item.added", "response.output_item.done");
    let custom = [
        added,
        "response.custom_tool_call_input.delta",
        "response.custom_tool_call_input.done",
        done,
    ];
    assert_eq!(names("apply_patch", r#"{"input": "x"}"#), custom);
    assert_eq!(
        names("local_shell", r#"{"command": ["ls"]}"#),
        [added, done]
    );
    let (_, events) = told(&members, "apply_patch", r#"{"input": "x"}"#);
    let added: Value = serde_json::from_str(&events[2].data).unwrap();
    assert_eq!(added["item"]["input"], "", "its input follows");
}

#[test]
fn histories_of_all_tools_are_read() {
    let input = json!([
        {"type": "additional_tools", "role": "developer", "tools": [
            {"type": "namespace", "name": "functions", "tools": [{"type": "custom", "name": "exec"}]},
        ]},
        {"type": "message", "role": "user", "content": "hi"},
        {"type": "custom_tool_call", "call_id": "a", "name": "exec", "namespace": "functions", "input": "ls"},
        {"type": "custom_tool_call_output", "call_id": "a", "output": [{"type": "input_text", "text": "one"}]},
        {"type": "function_call", "call_id": "b", "name": "spawn", "namespace": "agents", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "b", "output": "two"},
        {"type": "local_shell_call", "id": "c", "status": "completed", "action": {"type": "exec", "command": ["ls"], "env": {}}},
        {"type": "local_shell_call_output", "id": "c", "output": "three"},
        {"type": "shell_call", "call_id": "d", "action": {"commands": ["ls"]}},
        {"type": "shell_call_output", "call_id": "d", "output": [{"stdout": "four", "stderr": "", "outcome": {"type": "exit", "exit_code": 0}}]},
        {"type": "apply_patch_call", "call_id": "e", "operation": {"type": "delete_file", "path": "x"}},
        {"type": "apply_patch_call_output", "call_id": "e", "status": "completed"},
        {"type": "tool_search_call", "call_id": "f", "execution": "client", "arguments": {"query": "mail"}},
        {"type": "tool_search_output", "call_id": "f", "execution": "client", "tools": [
            {"type": "function", "name": "send_mail"}, {"type": "function", "name": "exec"},
        ]},
        {"type": "web_search_call", "id": "ws_1", "status": "completed"},
        {"type": "agent_message", "author": "/root", "recipient": "/root/a", "content": [{"type": "input_text", "text": "Go on."}]},
    ]);
    let (plan, ..) = planned(parse(&json!({ "input": input })).unwrap());
    // Codex's own way to offer tools, and what a search found; a name that is there already stays what it was.
    assert_eq!(names(&plan), ["exec", "send_mail"]);
    assert_eq!(plan.tools[0].parameters["required"], json!(["input"]));
    let calls: Vec<(&str, &str)> = plan
        .history
        .iter()
        .filter_map(|item| match item {
            Item::Call {
                name, arguments, ..
            } => Some((name.as_str(), arguments.as_str())),
            _ => None,
        })
        .collect();
    let expected = [
        ("exec", r#"{"input":"ls"}"#),
        ("agents__spawn", "{}"),
        (
            "local_shell",
            r#"{"command":["ls"],"env":{},"type":"exec"}"#,
        ),
        ("shell", r#"{"commands":["ls"]}"#),
        ("apply_patch", r#"{"path":"x","type":"delete_file"}"#),
        ("tool_search", r#"{"query":"mail"}"#),
    ];
    assert_eq!(calls, expected);
    let outputs = plan
        .history
        .iter()
        .filter(|item| matches!(item, Item::CallOutput { .. }));
    assert_eq!(outputs.count(), calls.len());
    let last = Item::Message {
        role: Role::User,
        parts: vec![text("Message from /root to /root/a:"), text("Go on.")],
    };
    assert_eq!(plan.history.last(), Some(&last));
}

#[test]
fn the_choice_among_tools_may_name_any_that_is_offered() {
    for (choice, expected) in [
        (
            json!({"type": "custom", "name": "apply_patch"}),
            "client_apply_patch",
        ),
        (json!({"type": "local_shell"}), "client_local_shell"),
        (
            json!({"type": "function", "name": "spawn", "namespace": "agents"}),
            "agents__spawn",
        ),
    ] {
        let (plan, ..) = planned(hi_with(&json!({"tools": offered(), "tool_choice": choice})));
        let Some(Item::Message { parts, .. }) = plan.history.last() else {
            panic!("an instruction");
        };
        assert!(
            matches!(&parts[0], Part::Text(text) if text.contains(expected)),
            "{parts:?}"
        );
    }
    let allowed = json!({"type": "allowed_tools", "mode": "auto", "tools": [
        {"type": "web_search"}, {"type": "custom", "name": "apply_patch"},
    ]});
    let (plan, ..) = planned(hi_with(
        &json!({"tools": offered(), "tool_choice": allowed}),
    ));
    assert_eq!(names(&plan), ["apply_patch"]);
    let shell = json!({"tools": [], "tool_choice": {"type": "shell"}});
    assert_refusal(&body_with(&shell), VALUE, "tool_choice.type");
    let computer = json!({"tools": [{"type": "computer_use_preview"}]});
    assert_refusal(&body_with(&computer), VALUE, "tools[0].type");
}

#[test]
fn a_model_without_any_of_its_tools_is_told_so() {
    let search = json!({"type": "web_search"});
    let closing = |tools: Value| {
        let (plan, ..) = planned(hi_with(&json!({ "tools": tools })));
        plan.history[plan.history.len() - plan.closing..].to_vec()
    };
    let told = format!("{:?}", closing(json!([search])));
    assert!(told.contains("(web_search)"), "{told}");
    assert!(closing(json!([search, {"type": "local_shell"}])).is_empty());
    for (choice, param) in [
        (search.clone(), "tool_choice.type"),
        (json!("required"), "tool_choice"),
    ] {
        let body = body_with(&json!({"tools": [search], "tool_choice": choice}));
        assert_refusal(&body, VALUE, param);
        let told = parse(&body).unwrap_err();
        assert!(told.message.contains("runs no 'web_search'"), "{told}");
    }
}

#[test]
fn an_operator_may_refuse_what_nobody_runs_here() {
    let reading = Reading {
        refuse_hosted_tools: true,
        ..Reading::default()
    };
    let body = body_with(&json!({"tools": offered()}));
    let error = ResponsesRequest::parse(body.to_string().as_bytes(), &reading).unwrap_err();
    assert_invalid(&error, &body, UNSUPPORTED, "tools[5].type");
    assert!(error.message.contains("web_search"), "{error}");
}
