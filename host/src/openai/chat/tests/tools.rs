//! Tools: the functions offered to the model, the choice among them, and the requests that are refused.

use super::*;
use crate::codex::Tool;

#[test]
fn tools_are_offered_as_they_were_given() {
    let schema = json!({"type": "object", "properties": {"city": {"type": "string"}}});
    let f = json!({"name": "f", "description": "Weather", "parameters": schema, "strict": true});
    let g = json!({"name": "g", "description": null, "parameters": null});
    let tool = |name: &str, description: Option<&str>, parameters: Value| Tool {
        name: name.to_owned(),
        description: description.map(str::to_owned),
        parameters,
    };
    let expected = [
        tool("f", Some("Weather"), schema),
        tool("g", None, json!({"type": "object", "properties": {}})),
    ];
    let tools = json!([{"type": "function", "function": f}, {"type": "function", "function": g}]);
    let new = json!({"tools": tools, "parallel_tool_calls": false});
    for members in [new, json!({"functions": [f, g]})] {
        let (plan, rules) = hi_with(&members).into_plan(Target::default());
        assert_eq!(plan.tools, expected);
        assert!(rules.tools);
    }
    let (_, rules) = hi_with(&json!({"tools": []})).into_plan(Target::default());
    assert!(!rules.tools);
}

#[test]
fn arguments_are_an_object() {
    let empty = json!({"type": "object", "properties": {}});
    let any = json!({"anyOf": [{"type": "object"}]});
    for (schema, expected) in [
        (json!({}), empty),
        (
            json!({"description": "a"}),
            json!({"type": "object", "description": "a"}),
        ),
        (any.clone(), any),
        (json!({"type": "string"}), json!({"type": "string"})),
    ] {
        let function = json!({"name": "f", "parameters": schema});
        let tools = json!({"tools": [{"type": "function", "function": function}]});
        assert_eq!(plan(hi_with(&tools)).tools[0].parameters, expected);
    }
}

#[test]
fn a_choice_is_put_into_words() {
    let function = json!({"name": "f"});
    let tool = json!({"type": "function", "function": function});
    let tools = |choice: Value| json!({"tools": [tool], "tool_choice": choice});
    let functions = |choice: Value| json!({"functions": [function], "function_call": choice});
    for (members, offered, says) in [
        (tools(json!("auto")), true, None),
        (tools(json!(null)), true, None),
        (tools(json!("none")), false, None),
        (
            tools(json!("required")),
            true,
            Some("must call at least one"),
        ),
        (
            tools(tool.clone()),
            true,
            Some("must call the function `f`"),
        ),
        (functions(json!("auto")), true, None),
        (functions(json!("none")), false, None),
        (
            json!({"functions": [function], "function_call": "none", "tools": null, "tool_choice": null}),
            false,
            None,
        ),
        (
            functions(function.clone()),
            true,
            Some("must call the function `f`"),
        ),
        (json!({"tool_choice": "auto"}), false, None),
        (json!({"tool_choice": "none"}), false, None),
    ] {
        let (plan, rules) = hi_with(&members).into_plan(Target::default());
        let found = (plan.tools.len() == 1, rules.tools);
        assert_eq!(found, (offered, offered), "{members}");
        assert_instruction(&plan.history, says);
    }
}

#[test]
fn only_allowed_tools_are_offered() {
    let tool = |name: &str| json!({"type": "function", "function": {"name": name}});
    let tools = json!([tool("f"), tool("g"), tool("h")]);
    for (mode, allowed, offered, says) in [
        ("auto", json!([tool("h"), tool("f")]), &["f", "h"][..], None),
        ("auto", json!([]), &[], None),
        (
            "required",
            json!([tool("g")]),
            &["g"],
            Some("must call at least one"),
        ),
    ] {
        let choice =
            json!({"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": allowed}});
        let request = hi_with(&json!({"tools": tools, "tool_choice": choice}));
        let (plan, rules) = request.into_plan(Target::default());
        let names: Vec<&str> = plan.tools.iter().map(|tool| tool.name.as_str()).collect();
        assert_eq!(names, offered, "{choice}");
        assert_eq!(rules.tools, !offered.is_empty());
        assert_instruction(&plan.history, says);
    }
}

#[test]
fn a_choice_names_the_function_as_the_model_is_told_of_it() {
    let tool = json!({"type": "function", "function": {"name": "exec_command"}});
    let plan = plan(hi_with(&json!({"tools": [tool], "tool_choice": tool})));
    assert_eq!(
        plan.tools[0].name, "exec_command",
        "Codex's names are Codex's affair"
    );
    let says = "must call the function `client_exec_command`";
    assert_instruction(&plan.history, Some(says));
}

#[test]
fn tools_that_are_none_are_refused() {
    let tool = |function: Value| json!({"tools": [{"type": "function", "function": function}]});
    let twice = json!({"type": "function", "function": {"name": "f"}});
    let untyped = json!({"tools": [{"function": {"name": "f"}}]});
    let described = json!({"name": "f", "description": 1});
    let schema = json!({"name": "f", "parameters": "{}"});
    assert_refused(&[
        (json!({"tools": {}}), TYPE, "tools"),
        (json!({"tools": [1]}), TYPE, "tools[0]"),
        (untyped, MISSING, "tools[0].type"),
        (
            json!({"tools": [{"type": "custom"}]}),
            MISSING,
            "tools[0].custom",
        ),
        (
            json!({"tools": [{"type": "function"}]}),
            MISSING,
            "tools[0].function",
        ),
        (tool(json!({})), MISSING, "tools[0].function.name"),
        (tool(json!({"name": ""})), VALUE, "tools[0].function.name"),
        (
            tool(json!({"name": "a b"})),
            VALUE,
            "tools[0].function.name",
        ),
        (tool(json!({"name": "é"})), VALUE, "tools[0].function.name"),
        (
            tool(json!({"name": "a".repeat(65)})),
            VALUE,
            "tools[0].function.name",
        ),
        (tool(described), TYPE, "tools[0].function.description"),
        (tool(schema), TYPE, "tools[0].function.parameters"),
        (
            json!({"tools": [twice, twice]}),
            VALUE,
            "tools[1].function.name",
        ),
        (json!({"functions": {}}), TYPE, "functions"),
        (
            json!({"functions": [{"name": 1}]}),
            TYPE,
            "functions[0].name",
        ),
        (json!({"tools": [], "functions": []}), VALUE, "functions"),
    ]);
    hi_with(&tool(json!({"name": "a".repeat(64)})));
}

#[test]
fn choices_that_cannot_be_met_are_refused() {
    let tools = json!([{"type": "function", "function": {"name": "f"}}]);
    let with = |choice: Value| json!({"tools": tools, "tool_choice": choice});
    let named = |function: Value| with(json!({"type": "function", "function": function}));
    let allowed = |tools: Value| with(json!({"type": "allowed_tools", "allowed_tools": tools}));
    let call = |choice: Value| json!({"functions": [{"name": "f"}], "function_call": choice});
    assert_refused(&[
        (with(json!("always")), VALUE, "tool_choice"),
        (with(json!(1)), TYPE, "tool_choice"),
        (with(json!({})), MISSING, "tool_choice.type"),
        (with(json!({"type": "mcp"})), VALUE, "tool_choice.type"),
        (
            with(json!({"type": "allowed_tools"})),
            MISSING,
            "tool_choice.allowed_tools",
        ),
        (
            allowed(json!({"tools": []})),
            MISSING,
            "tool_choice.allowed_tools.mode",
        ),
        (
            allowed(json!({"mode": "none", "tools": []})),
            VALUE,
            "tool_choice.allowed_tools.mode",
        ),
        (
            allowed(json!({"mode": "auto"})),
            MISSING,
            "tool_choice.allowed_tools.tools",
        ),
        (
            allowed(json!({"mode": "required", "tools": []})),
            "empty_array",
            "tool_choice.allowed_tools.tools",
        ),
        (
            allowed(
                json!({"mode": "auto", "tools": [{"type": "function", "function": {"name": "g"}}]}),
            ),
            VALUE,
            "tool_choice.allowed_tools.tools[0].function.name",
        ),
        (
            allowed(json!({"mode": "auto", "tools": [{"type": "mcp"}]})),
            VALUE,
            "tool_choice.allowed_tools.tools[0].type",
        ),
        (named(json!(null)), MISSING, "tool_choice.function"),
        (named(json!({})), MISSING, "tool_choice.function.name"),
        (
            named(json!({"name": "g"})),
            VALUE,
            "tool_choice.function.name",
        ),
        (json!({"tool_choice": "required"}), VALUE, "tool_choice"),
        (call(json!({"name": "g"})), VALUE, "function_call.name"),
        (call(json!("required")), VALUE, "function_call"),
    ]);
}
