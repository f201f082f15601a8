//! Custom tools: their input is any text, which is the one argument of a function for Codex.

use super::*;
use crate::openai::tests::golden::{end, head};
use crate::turn::Delta;

fn request() -> ChatRequest {
    let format = json!({"type": "grammar", "grammar": {"syntax": "regex", "definition": "[a-z]+"}});
    let tool = json!({"type": "custom", "custom": {"name": "shout", "description": "Shouts.", "format": format}});
    let function = json!({"type": "function", "function": {"name": "f"}});
    let choice = json!({"type": "custom", "custom": {"name": "shout"}});
    hi_with(&json!({"tools": [tool, function], "tool_choice": choice}))
}

fn calls() -> [Delta; 3] {
    let call = |index, name: &str, arguments: &str| Delta::Call {
        index,
        id: format!("call_{index}"),
        name: name.to_owned(),
        arguments: arguments.to_owned(),
    };
    [
        call(0, "shout", r#"{"input":"a\nb"}"#),
        call(1, "f", "{}"),
        end(Finish::ToolCalls),
    ]
}

#[test]
fn a_custom_tool_is_offered_as_a_function_of_one_text() {
    let plan = plan(request());
    let tool = &plan.tools[0];
    let about = tool.description.as_deref().unwrap_or_default();
    assert_eq!(tool.name, "shout");
    assert!(about.starts_with("Shouts.") && about.contains("regex grammar:\n[a-z]+"));
    assert_eq!(tool.parameters["required"], json!(["input"]));
    assert_instruction(&plan.history, Some("must call the function `shout`"));
}

#[test]
fn its_calls_come_back_as_calls_of_a_custom_tool() {
    let custom =
        json!({"id": "call_0", "type": "custom", "custom": {"name": "shout", "input": "a\nb"}});
    let function =
        json!({"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}});
    let forms = request().calls;
    let mut whole =
        Completion::new(head("chatcmpl-golden"), Form::default()).with_calls(forms.clone());
    let mut chunks = Chunks::new(head("chatcmpl-golden"), Form::default()).with_calls(forms);
    let mut out = Vec::new();
    for delta in calls() {
        whole.push(0, delta.clone());
        chunks.push(0, delta, &mut out);
    }
    let whole: Value = serde_json::from_str(&whole.into_json().expect("an answer")).expect("JSON");
    assert_eq!(
        whole["choices"][0]["message"]["tool_calls"],
        json!([custom, function])
    );
    let told: Vec<Value> = out
        .iter()
        .filter_map(|data| serde_json::from_str::<Value>(data).ok())
        .filter_map(|chunk| chunk.pointer("/choices/0/delta/tool_calls/0").cloned())
        .collect();
    let begun = json!({"index": 0, "id": "call_0", "type": "custom", "custom": {"name": "shout", "input": ""}});
    assert_eq!(told[0], begun);
    assert_eq!(told[1], json!({"index": 0, "custom": {"input": "a\nb"}}));
    assert_eq!(told[2]["type"], "function");
}

#[test]
fn a_history_with_its_calls_is_read() {
    let messages = json!([
        {"role": "user", "content": "hi"},
        {"role": "assistant", "tool_calls": [{"id": "a", "type": "custom", "custom": {"name": "shout", "input": "x"}}]},
        {"role": "tool", "tool_call_id": "a", "content": "X"},
    ]);
    let body = json!({ "messages": messages }).to_string();
    let request = ChatRequest::parse(body.as_bytes(), &Reading::default()).expect("a request");
    let plan = plan(request);
    let Item::Call {
        name, arguments, ..
    } = &plan.history[1]
    else {
        panic!("{:?}", plan.history)
    };
    assert_eq!(
        (name.as_str(), arguments.as_str()),
        ("shout", r#"{"input":"x"}"#)
    );
}

#[test]
fn a_choice_of_a_custom_tool_names_one_that_is_offered() {
    let choice = |custom: Value| json!({"type": "custom", "custom": custom});
    assert_refused(&[
        (
            json!({"tool_choice": {"type": "custom"}}),
            MISSING,
            "tool_choice.custom",
        ),
        (
            json!({"tool_choice": choice(json!({"name": "shout"}))}),
            VALUE,
            "tool_choice.custom.name",
        ),
    ]);
}
