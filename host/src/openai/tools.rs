//! Reads the functions a request offers, and whether the model must call them.

use std::collections::HashSet;

use serde_json::{Map, Value, json};

use super::ApiError;
use super::json_object::{self, Object};
use crate::codex::Tool;
use crate::codex::names::for_codex;

/// The functions offered to the model.
#[derive(Debug, Default)]
pub(super) struct Offer {
    tools: Vec<Tool>,
    names: HashSet<String>,
    /// With Codex the model always chooses; any other choice of the client becomes an instruction.
    instruction: Option<String>,
}

/// A dialect's member for the choice among functions.
pub(super) struct Spelling {
    /// The member's name.
    pub(super) param: &'static str,
    /// The words that the member may be.
    pub(super) words: &'static [&'static str],
    /// The form of an object in the member.
    pub(super) shape: Shape,
}

/// A dialect's form for one chosen function, or for several.
#[derive(Clone, Copy)]
pub(super) enum Shape {
    /// `{"name"}`, the form before `tools`; several functions cannot be named.
    Bare,
    /// `{"type": "function", "name"}`, and for several `{"type": "allowed_tools", "mode", "tools"}`.
    Flat,
    /// As `Flat`, but all members except `type` are in an object with the type's name.
    Nested,
}

enum Choice {
    Auto,
    None,
    Required,
    Named(String),
    /// Only these functions, with a choice among them.
    Among(Vec<String>, Box<Choice>),
}

impl Shape {
    /// Goes from a choice or a tool to the object whose members name the function.
    fn open(self, mut choice: Object, kind: &'static str) -> Result<Object, ApiError> {
        match self {
            Self::Bare | Self::Flat => Ok(choice),
            Self::Nested => choice.required_object(kind),
        }
    }
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
                json_object::shorten(&name)
            );
            return Err(json_object::invalid_value(path, message));
        }
        if !self.names.insert(name.clone()) {
            let message = format!("Invalid '{path}': there is already a function '{name}'.");
            return Err(json_object::invalid_value(path, message));
        }
        let description = function.string("description")?;
        let parameters = function.object("parameters")?;
        let parameters = schema_of(parameters.map(Object::into_members));
        self.tools.push(Tool {
            name,
            description,
            parameters,
        });
        Ok(())
    }

    /// Takes the client's choice among the added functions out of the request.
    pub(super) fn choose(
        &mut self,
        body: &mut Object,
        spelling: &Spelling,
    ) -> Result<(), ApiError> {
        let choice = self.read_choice(body, spelling)?;
        self.settle(choice);
        Ok(())
    }

    fn settle(&mut self, choice: Choice) {
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
                    "Your next answer must call the function `{}`; call no other function and \
                     do not answer with text alone.",
                    for_codex(&name)
                ));
            }
            Choice::Among(names, choice) => {
                self.tools.retain(|tool| names.contains(&tool.name));
                self.settle(*choice);
            }
        }
    }

    /// The offer in the two forms that Codex takes: tools, and an instruction.
    pub(super) fn split(self) -> (Vec<Tool>, Option<String>) {
        (self.tools, self.instruction)
    }

    fn read_choice(&self, body: &mut Object, spelling: &Spelling) -> Result<Choice, ApiError> {
        let param = spelling.param;
        match body.take(param) {
            None => Ok(Choice::Auto),
            Some(Value::String(word)) => match word.as_str() {
                word if !spelling.words.contains(&word) => Err(json_object::unsupported(
                    param.to_owned(),
                    word,
                    spelling.words,
                )),
                "none" => Ok(Choice::None),
                "required" => self.require_some(param),
                _ => Ok(Choice::Auto),
            },
            Some(value @ Value::Object(_)) => {
                let choice = Object::from_value(value, param.to_owned())?;
                self.read_object(choice, spelling.shape)
            }
            Some(other) => {
                let expected = "a string or an object";
                Err(json_object::wrong_type(param.to_owned(), expected, &other))
            }
        }
    }

    fn read_object(&self, mut choice: Object, shape: Shape) -> Result<Choice, ApiError> {
        let kind = match shape {
            Shape::Bare => return self.read_name(choice).map(Choice::Named),
            _ => choice.required_word("type", &["function", "allowed_tools"])?,
        };
        let choice = shape.open(choice, kind)?;
        match kind {
            "function" => self.read_name(choice).map(Choice::Named),
            _ => self.read_allowed(choice, shape),
        }
    }

    fn read_allowed(&self, mut allowed: Object, shape: Shape) -> Result<Choice, ApiError> {
        let mode = allowed.required_word("mode", &["auto", "required"])?;
        let path = allowed.path_of("tools");
        let tools = allowed.array("tools")?;
        let tools = tools.ok_or_else(|| allowed.missing("tools"))?;
        let mut names = Vec::with_capacity(tools.len());
        for (at, tool) in tools.into_iter().enumerate() {
            let mut tool = Object::from_value(tool, format!("{path}[{at}]"))?;
            let kind = tool.required_word("type", &["function"])?;
            names.push(self.read_name(shape.open(tool, kind)?)?);
        }
        let choice = match mode {
            "required" if names.is_empty() => {
                return Err(json_object::empty(&path, "one of them has to be called"));
            }
            "required" => Choice::Required,
            _ => Choice::Auto,
        };
        Ok(Choice::Among(names, Box::new(choice)))
    }

    fn require_some(&self, param: &str) -> Result<Choice, ApiError> {
        if self.names.is_empty() {
            let message = format!("'{param}' can only be 'required' if tools are offered.");
            return Err(json_object::invalid_value(param.to_owned(), message));
        }
        Ok(Choice::Required)
    }

    /// The name of an offered function.
    fn read_name(&self, mut function: Object) -> Result<String, ApiError> {
        let name = function.required_string("name")?;
        if !self.names.contains(&name) {
            let message = format!(
                "The function '{}' is not offered.",
                json_object::shorten(&name)
            );
            return Err(json_object::invalid_value(
                function.path_of("name"),
                message,
            ));
        }
        Ok(name)
    }
}
