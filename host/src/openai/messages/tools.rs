//! Reads the tools a request offers: those that the client runs become functions, those that nobody runs here are left out.

use super::super::json_object::{self, Object};
use super::super::tools::{NAME_BYTES, Offer, ToolName};
use super::super::{ApiError, Reading};
use super::client_tools;

/// How the types of tools begin that Anthropic runs; a version follows. Each is told with its name.
const HOSTED: [(&str, &str); 7] = [
    ("advisor_", "advisor"),
    ("code_execution_", "code_execution"),
    ("mcp_toolset", "mcp_toolset"),
    ("tool_search_tool_bm25", "tool_search_tool_bm25"),
    ("tool_search_tool_regex", "tool_search_tool_regex"),
    ("web_fetch_", "web_fetch"),
    ("web_search_", "web_search"),
];

/// How the types of tools begin that the client runs, and that only Anthropic's models know how to call.
const UNKNOWN: [&str; 2] = ["browser_", "computer_"];

/// Takes the tools and the choice among them out of a request. Returns whether only one may be called.
pub(super) fn read(body: &mut Object, reading: &Reading) -> Result<(Offer, bool), ApiError> {
    let mut offer = Offer::default();
    let tools = body.array("tools")?.unwrap_or_default();
    for (at, tool) in tools.into_iter().enumerate() {
        add(
            &mut offer,
            Object::from_value(tool, format!("tools[{at}]"))?,
        )?;
    }
    for member in ["mcp_servers", "container"] {
        let is_empty = |value: &serde_json::Value| value.as_array().is_some_and(Vec::is_empty);
        if body.take(member).is_some_and(|value| !is_empty(&value)) {
            offer.leave_out(member, member.to_owned());
        }
    }
    if reading.refuse_hosted_tools {
        offer.refuse_left_out()?;
    }
    let one_call = choose(&mut offer, body)?;
    Ok((offer, one_call))
}

fn add(offer: &mut Offer, mut tool: Object) -> Result<(), ApiError> {
    let kind = tool.string("type")?;
    let kind = kind.as_deref().unwrap_or("custom");
    if kind == "custom" {
        let name = tool.short_string("name", NAME_BYTES)?;
        let name = name.ok_or_else(|| tool.missing("name"))?;
        let description = tool.string("description")?;
        let schema = tool.required_object("input_schema")?;
        return offer.add_named(&tool, ToolName::plain(name), description, Some(schema));
    }
    let hosted = HOSTED.iter().find(|(begins, _)| kind.starts_with(begins));
    if let Some((_, name)) = hosted {
        offer.leave_out(name, tool.path_of("type"));
        return Ok(());
    }
    match client_tools::of_kind(kind) {
        Some(known) => {
            let name = tool.short_string("name", NAME_BYTES)?;
            let name = ToolName::plain(name.unwrap_or_else(|| known.name.to_owned()));
            let (description, schema) = known.function(tool.path_of("type"))?;
            offer.add_named(&tool, name, Some(description), Some(schema))
        }
        None => Err(unknown(kind, &tool)),
    }
}

fn unknown(kind: &str, tool: &Object) -> ApiError {
    let (path, found) = (tool.path_of("type"), json_object::shorten(kind));
    let is_known = UNKNOWN.iter().any(|begins| kind.starts_with(begins));
    let message = if is_known {
        format!(
            "Codex has no model that was taught the tool '{found}': describe a tool of your own with 'input_schema'."
        )
    } else {
        format!(
            "Invalid value for '{path}': '{found}'. Supported values are: 'custom', and Anthropic's bash, text_editor and memory tools."
        )
    };
    json_object::invalid_value(path, message)
}

/// Takes `tool_choice`. Returns whether only one tool may be called.
fn choose(offer: &mut Offer, body: &mut Object) -> Result<bool, ApiError> {
    let Some(mut choice) = body.object("tool_choice")? else {
        return Ok(false);
    };
    let one_call = choice.boolean("disable_parallel_tool_use")?;
    match choice.required_word("type", &["auto", "any", "tool", "none"])? {
        "tool" => offer.require_named(choice)?,
        other => {
            // Without a use, but not of any type.
            choice.string("name")?;
            match other {
                "none" => offer.forbid(),
                "any" => offer.require("tool_choice", "any")?,
                _ => {}
            }
        }
    }
    Ok(one_call.unwrap_or(false))
}
