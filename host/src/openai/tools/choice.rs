//! Reads the client's choice among the tools it offers.

use serde_json::Value;

use super::form::ToolName;
use super::item_tool::ItemTool;
use super::{NAME_BYTES, Offer};
use crate::codex::names::for_codex;
use crate::openai::ApiError;
use crate::openai::json_object::{self, Object};

/// A dialect's member for the choice among functions.
pub(in crate::openai) struct Spelling {
    /// The member's name.
    pub(in crate::openai) param: &'static str,
    /// The words that the member may be.
    pub(in crate::openai) words: &'static [&'static str],
    /// The form of an object in the member.
    pub(in crate::openai) shape: Shape,
}

/// A dialect's form for one chosen tool, or for several.
#[derive(Clone, Copy)]
pub(in crate::openai) enum Shape {
    /// `{"name"}`, the form before `tools`; several functions cannot be named.
    Bare,
    /// `{"type": "function", "name"}`, and for several `{"type": "allowed_tools", "mode", "tools"}`.
    Flat,
    /// As `Flat`, but all members except `type` are in an object with the type's name.
    Nested,
}

/// The types of an object that names one tool; and those of a choice, which may name several.
const NESTED: [&str; 2] = ["function", "custom"];
const FLAT: [&str; 5] = ["function", "custom", "local_shell", "shell", "apply_patch"];
const SEVERAL: &str = "allowed_tools";

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

    /// The types of one tool.
    fn kinds(self) -> &'static [&'static str] {
        match self {
            Self::Bare | Self::Flat => &FLAT,
            Self::Nested => &NESTED,
        }
    }
}

impl Offer {
    /// Takes the client's choice among the added tools out of the request.
    pub(in crate::openai) fn choose(
        &mut self,
        body: &mut Object,
        spelling: &Spelling,
    ) -> Result<(), ApiError> {
        let choice = self.read_choice(body, spelling)?;
        self.settle(choice);
        Ok(())
    }

    /// Lets the model call nothing.
    pub(in crate::openai) fn forbid(&mut self) {
        self.settle(Choice::None);
    }

    /// Asks the model to call something. `param` is the request's member that says so, and `word` its value.
    pub(in crate::openai) fn require(&mut self, param: &str, word: &str) -> Result<(), ApiError> {
        let choice = self.require_some(param, word)?;
        self.settle(choice);
        Ok(())
    }

    /// Asks the model to call the tool with this `name`.
    pub(in crate::openai) fn require_named(&mut self, tool: Object) -> Result<(), ApiError> {
        let name = self.read_name(tool)?;
        self.settle(Choice::Named(name));
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
                "required" => self.require_some(param, &word),
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
        if let Shape::Bare = shape {
            return self.read_name(choice).map(Choice::Named);
        }
        if let Some(kind) = self.kind_left_out(&choice) {
            return Err(self.not_run(choice.path_of("type"), kind));
        }
        let kind = choice.required_word("type", &[shape.kinds(), &[SEVERAL]].concat())?;
        if kind == SEVERAL {
            return self.read_allowed(shape.open(choice, kind)?, shape);
        }
        self.read_tool(choice, kind, shape).map(Choice::Named)
    }

    /// The name of the function that stands for an offered tool.
    fn read_tool(
        &self,
        tool: Object,
        kind: &'static str,
        shape: Shape,
    ) -> Result<String, ApiError> {
        match ItemTool::of_kind(kind) {
            Some(item) if self.has(item.kind) => Ok(item.kind.to_owned()),
            Some(_) => {
                let path = tool.path_of("type");
                let message = format!("The tool '{kind}' is not offered.");
                Err(json_object::invalid_value(path, message))
            }
            None => self.read_name(shape.open(tool, kind)?),
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
            if self.kind_left_out(&tool).is_some() {
                continue;
            }
            let kind = tool.required_word("type", shape.kinds())?;
            names.push(self.read_tool(tool, kind, shape)?);
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

    fn require_some(&self, param: &str, word: &str) -> Result<Choice, ApiError> {
        if !self.names.is_empty() {
            return Ok(Choice::Required);
        }
        let message = match self.left_out.first() {
            Some(kind) => {
                format!(
                    "'{param}' can only be '{word}' if tools are offered that can run: this gateway runs no '{kind}'."
                )
            }
            None => format!("'{param}' can only be '{word}' if tools are offered."),
        };
        Err(json_object::invalid_value(param.to_owned(), message))
    }

    /// The kind of a tool that was left out.
    fn kind_left_out(&self, tool: &Object) -> Option<&'static str> {
        let found = tool.get("type").and_then(Value::as_str)?;
        self.left_out.iter().copied().find(|kind| *kind == found)
    }

    /// The name of an offered function or custom tool.
    fn read_name(&self, mut function: Object) -> Result<String, ApiError> {
        let name = ToolName {
            name: function.required_string("name")?,
            namespace: function.short_string("namespace", NAME_BYTES)?,
        };
        let flat = name.flat();
        if !self.has(&flat) {
            // Anthropic's clients choose such a tool by its name.
            if let Some(kind) = self.left_out.iter().find(|kind| **kind == name.name) {
                return Err(self.not_run(function.path_of("name"), kind));
            }
            let message = format!(
                "The function '{}' is not offered.",
                json_object::shorten(&name.name)
            );
            return Err(json_object::invalid_value(
                function.path_of("name"),
                message,
            ));
        }
        Ok(flat)
    }
}
