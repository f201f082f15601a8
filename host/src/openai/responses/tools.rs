//! Reads the tools a request offers: those that the client runs become functions, those that nobody runs here are left out.

use serde_json::Value;

use super::super::json_object::{self, Object};
use super::super::tools::{ITEM_TOOLS, ItemTool, NAME_BYTES, Offer, Shape, Spelling};
use super::super::{ApiError, Reading};

const TOOL_CHOICE: Spelling = Spelling {
    param: "tool_choice",
    words: &["auto", "none", "required"],
    shape: Shape::Flat,
};

/// Tools that OpenAI runs.
const HOSTED: [&str; 8] = [
    "code_interpreter",
    "file_search",
    "image_generation",
    "mcp",
    "web_search",
    "web_search_2025_08_26",
    "web_search_preview",
    "web_search_preview_2025_03_11",
];

/// Tools that the client runs, and that only models know how to call which were taught it: Codex has no place for them.
const UNKNOWN: [&str; 3] = ["computer", "computer_use", "computer_use_preview"];

/// Tools that came with an item of the input.
#[derive(Debug)]
pub(super) struct Further {
    /// The path of the array.
    pub(super) path: String,
    pub(super) tools: Vec<Value>,
}

impl Further {
    /// Takes the tools of an item.
    pub(super) fn take(item: &mut Object) -> Result<Option<Self>, ApiError> {
        let path = item.path_of("tools");
        let tools = item.array("tools")?;
        Ok(tools.map(|tools| Self { path, tools }))
    }
}

/// Takes the tools and the choice among them out of a request. Tools that came later do not replace earlier ones.
pub(super) fn read(
    body: &mut Object,
    further: Vec<Further>,
    reading: &Reading,
) -> Result<Offer, ApiError> {
    let mut offer = Offer::default();
    let tools = body.array("tools")?.unwrap_or_default();
    add_all(&mut offer, "tools", tools)?;
    offer.allow_repeats();
    for Further { path, tools } in further {
        add_all(&mut offer, &path, tools)?;
    }
    if reading.refuse_hosted_tools {
        offer.refuse_left_out()?;
    }
    offer.choose(body, &TOOL_CHOICE)?;
    Ok(offer)
}

fn add_all(offer: &mut Offer, path: &str, tools: Vec<Value>) -> Result<(), ApiError> {
    for (at, tool) in tools.into_iter().enumerate() {
        add(offer, Object::from_value(tool, format!("{path}[{at}]"))?)?;
    }
    Ok(())
}

fn add(offer: &mut Offer, mut tool: Object) -> Result<(), ApiError> {
    let own = ["function", "custom", "namespace"];
    let items = ITEM_TOOLS.iter().map(|tool| tool.kind);
    let kinds: Vec<&str> = own.into_iter().chain(items).chain(HOSTED).collect();
    let found = tool.get("type").and_then(Value::as_str);
    if let Some(kind) = UNKNOWN.into_iter().find(|kind| found == Some(kind)) {
        let message = format!(
            "Codex has no model that was taught the tool '{kind}': describe a function of your own."
        );
        return Err(json_object::invalid_value(tool.path_of("type"), message));
    }
    let kind = tool.required_word("type", &kinds)?;
    if is_hosted(kind, tool.string("execution")?.as_deref()) {
        offer.leave_out(kind, tool.path_of("type"));
        return Ok(());
    }
    match ItemTool::of_kind(kind) {
        Some(item) => offer.add_item_tool(item, tool),
        None if kind == "namespace" => add_namespace(offer, tool),
        None => add_named(offer, kind, tool, None),
    }
}

fn add_named(
    offer: &mut Offer,
    kind: &str,
    tool: Object,
    namespace: Option<&str>,
) -> Result<(), ApiError> {
    match kind {
        "custom" => offer.add_custom(tool, namespace),
        _ => offer.add_function(tool, namespace),
    }
}

/// Adds the tools of a namespace. Its description goes to the first of them: the model has no place for it.
fn add_namespace(offer: &mut Offer, mut namespace: Object) -> Result<(), ApiError> {
    let name = namespace.short_string("name", NAME_BYTES)?;
    let name = name.ok_or_else(|| namespace.missing("name"))?;
    let mut about = namespace
        .string("description")?
        .filter(|text| !text.is_empty());
    let path = namespace.path_of("tools");
    let tools = namespace.array("tools")?.unwrap_or_default();
    for (at, mut tool) in tools.into_iter().enumerate() {
        if let Some(about) = about.take()
            && let Some(members) = tool.as_object_mut()
        {
            let own = members.get("description").and_then(Value::as_str);
            let both = format!("{about}\n\n{}", own.unwrap_or_default());
            members.insert("description".to_owned(), Value::String(both));
        }
        let mut tool = Object::from_value(tool, format!("{path}[{at}]"))?;
        let kind = tool.required_word("type", &["function", "custom"])?;
        add_named(offer, kind, tool, Some(&name))?;
    }
    Ok(())
}

/// Whether this type of tool is one that nobody runs here. A search for tools may be run by the client.
fn is_hosted(kind: &str, execution: Option<&str>) -> bool {
    HOSTED.contains(&kind) || (kind == "tool_search" && execution != Some("client"))
}

/// As [`is_hosted`], for a tool as the client wrote it.
pub(super) fn is_left_out(tool: &Value) -> bool {
    let word = |name| tool.get(name).and_then(Value::as_str);
    is_hosted(word("type").unwrap_or_default(), word("execution"))
}
