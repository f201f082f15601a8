//! Reads the messages of a chat request into the conversation for Codex.

use std::collections::HashMap;

use super::super::conversation::{self, Conversation};
use super::super::json_object::{self, Object};
use super::super::tools::wrap;
use super::super::{ApiError, content};
use crate::codex::{Item, Part, Role};

const ROLES: [&str; 6] = [
    "system",
    "developer",
    "user",
    "assistant",
    "tool",
    "function",
];

/// The types of parts in the content of each role.
const TEXT: &[&str] = &["text"];
const USER: &[&str] = &["text", "image_url"];
const ASSISTANT: &[&str] = &["text", "refusal"];

/// Takes `messages` out of a request.
pub(super) fn read(body: &mut Object) -> Result<Vec<Item>, ApiError> {
    let messages = body.array("messages")?;
    let messages = messages.ok_or_else(|| body.missing("messages"))?;
    if messages.is_empty() {
        let needed = "at least one message is needed";
        return Err(json_object::empty("messages", needed));
    }
    let mut history = History::default();
    for (at, message) in messages.into_iter().enumerate() {
        history.add(Object::from_value(message, format!("messages[{at}]"))?)?;
    }
    history.expect_outputs()?;
    let items = history.conversation.into_items();
    if items.is_empty() {
        let message = "Invalid 'messages': none of them says anything.";
        return Err(json_object::invalid_value("messages".to_owned(), message));
    }
    Ok(items)
}

/// The longest `name` of a message: OpenAI's limit of 64 characters, each of up to four bytes.
const NAME_BYTES: usize = 256;

#[derive(Default)]
struct History {
    conversation: Conversation,
    /// The id of the latest call of each function: `function` messages name the function, not the call.
    latest: HashMap<String, String>,
    /// The path of the last `tool_calls` in the request.
    calls: String,
}

impl History {
    fn add(&mut self, mut message: Object) -> Result<(), ApiError> {
        let role = message.required_word("role", &ROLES)?;
        if !matches!(role, "tool" | "function") {
            self.expect_outputs()?;
        }
        match role {
            "assistant" => self.add_assistant(message),
            "tool" => self.add_tool(message),
            "function" => self.add_function(message),
            "user" => self.say(Role::User, &mut message, USER),
            // Codex drops `system` messages silently.
            _ => self.say(Role::Developer, &mut message, TEXT),
        }
    }

    /// Refuses the request if a call so far has no output.
    fn expect_outputs(&self) -> Result<(), ApiError> {
        let Some(ids) = self.conversation.unanswered() else {
            return Ok(());
        };
        let ids: Vec<String> = ids.into_iter().map(json_object::shorten).collect();
        let message = format!(
            "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'. \
             The following tool_call_ids did not have response messages: {}.",
            ids.join(", ")
        );
        Err(json_object::invalid_value(self.calls.clone(), message))
    }

    fn say(&mut self, role: Role, message: &mut Object, types: &[&str]) -> Result<(), ApiError> {
        let name = read_name(message)?;
        let parts = signed(name, content::read(message, "content", types)?);
        if let Some(item) = conversation::message(role, parts) {
            self.conversation.push(item);
        }
        Ok(())
    }

    fn add_assistant(&mut self, mut message: Object) -> Result<(), ApiError> {
        let mut parts = Vec::new();
        if message.has("content") {
            parts = content::read(&mut message, "content", ASSISTANT)?;
        }
        parts.extend(message.string("refusal")?.map(Part::Text));
        let name = read_name(&mut message)?;
        if let Some(item) = conversation::message(Role::Assistant, signed(name, parts)) {
            self.conversation.push(item);
        }
        let path = message.path_of("tool_calls");
        let calls = message.array("tool_calls")?.unwrap_or_default();
        for (at, call) in calls.into_iter().enumerate() {
            let mut call = Object::from_value(call, format!("{path}[{at}]"))?;
            let kind = call.word("type", &["function", "custom"])?;
            let id = call.required_id("id")?;
            if self.conversation.is_open(&id) {
                return Err(repeated(call.path_of("id"), &id));
            }
            match kind {
                Some("custom") => self.add_custom(id, call.required_object("custom")?)?,
                _ => self.add_call(id, call.required_object("function")?)?,
            }
        }
        self.calls = path;
        if let Some(function) = message.object("function_call")? {
            // Such a call has no id. The output refers to it by its name, and OpenAI does not require an output.
            let id = format!("call_function_{}", self.conversation.len());
            self.add_call(id.clone(), function)?;
            self.conversation.excuse(&id);
        }
        Ok(())
    }

    fn add_call(&mut self, id: String, mut function: Object) -> Result<(), ApiError> {
        let name = function.required_string("name")?;
        let arguments = function.string("arguments")?.unwrap_or_default();
        self.latest.insert(name.clone(), id.clone());
        self.conversation
            .push(conversation::call(id, name, arguments));
        Ok(())
    }

    fn add_custom(&mut self, id: String, mut tool: Object) -> Result<(), ApiError> {
        let name = tool.required_string("name")?;
        let input = tool.string("input")?.unwrap_or_default();
        self.conversation
            .push(conversation::call(id, name, wrap(&input)));
        Ok(())
    }

    fn add_tool(&mut self, mut message: Object) -> Result<(), ApiError> {
        let id = message.required_id("tool_call_id")?;
        if self.conversation.is_open(&id) {
            return self.add_output(id, message);
        }
        let shortened = json_object::shorten(&id);
        let text = match self.conversation.has_call(&id) {
            true => format!(
                "Invalid 'tool_call_id': the tool call '{shortened}' has a tool message already."
            ),
            false => format!(
                "Invalid 'tool_call_id': no earlier assistant message has a tool call '{shortened}'."
            ),
        };
        Err(json_object::invalid_value(
            message.path_of("tool_call_id"),
            text,
        ))
    }

    fn add_function(&mut self, mut message: Object) -> Result<(), ApiError> {
        let name = message.required_string("name")?;
        let Some(id) = self.latest.remove(&name) else {
            let text = format!(
                "Invalid 'name': no earlier assistant message calls a function '{}', or its result is there already.",
                json_object::shorten(&name)
            );
            return Err(json_object::invalid_value(message.path_of("name"), text));
        };
        self.add_output(id, message)
    }

    fn add_output(&mut self, id: String, mut message: Object) -> Result<(), ApiError> {
        let parts = content::read(&mut message, "content", USER)?;
        self.conversation.push(conversation::output(id, parts));
        Ok(())
    }
}

/// Takes the author's name. In a name with a line break the next line could pass for another author's.
fn read_name(message: &mut Object) -> Result<Option<String>, ApiError> {
    let name = message.short_string("name", NAME_BYTES)?;
    let breaks = |letter: char| letter.is_control() || ['\u{2028}', '\u{2029}'].contains(&letter);
    if name.as_ref().is_some_and(|name| name.contains(breaks)) {
        let path = message.path_of("name");
        let text =
            format!("Invalid '{path}': a name has no line breaks or other control characters.");
        return Err(json_object::invalid_value(path, text));
    }
    Ok(name)
}

/// The parts with the author's name before the first that is not empty: Codex has no place for a name.
fn signed(name: Option<String>, mut parts: Vec<Part>) -> Vec<Part> {
    let Some(name) = name else { return parts };
    let is_said = |part: &Part| *part != Part::Text(String::new());
    let at = parts.iter().position(is_said).unwrap_or_default();
    match parts.get_mut(at) {
        Some(Part::Text(text)) if !text.is_empty() => text.insert_str(0, &format!("{name}: ")),
        Some(Part::Image { .. }) => parts.insert(at, Part::Text(format!("{name}:"))),
        Some(Part::Text(_)) | None => {}
    }
    parts
}

/// The error for an id that two calls of one message have: an output could not be told apart.
fn repeated(path: String, id: &str) -> ApiError {
    let id = json_object::shorten(id);
    let message = format!("Invalid '{path}': duplicate value '{id}' for the id of a tool call.");
    json_object::invalid_value(path, message)
}
