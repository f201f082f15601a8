//! The messages of a chat request, as the conversation Codex is given.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::super::ApiError;
use super::super::json::{self, Object};
use super::arguments_or_empty_object;
use crate::codex::{Item, Part, Role};

const ROLES: [&str; 6] = [
    "system",
    "developer",
    "user",
    "assistant",
    "tool",
    "function",
];

/// The conversation so far.
#[derive(Debug, Default)]
pub(super) struct Conversation {
    pub(super) items: Vec<Item>,
    /// Bytes of all its text and calls.
    pub(super) text_bytes: u64,
    /// Ids of the calls so far.
    calls: HashSet<String>,
    /// The id of the latest call of each function, which is how `function` messages refer to calls.
    latest: HashMap<String, String>,
}

impl Conversation {
    /// Takes `messages` out of a request.
    pub(super) fn read(body: &mut Object) -> Result<Self, ApiError> {
        let messages = body.array("messages")?;
        let messages = messages.ok_or_else(|| body.missing("messages"))?;
        if messages.is_empty() {
            let message = "Invalid 'messages': at least one message is needed.";
            return Err(ApiError::invalid_request("empty_array", message).about("messages"));
        }
        let mut conversation = Self::default();
        for (at, message) in messages.into_iter().enumerate() {
            conversation.add(Object::from_value(message, format!("messages[{at}]"))?)?;
        }
        if conversation.items.is_empty() {
            let message = "Invalid 'messages': none of them says anything.";
            return Err(json::invalid_value("messages".to_owned(), message));
        }
        Ok(conversation)
    }

    /// Adds an instruction of ours at the end.
    pub(super) fn instruct(&mut self, instruction: String) {
        self.say(Role::Developer, vec![Part::Text(instruction)]);
    }

    fn add(&mut self, mut message: Object) -> Result<(), ApiError> {
        match message.required_word("role", &ROLES)? {
            "assistant" => self.add_assistant(message),
            "tool" => self.add_tool(message),
            "function" => self.add_function(message),
            "user" => {
                let parts = read_content(&mut message, Content::User)?;
                self.say(Role::User, parts);
                Ok(())
            }
            // Codex drops `system` without a word.
            _ => {
                let parts = read_content(&mut message, Content::Text)?;
                self.say(Role::Developer, parts);
                Ok(())
            }
        }
    }

    fn add_assistant(&mut self, mut message: Object) -> Result<(), ApiError> {
        let mut parts = Vec::new();
        if message.has("content") {
            parts = read_content(&mut message, Content::Assistant)?;
        }
        parts.extend(message.string("refusal")?.map(Part::Text));
        parts.retain(|part| *part != Part::Text(String::new()));
        self.say(Role::Assistant, parts);
        let path = message.path_of("tool_calls");
        let calls = message.array("tool_calls")?.unwrap_or_default();
        for (at, call) in calls.into_iter().enumerate() {
            let mut call = Object::from_value(call, format!("{path}[{at}]"))?;
            call.word("type", &["function"])?;
            let id = call.required_string("id")?;
            self.add_call(id, call.required_object("function")?)?;
        }
        if let Some(function) = message.object("function_call")? {
            // Such a call has no id of its own; the output finds it by its name.
            let id = format!("call_function_{}", self.items.len());
            self.add_call(id, function)?;
        }
        Ok(())
    }

    fn add_call(&mut self, id: String, mut function: Object) -> Result<(), ApiError> {
        let name = function.required_string("name")?;
        let arguments = function.string("arguments")?.unwrap_or_default();
        self.text_bytes += (name.len() + arguments.len()) as u64;
        self.calls.insert(id.clone());
        self.latest.insert(name.clone(), id.clone());
        self.items.push(Item::Call {
            id,
            name,
            arguments: arguments_or_empty_object(arguments),
        });
        Ok(())
    }

    fn add_tool(&mut self, mut message: Object) -> Result<(), ApiError> {
        let id = message.required_string("tool_call_id")?;
        // Codex removes an output without its call: the model would miss it, and nobody would know.
        if !self.calls.contains(&id) {
            let text = format!(
                "Invalid 'tool_call_id': no earlier assistant message has a tool call '{}'.",
                json::shorten(&id)
            );
            return Err(json::invalid_value(message.path_of("tool_call_id"), text));
        }
        self.add_output(id, message)
    }

    fn add_function(&mut self, mut message: Object) -> Result<(), ApiError> {
        let name = message.required_string("name")?;
        let Some(id) = self.latest.get(&name).cloned() else {
            let text = format!(
                "Invalid 'name': no earlier assistant message calls a function '{}'.",
                json::shorten(&name)
            );
            return Err(json::invalid_value(message.path_of("name"), text));
        };
        self.add_output(id, message)
    }

    fn add_output(&mut self, id: String, mut message: Object) -> Result<(), ApiError> {
        let mut parts = read_content(&mut message, Content::User)?;
        if parts.is_empty() {
            parts.push(Part::Text(String::new()));
        }
        self.count(&parts);
        self.items.push(Item::CallOutput { id, parts });
        Ok(())
    }

    /// Codex takes no message without content.
    fn say(&mut self, role: Role, parts: Vec<Part>) {
        if !parts.is_empty() {
            self.count(&parts);
            self.items.push(Item::Message { role, parts });
        }
    }

    fn count(&mut self, parts: &[Part]) {
        let bytes = parts.iter().map(|part| match part {
            Part::Text(text) => text.len() as u64,
            Part::Image { .. } => 0,
        });
        self.text_bytes += bytes.sum::<u64>();
    }
}

/// Which parts a role's content may have.
#[derive(Clone, Copy, PartialEq)]
enum Content {
    Text,
    User,
    Assistant,
}

impl Content {
    fn types(self) -> &'static [&'static str] {
        match self {
            Self::Text => &["text"],
            Self::User => &["text", "image_url"],
            Self::Assistant => &["text", "refusal"],
        }
    }
}

fn read_content(message: &mut Object, content: Content) -> Result<Vec<Part>, ApiError> {
    if !message.has("content") {
        return Err(message.missing("content"));
    }
    let path = message.path_of("content");
    match message.take("content") {
        None => Ok(Vec::new()),
        Some(Value::String(text)) => Ok(vec![Part::Text(text)]),
        Some(Value::Array(parts)) => {
            let parts = parts.into_iter().enumerate();
            parts
                .map(|(at, part)| {
                    read_part(Object::from_value(part, format!("{path}[{at}]"))?, content)
                })
                .collect()
        }
        Some(other) => Err(json::wrong_type(
            path,
            "a string or an array of parts",
            &other,
        )),
    }
}

fn read_part(mut part: Object, content: Content) -> Result<Part, ApiError> {
    let found = part.required_string("type")?;
    if !content.types().contains(&found.as_str()) {
        let path = part.path_of("type");
        return Err(match found.as_str() {
            "input_audio" | "file" => {
                let what = if found == "file" { "files" } else { "audio" };
                json::invalid_value(
                    path,
                    format!("Codex takes no {what}: send text or an image."),
                )
            }
            _ => json::unsupported(path, &found, content.types()),
        });
    }
    match found.as_str() {
        "image_url" => read_image(part),
        _ => Ok(Part::Text(part.required_string(&found)?)),
    }
}

fn read_image(mut part: Object) -> Result<Part, ApiError> {
    let path = part.path_of("image_url");
    let mut image = part.required_object("image_url")?;
    let url = image.required_string("url")?;
    let detail = image.word("detail", &["auto", "low", "high"])?;
    let is_data = url
        .get(..11)
        .is_some_and(|scheme| scheme.eq_ignore_ascii_case("data:image/"));
    if !is_data {
        let message = "This gateway fetches no images: send the image itself, as a data URL \
                       (data:image/png;base64,…).";
        return Err(ApiError::invalid_request("invalid_image_url", message).about(path));
    }
    Ok(Part::Image {
        url,
        detail: detail.map(str::to_owned),
    })
}
