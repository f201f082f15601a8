//! The tools of a request, and the choice among them.

use super::*;

fn tool(name: &str) -> Value {
    json!({"name": name, "description": "Does it.", "input_schema": {"type": "object", "properties": {}}, "cache_control": null})
}

/// The names of the functions for Codex, and the instruction at the end.
fn offered(members: &Value) -> (Vec<String>, Option<String>) {
    let (plan, _) = plan(&with(members));
    let names = plan.tools.into_iter().map(|tool| tool.name);
    let closing = plan.history.last().filter(|_| plan.closing == 1);
    let instruction = closing.map(|item| match item {
        Item::Message { parts, .. } => format!("{parts:?}"),
        other => panic!("{other:?}"),
    });
    (names.collect(), instruction)
}

#[test]
fn a_tool_becomes_a_function() {
    let mut deferred = tool("g");
    deferred["type"] = json!("custom");
    deferred["defer_loading"] = json!(true);
    let (plan, rules) = plan(&with(&json!({"tools": [tool("f"), deferred]})));
    assert!(rules.tools);
    assert_eq!(plan.tools[1].name, "g");
    assert_eq!(plan.tools[0].description.as_deref(), Some("Does it."));
    assert_eq!(
        plan.tools[0].parameters,
        json!({"type": "object", "properties": {}})
    );
}

#[test]
fn a_long_name_is_shortened_for_the_model_only() {
    let long = "mcp__".to_owned() + &"a".repeat(90);
    let call = json!({"type": "tool_use", "id": "c", "name": long, "input": {}});
    let body = with(&json!({"tools": [tool(&long)], "messages": [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": [call]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "content": "1"}]},
    ]}));
    let (plan, _) = plan(&body);
    let name = &plan.tools[0].name;
    assert!(name.len() <= 64);
    assert!(matches!(&plan.history[1], Item::Call { name: called, .. } if called == name));
    let mut message = Message::new(
        crate::openai::tests::golden::head("msg_1"),
        parse(&body).unwrap().form,
    );
    message.push(crate::turn::Delta::Call {
        index: 0,
        id: "c".to_owned(),
        name: name.clone(),
        arguments: String::new(),
    });
    message.push(crate::openai::tests::golden::end(
        crate::turn::Finish::ToolCalls,
    ));
    let told: Value = serde_json::from_str(&message.into_json().unwrap()).unwrap();
    assert_eq!(told["content"][0]["name"], json!(long));
    assert_eq!(told["content"][0]["input"], json!({}));
}

#[test]
fn tools_of_anthropics_are_functions_or_left_out_or_refused() {
    let members = json!({"tools": [
        {"type": "bash_20250124", "name": "bash"},
        {"type": "text_editor_20250728", "name": "str_replace_based_edit_tool", "max_characters": 100},
        {"type": "memory_20250818"},
        {"type": "web_search_20250305", "name": "web_search", "max_uses": 5},
        {"type": "code_execution_20260521", "name": "code_execution"},
    ], "mcp_servers": [{"type": "url", "url": "https://a.example", "name": "a"}]});
    let names = ["bash", "str_replace_based_edit_tool", "memory"].map(str::to_owned);
    assert_eq!(offered(&members).0, names);
    let left_out = parse(&with(&members)).unwrap().left_out;
    assert_eq!(left_out, ["web_search", "code_execution", "mcp_servers"]);
    let (plan, _) = plan(&with(&members));
    let editor = &plan.tools[1].parameters;
    assert_eq!(editor["required"], json!(["command", "path"]));
    assert_eq!(editor["properties"]["command"]["enum"][3], "insert");
    let reading = Reading {
        refuse_hosted_tools: true,
        ..Reading::default()
    };
    let body = with(&members);
    let error = MessagesRequest::parse(body.to_string().as_bytes(), &reading).unwrap_err();
    assert_invalid(&error, &body, "unsupported_value", "tools[3].type");
}

#[test]
fn each_version_of_the_text_editor_is_called_as_its_clients_expect() {
    let editor = |version: &str| {
        let tools = json!([{"type": format!("text_editor_{version}")}]);
        let (mut plan, _) = plan(&with(&json!({ "tools": tools })));
        let tool = plan.tools.remove(0);
        let properties = tool.parameters["properties"].clone();
        let undoes = properties["command"]["enum"]
            .as_array()
            .unwrap()
            .contains(&json!("undo_edit"));
        let inserts = properties["insert_text"].is_object();
        let text = tool.description.unwrap();
        assert_eq!(text.contains("undo_edit"), undoes, "{text}");
        assert_eq!(text.contains("insert `insert_text`"), inserts, "{text}");
        assert!(properties["new_str"].is_object());
        (tool.name, undoes, inserts)
    };
    for version in ["20241022", "20250124"] {
        let expected = ("str_replace_editor".to_owned(), true, false);
        assert_eq!(editor(version), expected, "{version}");
    }
    for version in ["20250429", "20250728", "20270101"] {
        let expected = ("str_replace_based_edit_tool".to_owned(), false, true);
        assert_eq!(editor(version), expected, "{version}");
    }
}

#[test]
fn both_versions_of_bash_are_called_alike() {
    let bash = |version: &str| {
        let tools = json!([{"type": format!("bash_{version}"), "name": "bash"}]);
        plan(&with(&json!({ "tools": tools }))).0.tools
    };
    assert_eq!(bash("20241022"), bash("20250124"));
    let properties = &bash("20241022")[0].parameters["properties"];
    assert!(properties["command"].is_object() && properties["restart"].is_object());
}

#[test]
fn the_choice_is_an_instruction_or_no_tools() {
    let choice = |choice: Value| json!({"tools": [tool("f"), tool("g")], "tool_choice": choice});
    let both = vec!["f".to_owned(), "g".to_owned()];
    assert_eq!(
        offered(&choice(json!({"type": "auto"}))),
        (both.clone(), None)
    );
    assert_eq!(
        offered(&choice(json!({"type": "none"}))),
        (Vec::new(), None)
    );
    let (names, any) = offered(&choice(json!({"type": "any"})));
    assert!(names == both && any.unwrap().contains("at least one"));
    let (names, named) = offered(&choice(json!({"type": "tool", "name": "g"})));
    assert!(names == both && named.unwrap().contains("`g`"));
    let one = choice(json!({"type": "auto", "disable_parallel_tool_use": true}));
    assert!(parse(&with(&one)).unwrap().form.one_call);
}

#[test]
fn a_model_without_any_of_its_tools_is_told_so() {
    let search = json!({"type": "web_search_20250305", "name": "web_search"});
    let (names, told) = offered(&json!({"tools": [search]}));
    let told = told.unwrap();
    assert!(names.is_empty() && told.contains("web_search"), "{told}");
    let (_, told) = offered(&json!({"tools": [search, tool("f")]}));
    assert_eq!(told, None);
    for choice in [
        json!({"type": "tool", "name": "web_search"}),
        json!({"type": "any"}),
    ] {
        let body = with(&json!({"tools": [search], "tool_choice": choice}));
        let error = parse(&body).unwrap_err();
        assert!(error.message.contains("runs no 'web_search'"), "{error}");
    }
}

#[test]
fn tools_that_cannot_be_offered_are_refused() {
    let unnamed = json!({"input_schema": {"type": "object"}});
    let computer = json!({"type": "computer_20250124", "name": "computer", "display_width_px": 1, "display_height_px": 1});
    assert_refused(&[
        (json!({"tools": [1]}), TYPE, "tools[0]"),
        (json!({"tools": [unnamed]}), MISSING, "tools[0].name"),
        (
            json!({"tools": [{"name": "f"}]}),
            MISSING,
            "tools[0].input_schema",
        ),
        (
            json!({"tools": [tool("f"), tool("f")]}),
            VALUE,
            "tools[1].name",
        ),
        (json!({"tools": [computer]}), VALUE, "tools[0].type"),
        (
            json!({"tools": [{"type": "new_tool_1", "name": "x"}]}),
            VALUE,
            "tools[0].type",
        ),
        (
            json!({"tool_choice": {"type": "any"}}),
            VALUE,
            "tool_choice",
        ),
        (json!({"tool_choice": "any"}), TYPE, "tool_choice"),
        (
            json!({"tool_choice": {"type": "required"}}),
            VALUE,
            "tool_choice.type",
        ),
        (
            json!({"tool_choice": {"type": "tool", "name": "f"}}),
            VALUE,
            "tool_choice.name",
        ),
    ]);
}
