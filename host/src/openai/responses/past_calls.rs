//! Reads earlier calls of tools, and their outputs, in each form that clients have for them.

use serde_json::{Value, json};

use super::super::conversation;
use super::super::json_object::{self, Object};
use super::super::tools::{ItemTool, NAME_BYTES, ToolName, wrap};
use super::super::{ApiError, content};
use super::tools::Further;
use crate::codex::{Item, Part};

/// The types of these items.
pub(super) const TYPES: &[&str] = &[
    "function_call",
    "function_call_output",
    "custom_tool_call",
    "custom_tool_call_output",
    "local_shell_call",
    "local_shell_call_output",
    "shell_call",
    "shell_call_output",
    "apply_patch_call",
    "apply_patch_call_output",
    "tool_search_call",
    "tool_search_output",
];

/// The types of parts of an output.
const OUTPUT: &[&str] = &["input_text", "input_image", "output_text"];

/// An earlier call or output, and the tools that came with it.
pub(super) struct Past {
    pub(super) item: Item,
    pub(super) tools: Option<Further>,
}

impl From<Item> for Past {
    fn from(item: Item) -> Self {
        Self { item, tools: None }
    }
}

/// Reads one of [`TYPES`].
pub(super) fn read(kind: &'static str, mut item: Object) -> Result<Past, ApiError> {
    match kind {
        "function_call" => {
            let id = item.required_id("call_id")?;
            let name = read_name(&mut item)?;
            let arguments = item.string("arguments")?.unwrap_or_default();
            Ok(conversation::call(id, name, arguments).into())
        }
        "custom_tool_call" => {
            let id = item.required_id("call_id")?;
            let name = read_name(&mut item)?;
            let input = item.string("input")?.unwrap_or_default();
            Ok(conversation::call(id, name, wrap(&input)).into())
        }
        "function_call_output" | "custom_tool_call_output" => {
            let id = item.required_id("call_id")?;
            let parts = content::read(&mut item, "output", OUTPUT)?;
            Ok(conversation::output(id, parts).into())
        }
        _ => read_item(kind, item),
    }
}

/// The name of the function that stands for the tool.
fn read_name(call: &mut Object) -> Result<String, ApiError> {
    let name = ToolName {
        name: call.required_string("name")?,
        namespace: call.short_string("namespace", NAME_BYTES)?,
    };
    Ok(name.flat())
}

/// Reads a call, or an output, of a tool whose calls are items of a type of their own.
fn read_item(kind: &'static str, mut item: Object) -> Result<Past, ApiError> {
    // In some of these types the call's id has the older name.
    let member = if item.is_set("call_id") {
        "call_id"
    } else {
        "id"
    };
    let id = item.required_id(member)?;
    if let Some(tool) = ItemTool::of_call(kind) {
        let arguments = item.required_object(tool.member)?.into_value();
        return Ok(conversation::call(id, tool.kind.to_owned(), arguments.to_string()).into());
    }
    if kind == "tool_search_output" {
        let tools = Further::take(&mut item)?;
        let names = tools.iter().flat_map(|further| &further.tools);
        let names: Vec<&Value> = names.filter_map(|tool| tool.get("name")).collect();
        let text = json!({"tools": names}).to_string();
        return Ok(Past {
            item: conversation::output(id, vec![Part::Text(text)]),
            tools,
        });
    }
    let text = match (item.take("output"), item.take("status")) {
        (Some(Value::String(text)), _) => text,
        // The outputs of several commands, each with its streams and exit code.
        (Some(outputs @ Value::Array(_)), _) => outputs.to_string(),
        (None, Some(Value::String(status))) => status,
        (None, _) => return Err(item.missing("output")),
        (Some(other), _) => {
            let expected = "a string or an array";
            let path = item.path_of("output");
            return Err(json_object::wrong_type(path, expected, &other));
        }
    };
    Ok(conversation::output(id, vec![Part::Text(text)]).into())
}
