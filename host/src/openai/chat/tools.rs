//! The functions a chat request offers, and whether the model must use them.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::super::ApiError;
use super::super::json::{self, Object};
use crate::codex::Tool;

/// What is offered to the model.
#[derive(Debug, Default)]
pub(super) struct Offer {
    pub(super) tools: Vec<Tool>,
    /// Codex lets the model choose; what else the client wants has to be said in words.
    pub(super) instruction: Option<String>,
    /// The client speaks of `functions`, as clients did before there were tools.
    pub(super) functions: bool,
}

enum Choice {
    Auto,
    None,
    Required,
    Named(String),
}

impl Offer {
    /// Takes `tools` and `tool_choice`, or `functions` and `function_call`, out of a request.
    pub(super) fn read(body: &mut Object) -> Result<Self, ApiError> {
        let tools = body.array("tools")?;
        let functions = body.array("functions")?;
        let uses_functions = tools.is_none() && functions.is_some();
        if tools.is_some() && functions.is_some() {
            let message = "'functions' is the old name of 'tools': use one of them.";
            return Err(json::invalid_value("functions".to_owned(), message));
        }
        let mut offer = Self {
            functions: uses_functions,
            ..Self::default()
        };
        let mut names = HashSet::new();
        for (at, tool) in tools.into_iter().flatten().enumerate() {
            let mut tool = Object::from_value(tool, format!("tools[{at}]"))?;
            tool.required_word("type", &["function"])?;
            let function = tool.required_object("function")?;
            offer.tools.push(read_function(function, &mut names)?);
        }
        for (at, function) in functions.into_iter().flatten().enumerate() {
            let function = Object::from_value(function, format!("functions[{at}]"))?;
            offer.tools.push(read_function(function, &mut names)?);
        }
        offer.choose(read_choice(body, &names)?);
        Ok(offer)
    }

    fn choose(&mut self, choice: Choice) {
        match choice {
            Choice::Auto => {}
            Choice::None => self.tools.clear(),
            Choice::Required => {
                self.instruction = Some(
                    "Your next answer must call at least one of the offered functions; do not \
                     answer with text alone."
                        .to_owned(),
                );
            }
            Choice::Named(name) => {
                self.instruction = Some(format!(
                    "Your next answer must call the function `{name}`; call no other function and \
                     do not answer with text alone."
                ));
            }
        }
    }
}

fn read_function(mut function: Object, names: &mut HashSet<String>) -> Result<Tool, ApiError> {
    let name = function.required_string("name")?;
    let path = function.path_of("name");
    let is_valid = (1..=64).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    if !is_valid {
        let message = format!(
            "Invalid '{path}': '{}' is not 1 to 64 letters, digits, '_' and '-'.",
            json::shorten(&name)
        );
        return Err(json::invalid_value(path, message));
    }
    if !names.insert(name.clone()) {
        let message = format!("Invalid '{path}': there is already a function '{name}'.");
        return Err(json::invalid_value(path, message));
    }
    let description = function.string("description")?;
    let parameters = match function.object("parameters")? {
        Some(schema) => schema.into_value(),
        None => json!({"type": "object", "properties": {}}),
    };
    Ok(Tool {
        name,
        description,
        parameters,
    })
}

fn read_choice(body: &mut Object, names: &HashSet<String>) -> Result<Choice, ApiError> {
    let (param, words): (_, &[_]) = match body.has("tool_choice") {
        true => ("tool_choice", &["auto", "none", "required"]),
        false => ("function_call", &["auto", "none"]),
    };
    match body.take(param) {
        None => Ok(Choice::Auto),
        Some(Value::String(word)) => match word.as_str() {
            "auto" => Ok(Choice::Auto),
            "none" => Ok(Choice::None),
            "required" if words.contains(&"required") => require_some(names, param),
            _ => Err(json::unsupported(param.to_owned(), &word, words)),
        },
        Some(value @ Value::Object(_)) => {
            let choice = Object::from_value(value, param.to_owned())?;
            read_named(choice, param == "tool_choice", names)
        }
        Some(other) => {
            let expected = "a string or an object";
            Err(json::wrong_type(param.to_owned(), expected, &other))
        }
    }
}

fn require_some(names: &HashSet<String>, param: &str) -> Result<Choice, ApiError> {
    if names.is_empty() {
        let message = format!("'{param}' can only be 'required' if tools are offered.");
        return Err(json::invalid_value(param.to_owned(), message));
    }
    Ok(Choice::Required)
}

fn read_named(
    mut choice: Object,
    is_tool: bool,
    names: &HashSet<String>,
) -> Result<Choice, ApiError> {
    if is_tool {
        choice.required_word("type", &["function"])?;
        choice = choice.required_object("function")?;
    }
    let name = choice.required_string("name")?;
    if !names.contains(&name) {
        let message = format!("The function '{}' is not offered.", json::shorten(&name));
        return Err(json::invalid_value(choice.path_of("name"), message));
    }
    Ok(Choice::Named(name))
}
