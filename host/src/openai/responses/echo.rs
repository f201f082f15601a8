//! Repeats the request's parameters in a response, in OpenAI's form.

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::super::json_object::{self, Object};
use super::super::{ApiError, params};
use super::tools::is_left_out;

/// Members of the response object. If OpenAI has a default that may not be Codex's, the member is `null`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Echo {
    pub(super) background: bool,
    pub(super) instructions: Option<String>,
    pub(super) max_output_tokens: Option<u64>,
    max_tool_calls: Option<u64>,
    metadata: Map<String, Value>,
    parallel_tool_calls: bool,
    pub(super) previous_response_id: Option<String>,
    pub(super) prompt_cache_key: Option<String>,
    pub(super) reasoning: Reasoning,
    safety_identifier: Option<String>,
    pub(super) service_tier: &'static str,
    pub(super) store: bool,
    #[serde(flatten)]
    sampling: Sampling,
    pub(super) text: Text,
    tool_choice: Value,
    tools: Value,
    truncation: &'static str,
    user: Option<String>,
}

/// How tokens are sampled. Codex carries none of it, so the provider's defaults hold, whatever the request says.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Sampling {
    temperature: f32,
    top_p: f32,
    presence_penalty: f32,
    frequency_penalty: f32,
    top_logprobs: u8,
}

impl Sampling {
    /// Only checks the types of what the request says.
    fn read(body: &mut Object) -> Result<Self, ApiError> {
        body.number("temperature")?;
        body.number("top_p")?;
        Ok(Self {
            temperature: 1.0,
            top_p: 1.0,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            top_logprobs: 0,
        })
    }
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Reasoning {
    pub(super) effort: Option<String>,
    pub(super) summary: Option<&'static str>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Text {
    format: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) verbosity: Option<&'static str>,
}

impl Echo {
    /// Takes the members that are only repeated out of a request, and copies those with a further meaning.
    pub(super) fn read(body: &mut Object) -> Result<Self, ApiError> {
        let look = |name, default| body.get(name).cloned().unwrap_or(default);
        let tools = complete(look("tools", json!([])));
        let tool_choice = complete_choice(look("tool_choice", json!("auto")));
        let format = body.get("text").and_then(|text| text.get("format"));
        let format = format.filter(|format| !format.is_null()).cloned();
        Ok(Self {
            background: body.boolean("background")?.unwrap_or(false),
            instructions: body.string("instructions")?,
            max_output_tokens: body.positive("max_output_tokens")?,
            max_tool_calls: body.whole("max_tool_calls")?,
            metadata: read_metadata(body)?,
            parallel_tool_calls: body.boolean("parallel_tool_calls")?.unwrap_or(true),
            previous_response_id: None,
            prompt_cache_key: body.string("prompt_cache_key")?,
            reasoning: read_reasoning(body)?,
            safety_identifier: body.string("safety_identifier")?,
            service_tier: params::read_service_tier(body)?.unwrap_or("auto"),
            store: body.boolean("store")?.unwrap_or(true),
            sampling: Sampling::read(body)?,
            text: Text {
                format: format.map_or_else(|| json!({"type": "text"}), complete_format),
                verbosity: None,
            },
            tool_choice,
            tools,
            truncation: body
                .word("truncation", &["auto", "disabled"])?
                .unwrap_or("disabled"),
            user: body.string("user")?,
        })
    }
}

impl Echo {
    /// Whether the client wants no more than one call.
    pub(super) fn is_one_call(&self) -> bool {
        !self.parallel_tool_calls
    }
}

/// Adds the members of functions that typed clients expect. `strict` is what holds: Codex sends every function as not strict.
fn complete(mut tools: Value) -> Value {
    if let Some(tools) = tools.as_array_mut() {
        tools.retain(|tool| !is_left_out(tool));
    }
    for function in objects(&mut tools) {
        if function.get("type").is_some_and(|kind| kind != "function") {
            continue;
        }
        keep(
            function,
            &["type", "name", "description", "parameters", "strict"],
        );
        fill(function, "description", Value::Null);
        fill(function, "parameters", Value::Null);
        function.insert("strict".to_owned(), Value::Bool(false));
    }
    tools
}

/// The same for the format of the text. Open Responses demands these members.
fn complete_format(mut format: Value) -> Value {
    if let Some(members) = format.as_object_mut() {
        if members
            .get("type")
            .is_some_and(|kind| kind == "json_schema")
        {
            keep(
                members,
                &["type", "name", "description", "schema", "strict"],
            );
            fill(members, "description", Value::Null);
            fill(members, "strict", Value::Bool(false));
        } else {
            keep(members, &["type"]);
        }
    }
    format
}

fn complete_choice(mut choice: Value) -> Value {
    if let Some(members) = choice.as_object_mut() {
        keep(members, &["type", "name", "mode", "tools"]);
        for function in members.get_mut("tools").into_iter().flat_map(objects) {
            keep(function, &["type", "name"]);
        }
    }
    choice
}

fn objects(array: &mut Value) -> impl Iterator<Item = &mut Map<String, Value>> {
    let items = array.as_array_mut().into_iter().flatten();
    items.filter_map(Value::as_object_mut)
}

/// Drops the members that are ignored: they are no part of a response's schema.
fn keep(members: &mut Map<String, Value>, known: &[&str]) {
    members.retain(|name, _| known.contains(&name.as_str()));
}

/// Gives a member that is absent or `null` its default.
fn fill(members: &mut Map<String, Value>, name: &str, default: Value) {
    let member = members.entry(name).or_insert(Value::Null);
    if member.is_null() {
        *member = default;
    }
}

fn read_metadata(body: &mut Object) -> Result<Map<String, Value>, ApiError> {
    let Some(metadata) = body.object("metadata")? else {
        return Ok(Map::new());
    };
    let entries = metadata.into_members();
    match entries.iter().find(|(_, value)| !value.is_string()) {
        Some((name, value)) => {
            let param = format!("metadata.{}", json_object::shorten(name));
            Err(json_object::wrong_type(param, "a string", value))
        }
        None => Ok(entries),
    }
}

fn read_reasoning(body: &mut Object) -> Result<Reasoning, ApiError> {
    let words = ["auto", "concise", "detailed"];
    let (mut effort, mut summary) = (None, None);
    if let Some(mut reasoning) = body.object("reasoning")? {
        effort = reasoning.string("effort")?;
        if reasoning
            .string("mode")?
            .is_some_and(|mode| mode != "standard")
        {
            let message = "Codex has one mode of reasoning: 'mode' must be standard.";
            return Err(params::unsupported("reasoning.mode", message));
        }
        let old = reasoning.word("generate_summary", &words)?;
        summary = reasoning.word("summary", &words)?.or(old);
    }
    Ok(Reasoning { effort, summary })
}
