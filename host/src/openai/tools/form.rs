//! The forms of calls: Codex and its model know functions only, clients also custom tools, namespaces, and tools with items of their own.

use std::collections::HashMap;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::item_tool::ItemTool;
use crate::hex;

/// The namespace in which a model has its functions anyway.
const DEFAULT_NAMESPACE: &str = "functions";

/// The longest name of a function.
const LONGEST: usize = 64;

/// The one argument of the function that stands for a custom tool.
const INPUT: &str = "input";

/// The form in which a client writes and reads the calls of one tool.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::openai) enum CallForm {
    /// A function: its calls have arguments, which are JSON.
    Function(ToolName),
    /// A custom tool: its calls have an input, which is any text.
    Custom(ToolName),
    /// A tool whose calls are items of a type of their own.
    Item(&'static ItemTool),
}

/// The client's name of a function or custom tool.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::openai) struct ToolName {
    pub(in crate::openai) name: String,
    pub(in crate::openai) namespace: Option<String>,
}

impl ToolName {
    pub(in crate::openai) fn plain(name: String) -> Self {
        let namespace = None;
        Self { name, namespace }
    }

    /// The name of the function for Codex. The same in every request, since a conversation's cached prompt begins with it.
    pub(in crate::openai) fn flat(&self) -> String {
        let namespace = self.namespace.as_deref();
        let name = match namespace.filter(|name| *name != DEFAULT_NAMESPACE) {
            None => self.name.clone(),
            Some(namespace) => {
                let joint = if namespace.ends_with("__") { "" } else { "__" };
                format!("{namespace}{joint}{}", self.name)
            }
        };
        if is_function_name(&name) {
            return name;
        }
        // Two names that are alike in their first letters stay two.
        let digest = hex::hex(&Sha256::digest(&name)[..4]);
        let letters = name.chars().map(|letter| match letter {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '-' => letter,
            _ => '_',
        });
        let letters: String = letters.take(LONGEST - digest.len() - 1).collect();
        format!("{letters}_{digest}")
    }
}

/// Whether providers take it as the name of a function.
pub(in crate::openai) fn is_function_name(name: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    (1..=LONGEST).contains(&name.len()) && name.bytes().all(is_letter)
}

/// A call in its client's form.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::openai) enum ToldCall {
    /// The arguments, as the model wrote them.
    Function(ToolName, String),
    /// The input of a custom tool.
    Custom(ToolName, String),
    /// The member of the item that has the arguments.
    Item(&'static ItemTool, Map<String, Value>),
}

impl ToldCall {
    /// The type of a call in chat.
    pub(in crate::openai) fn kind(&self) -> &'static str {
        match self {
            Self::Function(..) => "function",
            Self::Custom(..) => "custom",
            Self::Item(tool, _) => tool.call,
        }
    }
}

/// The forms of a request's tools, by the names of their functions. Plain functions are not among them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Forms(HashMap<String, CallForm>);

impl Forms {
    pub(super) fn insert(&mut self, function: &str, form: CallForm) {
        let is_plain = matches!(&form, CallForm::Function(name) if name.namespace.is_none() && name.name == function);
        if !is_plain {
            self.0.insert(function.to_owned(), form);
        }
    }

    /// A call that the model made, in the client's form. Arguments that do not fit the form stay those of a function: the client
    /// tells the model so.
    pub(in crate::openai) fn tell(&self, function: &str, arguments: &str) -> ToldCall {
        let plain = || ToolName::plain(function.to_owned());
        match self.0.get(function) {
            None => ToldCall::Function(plain(), arguments.to_owned()),
            Some(CallForm::Function(name)) => {
                ToldCall::Function(name.clone(), arguments.to_owned())
            }
            Some(CallForm::Custom(name)) => ToldCall::Custom(name.clone(), unwrap(arguments)),
            Some(CallForm::Item(tool)) => match tool.member(arguments) {
                Some(member) => ToldCall::Item(tool, member),
                None => ToldCall::Function(plain(), arguments.to_owned()),
            },
        }
    }
}

/// The arguments of the function that stands for a custom tool.
pub(in crate::openai) fn wrap(input: &str) -> String {
    json!({INPUT: input}).to_string()
}

/// The input in them. Models sometimes write the input itself, as the tool's description may ask for.
fn unwrap(arguments: &str) -> String {
    let members = serde_json::from_str::<Map<String, Value>>(arguments);
    match members.ok().filter(|members| members.len() == 1) {
        Some(mut members) => match members.remove(INPUT) {
            Some(Value::String(input)) => input,
            _ => arguments.to_owned(),
        },
        None => arguments.to_owned(),
    }
}

/// The schema of these arguments.
pub(super) fn input_schema() -> Value {
    json!({
        "type": "object",
        "properties": {INPUT: {"type": "string", "description": "The whole input, as plain text."}},
        "required": [INPUT],
        "additionalProperties": false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(namespace: &str, name: &str) -> ToolName {
        ToolName {
            name: name.to_owned(),
            namespace: Some(namespace.to_owned()),
        }
    }

    #[test]
    fn a_namespace_becomes_a_part_of_the_functions_name() {
        assert_eq!(name("functions", "exec").flat(), "exec");
        assert_eq!(name("agents", "spawn").flat(), "agents__spawn");
        assert_eq!(name("mcp__files__", "read").flat(), "mcp__files__read");
        let (one, other) = ("a".repeat(70), format!("{}b", "a".repeat(69)));
        let (one, other) = (name("n", &one).flat(), name("n", &other).flat());
        assert_ne!(one, other);
        for flat in [one, other, name("a.b/ü", "c d").flat()] {
            assert!(is_function_name(&flat), "{flat}");
        }
    }

    #[test]
    fn a_name_that_providers_do_not_take_becomes_another() {
        let long = ToolName::plain("mcp__files__".to_owned() + &"a".repeat(80));
        let flat = long.flat();
        assert!(
            is_function_name(&flat) && flat.starts_with("mcp__files__a"),
            "{flat}"
        );
        let mut forms = Forms::default();
        forms.insert(&flat, CallForm::Function(long.clone()));
        let told = ToldCall::Function(long, "{}".to_owned());
        assert_eq!(forms.tell(&flat, "{}"), told);
    }

    #[test]
    fn an_input_comes_back_however_the_model_wrote_it() {
        let patch = "*** Begin Patch\n+\"x\"\n*** End Patch";
        for arguments in [wrap(patch), patch.to_owned()] {
            assert_eq!(unwrap(&arguments), patch);
        }
        for raw in [r#"{"input": 1}"#, r#"{"input": "a", "more": 1}"#, "", "[1]"] {
            assert_eq!(unwrap(raw), raw);
        }
    }
}
