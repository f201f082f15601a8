//! Reads the system prompt and the messages of a request into the conversation for Codex.

use serde_json::Value;

use super::super::conversation::{self, Conversation};
use super::super::json_object::{self, Object};
use super::super::tools::ToolName;
use super::content::{self, TELLING};
use super::{ApiError, Item};
use crate::codex::{Part, Role};

/// Blocks of the model's: its own reasoning, which is of another model or not told, and tools that Anthropic ran, whose results
/// are in the answers.
const IGNORED: [&str; 13] = [
    "thinking",
    "redacted_thinking",
    "server_tool_use",
    "advisor_tool_result",
    "bash_code_execution_tool_result",
    "code_execution_tool_result",
    "mcp_tool_listing",
    "mcp_tool_result",
    "mcp_tool_use",
    "text_editor_code_execution_tool_result",
    "tool_search_tool_result",
    "web_fetch_tool_result",
    "web_search_tool_result",
];

/// Notes for Anthropic: which of the offered tools the model knows of, and where it went on by itself.
const NOTES: [&str; 3] = ["tool_addition", "tool_removal", "fallback"];

/// How a text of Claude Code's begins that Anthropic takes out of the system prompt. It differs between requests: no provider would
/// find the prompt in its cache.
const BILL: &str = "x-anthropic-billing-header:";

/// Takes `system` and `messages` out of a request.
pub(super) fn read(body: &mut Object) -> Result<Vec<Item>, ApiError> {
    let history = History::read(body)?;
    history.expect_results()?;
    if let Some(path) = history.prefill {
        let message = "Codex does not continue a message that the client began: the conversation must end with a user message.";
        return Err(json_object::invalid_value(path, message));
    }
    let items = history.conversation.into_items();
    if items.iter().all(Item::is_instruction) {
        let message = "Invalid 'messages': none of them says anything.";
        return Err(json_object::invalid_value("messages".to_owned(), message));
    }
    Ok(items)
}

/// The same, where the conversation may end anywhere.
pub(super) fn read_part(body: &mut Object) -> Result<Vec<Item>, ApiError> {
    Ok(History::read(body)?.conversation.into_items())
}

#[derive(Default)]
struct History {
    conversation: Conversation,
    /// The author of the last messages. Messages of one author that follow each other are one, as at Anthropic.
    author: Option<Role>,
    /// The parts of these messages that are not in the conversation yet.
    parts: Vec<Part>,
    /// The path of the content that had the last calls.
    calls: String,
    /// The path of the last message, if it is the model's.
    prefill: Option<String>,
}

impl History {
    fn read(body: &mut Object) -> Result<Self, ApiError> {
        let mut history = Self::default();
        history.instruct(body, "system")?;
        let messages = body.array("messages")?;
        let messages = messages.ok_or_else(|| body.missing("messages"))?;
        if messages.is_empty() {
            let needed = "at least one message is needed";
            return Err(json_object::empty("messages", needed));
        }
        for (at, message) in messages.into_iter().enumerate() {
            history.add(Object::from_value(message, format!("messages[{at}]"))?)?;
        }
        history.end_author()?;
        Ok(history)
    }

    fn add(&mut self, mut message: Object) -> Result<(), ApiError> {
        let role = message.required_word("role", &["user", "assistant", "system"])?;
        if !message.is_set("content") {
            return Err(message.missing("content"));
        }
        self.prefill = None;
        match role {
            "user" => {
                self.begin(Role::User)?;
                self.add_user(message)
            }
            "assistant" => {
                self.begin(Role::Assistant)?;
                self.add_assistant(message)
            }
            _ => {
                self.end_author()?;
                self.instruct(&mut message, "content")
            }
        }
    }

    /// Begins a message of this author, or goes on with one.
    fn begin(&mut self, author: Role) -> Result<(), ApiError> {
        if self.author != Some(author) {
            self.end_author()?;
            if author == Role::Assistant {
                self.expect_results()?;
            }
            self.author = Some(author);
        }
        Ok(())
    }

    /// Ends the messages of one author. Those of the user must have had the results of all calls.
    fn end_author(&mut self) -> Result<(), ApiError> {
        if let Some(author) = self.author.take() {
            if author == Role::User {
                self.expect_results()?;
            }
            let parts = std::mem::take(&mut self.parts);
            self.say(author, parts);
        }
        Ok(())
    }

    /// Codex drops `system` messages silently.
    fn instruct(&mut self, holder: &mut Object, name: &str) -> Result<(), ApiError> {
        let mut parts = Vec::new();
        for mut block in content::blocks(holder, name)? {
            let kinds = [&["text"][..], &NOTES].concat();
            let kind = block.required_word("type", &kinds)?;
            let is_bill = |text: &str| text.starts_with(BILL);
            let is_for_anthropic = block
                .get("text")
                .and_then(Value::as_str)
                .is_some_and(is_bill);
            if !NOTES.contains(&kind) && !is_for_anthropic {
                content::tell(kind, block, &mut parts)?;
            }
        }
        self.say(Role::Developer, parts);
        Ok(())
    }

    /// The results come first, wherever they are in the messages: a provider wants them next to their calls.
    fn add_user(&mut self, mut message: Object) -> Result<(), ApiError> {
        let kinds = [&TELLING[..], &NOTES, &["tool_result"]].concat();
        for mut block in content::blocks(&mut message, "content")? {
            match block.required_word("type", &kinds)? {
                "tool_result" => self.add_result(block)?,
                note if NOTES.contains(&note) => {}
                kind => content::tell(kind, block, &mut self.parts)?,
            }
        }
        Ok(())
    }

    fn add_result(&mut self, mut block: Object) -> Result<(), ApiError> {
        let id = block.required_id("tool_use_id")?;
        if !self.conversation.is_open(&id) {
            let path = block.path_of("tool_use_id");
            let shortened = json_object::shorten(&id);
            let message = match self.conversation.has_call(&id) {
                true => format!(
                    "Invalid '{path}': each `tool_use` block must have a single result, and '{shortened}' has several."
                ),
                false => format!(
                    "Invalid '{path}': no earlier message has a `tool_use` block '{shortened}'."
                ),
            };
            return Err(json_object::invalid_value(path, message));
        }
        let mut parts = content::parts(&mut block, "content", &TELLING)?;
        if block.boolean("is_error")? == Some(true) {
            tell_error(&mut parts);
        }
        self.conversation.push(conversation::output(id, parts));
        Ok(())
    }

    fn add_assistant(&mut self, mut message: Object) -> Result<(), ApiError> {
        let path = message.path_of("content");
        let kinds = [&["text", "tool_use", "compaction"][..], &NOTES, &IGNORED].concat();
        for mut block in content::blocks(&mut message, "content")? {
            match block.required_word("type", &kinds)? {
                "text" => content::tell("text", block, &mut self.parts)?,
                // A summary of what was said before it.
                "compaction" => self.parts.extend(block.string("content")?.map(Part::Text)),
                "tool_use" => {
                    let parts = std::mem::take(&mut self.parts);
                    self.say(Role::Assistant, parts);
                    self.calls.clone_from(&path);
                    self.add_call(block)?;
                }
                _ => {}
            }
        }
        self.prefill = Some(path);
        Ok(())
    }

    fn add_call(&mut self, mut block: Object) -> Result<(), ApiError> {
        let id = block.required_id("id")?;
        if self.conversation.is_open(&id) {
            let path = block.path_of("id");
            let id = json_object::shorten(&id);
            let message = format!(
                "Invalid '{path}': duplicate value '{id}' for the id of a `tool_use` block."
            );
            return Err(json_object::invalid_value(path, message));
        }
        let name = ToolName::plain(block.required_string("name")?);
        let input = block.object("input")?.map(Object::into_value);
        let arguments = input.map(|input| input.to_string()).unwrap_or_default();
        let call = conversation::call(id, name.flat(), arguments);
        self.conversation.push(call);
        Ok(())
    }

    fn say(&mut self, role: Role, parts: Vec<Part>) {
        if let Some(item) = conversation::message(role, parts) {
            self.conversation.push(item);
        }
    }

    /// Refuses the request if a call so far has no result.
    fn expect_results(&self) -> Result<(), ApiError> {
        let Some(ids) = self.conversation.unanswered() else {
            return Ok(());
        };
        let ids: Vec<String> = ids.into_iter().map(json_object::shorten).collect();
        let message = format!(
            "`tool_use` ids were found without `tool_result` blocks immediately after: {}. Each `tool_use` block must have a \
             corresponding `tool_result` block in the next message.",
            ids.join(", ")
        );
        Err(json_object::invalid_value(self.calls.clone(), message))
    }
}

/// Codex has no mark for a result that is an error.
fn tell_error(parts: &mut Vec<Part>) {
    match parts.first_mut() {
        Some(Part::Text(text)) => text.insert_str(0, "Error: "),
        Some(Part::Image { .. }) | None => parts.insert(0, Part::Text("Error:".to_owned())),
    }
}
