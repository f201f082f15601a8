//! The functions a request offers, and whether the model must use them.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::ApiError;
use super::json::{self, Object};
use crate::codex::Tool;

/// What is offered to the model.
#[derive(Debug, Default)]
pub(super) struct Offer {
    tools: Vec<Tool>,
    names: HashSet<String>,
    /// Codex lets the model choose; what else the client wants has to be said in words.
    instruction: Option<String>,
}

/// How a dialect says whether the model must call a function, and which.
pub(super) struct Spelling {
    /// The member that says it.
    pub(super) param: &'static str,
    /// The words it may be.
    pub(super) words: &'static [&'static str],
    /// From what it is otherwise to the object that has the function's `name`.
    pub(super) named: fn(Object) -> Result<Object, ApiError>,
}

enum Choice {
    Auto,
    None,
    Required,
    Named(String),
}

impl Offer {
    /// Adds a function: `{"name", "description", "parameters"}`.
    pub(super) fn add(&mut self, mut function: Object) -> Result<(), ApiError> {
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
        if !self.names.insert(name.clone()) {
            let message = format!("Invalid '{path}': there is already a function '{name}'.");
            return Err(json::invalid_value(path, message));
        }
        let description = function.string("description")?;
        let parameters = match function.object("parameters")? {
            Some(schema) => schema.into_value(),
            None => json!({"type": "object", "properties": {}}),
        };
        self.tools.push(Tool {
            name,
            description,
            parameters,
        });
        Ok(())
    }

    /// Takes the client's choice among the functions that were added out of the request.
    pub(super) fn choose(
        &mut self,
        body: &mut Object,
        spelling: &Spelling,
    ) -> Result<(), ApiError> {
        match self.read_choice(body, spelling)? {
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
        Ok(())
    }

    /// As Codex can be told: what there is, and an instruction.
    pub(super) fn split(self) -> (Vec<Tool>, Option<String>) {
        (self.tools, self.instruction)
    }

    fn read_choice(&self, body: &mut Object, spelling: &Spelling) -> Result<Choice, ApiError> {
        let param = spelling.param;
        match body.take(param) {
            None => Ok(Choice::Auto),
            Some(Value::String(word)) => match word.as_str() {
                word if !spelling.words.contains(&word) => {
                    Err(json::unsupported(param.to_owned(), word, spelling.words))
                }
                "none" => Ok(Choice::None),
                "required" => self.require_some(param),
                _ => Ok(Choice::Auto),
            },
            Some(value @ Value::Object(_)) => {
                let choice = Object::from_value(value, param.to_owned())?;
                self.read_named((spelling.named)(choice)?)
            }
            Some(other) => {
                let expected = "a string or an object";
                Err(json::wrong_type(param.to_owned(), expected, &other))
            }
        }
    }

    fn require_some(&self, param: &str) -> Result<Choice, ApiError> {
        if self.names.is_empty() {
            let message = format!("'{param}' can only be 'required' if tools are offered.");
            return Err(json::invalid_value(param.to_owned(), message));
        }
        Ok(Choice::Required)
    }

    fn read_named(&self, mut function: Object) -> Result<Choice, ApiError> {
        let name = function.required_string("name")?;
        if !self.names.contains(&name) {
            let message = format!("The function '{}' is not offered.", json::shorten(&name));
            return Err(json::invalid_value(function.path_of("name"), message));
        }
        Ok(Choice::Named(name))
    }
}
