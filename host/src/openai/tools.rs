//! The tools a request offers, as the functions that Codex knows, and whether the model must call them.

mod choice;
mod form;
mod item_tool;

use std::collections::HashSet;

use serde_json::{Map, Value, json};

pub(super) use self::choice::{Shape, Spelling};
pub(super) use self::form::{CallForm, Forms, ToldCall, ToolName, wrap};
pub(super) use self::item_tool::{ITEM_TOOLS, ItemTool};

use self::form::{input_schema, is_function_name};
use super::ApiError;
use super::json_object::{self, Object};
use super::params;
use crate::codex::Tool;

/// The longest name of a namespace, or of a tool in it.
pub(super) const NAME_BYTES: usize = 256;

/// The tools offered to the model.
#[derive(Debug, Default)]
pub(super) struct Offer {
    tools: Vec<Tool>,
    names: HashSet<String>,
    forms: Forms,
    /// The kinds of tools that nobody runs here.
    left_out: Vec<&'static str>,
    /// The member of the request that has the first of them.
    first_left_out: String,
    /// Whether a tool that is there already is dropped in silence.
    repeats: bool,
    /// With Codex the model always chooses; any other choice of the client becomes an instruction.
    instruction: Option<String>,
}

/// The schema of a function's arguments, which are an object: Codex reduces a schema without a type to `{}`.
fn schema_of(schema: Option<Map<String, Value>>) -> Value {
    const TYPING: [&str; 5] = ["type", "$ref", "anyOf", "oneOf", "allOf"];
    let Some(mut schema) = schema.filter(|schema| !schema.is_empty()) else {
        return json!({"type": "object", "properties": {}});
    };
    if !TYPING.iter().any(|member| schema.contains_key(*member)) {
        schema.insert("type".to_owned(), json!("object"));
    }
    Value::Object(schema)
}

/// The description of the function that stands for a custom tool. Codex has no place for a grammar.
fn custom_description(
    description: Option<String>,
    format: Option<Object>,
) -> Result<String, ApiError> {
    let mut text = description.unwrap_or_default();
    let kind = match format {
        None => None,
        Some(mut format) => match format.required_word("type", &["text", "grammar"])? {
            "grammar" => {
                // In chat these members are in an object of their own.
                let mut grammar = format.object("grammar")?.unwrap_or(format);
                let syntax = grammar.required_word("syntax", &["lark", "regex"])?;
                Some((syntax, grammar.required_string("definition")?))
            }
            _ => None,
        },
    };
    if !text.is_empty() {
        text.push_str("\n\n");
    }
    text.push_str("Pass the whole text as the argument `input`, and nothing else.");
    if let Some((syntax, definition)) = kind {
        text.push_str(&format!(
            " The text must match this {syntax} grammar:\n{definition}"
        ));
    }
    Ok(text)
}

impl Offer {
    /// Adds a function: `{"name", "description", "parameters"}`.
    pub(super) fn add(&mut self, function: Object) -> Result<(), ApiError> {
        self.add_function(function, None)
    }

    /// Adds a function, which may be in a namespace.
    pub(super) fn add_function(
        &mut self,
        mut function: Object,
        namespace: Option<&str>,
    ) -> Result<(), ApiError> {
        let name = read_name(&mut function, namespace)?;
        let description = function.string("description")?;
        let parameters = function.object("parameters")?;
        self.add_named(&function, name, description, parameters)
    }

    /// Adds a function that was read from `tool`. Its name may have any letters, and any length within a request's bounds.
    pub(super) fn add_named(
        &mut self,
        tool: &Object,
        name: ToolName,
        description: Option<String>,
        parameters: Option<Object>,
    ) -> Result<(), ApiError> {
        let path = tool.path_of("name");
        let parameters = schema_of(parameters.map(Object::into_members));
        let tool = (description, parameters);
        self.insert(path, name.flat(), CallForm::Function(name), tool)
    }

    /// Adds a custom tool: `{"name", "description", "format"}`.
    pub(super) fn add_custom(
        &mut self,
        mut tool: Object,
        namespace: Option<&str>,
    ) -> Result<(), ApiError> {
        let name = read_name(&mut tool, namespace)?;
        let path = tool.path_of("name");
        let description = tool.string("description")?;
        let description = custom_description(description, tool.object("format")?)?;
        let tool = (Some(description), input_schema());
        self.insert(path, name.flat(), CallForm::Custom(name), tool)
    }

    /// Adds a tool that the client runs, and whose calls are items of their own.
    pub(super) fn add_item_tool(
        &mut self,
        kind: &'static ItemTool,
        mut tool: Object,
    ) -> Result<(), ApiError> {
        let path = tool.path_of("type");
        let description = tool.string("description")?;
        let description = description.unwrap_or_else(|| kind.description.to_owned());
        let parameters = tool.object("parameters")?.map(Object::into_members);
        let parameters = parameters.map_or_else(|| kind.schema(), |schema| schema_of(Some(schema)));
        let function = kind.kind.to_owned();
        let tool = (Some(description), parameters);
        self.insert(path, function, CallForm::Item(kind), tool)
    }

    /// Notes a kind of tool that nobody runs here; `path` is its place in the request.
    pub(super) fn leave_out(&mut self, kind: &'static str, path: String) {
        if self.left_out.is_empty() {
            self.first_left_out = path;
        }
        if !self.left_out.contains(&kind) {
            self.left_out.push(kind);
        }
    }

    /// Refuses the request if a tool was left out.
    pub(super) fn refuse_left_out(&self) -> Result<(), ApiError> {
        let Some(kind) = self.left_out.first() else {
            return Ok(());
        };
        let message = format!("This gateway runs no '{kind}': leave it out.");
        Err(params::unsupported(&self.first_left_out, message))
    }

    /// The kinds of tools that were left out, in their order.
    pub(super) fn left_out(&self) -> &[&'static str] {
        &self.left_out
    }

    /// From now on a tool that is there already is dropped, instead of refused.
    pub(super) fn allow_repeats(&mut self) {
        self.repeats = true;
    }

    /// The names of the functions that the client's choice excludes.
    pub(super) fn forbidden(&self) -> Vec<String> {
        let left: HashSet<&str> = self.tools.iter().map(|tool| tool.name.as_str()).collect();
        let forbidden = self
            .names
            .iter()
            .filter(|name| !left.contains(name.as_str()));
        forbidden.cloned().collect()
    }

    /// Whether there is a tool whose function has this name.
    pub(super) fn has(&self, function: &str) -> bool {
        self.names.contains(function)
    }

    fn insert(
        &mut self,
        path: String,
        name: String,
        form: CallForm,
        (description, parameters): (Option<String>, Value),
    ) -> Result<(), ApiError> {
        if !self.names.insert(name.clone()) {
            if self.repeats {
                return Ok(());
            }
            let message = format!(
                "Invalid '{path}': there is already a function '{name}', or a tool of a namespace that has this name for the model."
            );
            return Err(json_object::invalid_value(path, message));
        }
        self.forms.insert(&name, form);
        self.tools.push(Tool {
            name,
            description,
            parameters,
        });
        Ok(())
    }

    /// Takes the forms in which the calls of these tools are told.
    pub(super) fn take_forms(&mut self) -> Forms {
        std::mem::take(&mut self.forms)
    }

    /// The offer in the two forms that Codex takes: tools, and an instruction. If all tools were left out, the model is told: it would
    /// answer as if it had searched.
    pub(super) fn split(self) -> (Vec<Tool>, Option<String>) {
        let alone = self.names.is_empty() && !self.left_out.is_empty();
        let told = alone.then(|| {
            format!(
                "You have none of the tools that were asked for ({}): nothing can be looked up or run for this answer. Say so where it \
                 matters, and do not claim to have used them.",
                self.left_out.join(", ")
            )
        });
        (self.tools, self.instruction.or(told))
    }

    /// The error for a choice of a tool that was left out.
    fn not_run(&self, path: String, kind: &str) -> ApiError {
        let message = format!(
            "Invalid '{path}': this gateway runs no '{kind}', so the tool was left out, and cannot be chosen."
        );
        json_object::invalid_value(path, message)
    }
}

/// Takes the name of a tool. In a namespace it may have any letters.
fn read_name(tool: &mut Object, namespace: Option<&str>) -> Result<ToolName, ApiError> {
    if let Some(namespace) = namespace {
        let name = tool.short_string("name", NAME_BYTES)?;
        return Ok(ToolName {
            name: name.ok_or_else(|| tool.missing("name"))?,
            namespace: Some(namespace.to_owned()),
        });
    }
    let name = tool.required_string("name")?;
    if !is_function_name(&name) {
        let path = tool.path_of("name");
        let message = format!(
            "Invalid '{path}': '{}' is not 1 to 64 letters, digits, '_' and '-'.",
            json_object::shorten(&name)
        );
        return Err(json_object::invalid_value(path, message));
    }
    Ok(ToolName::plain(name))
}
