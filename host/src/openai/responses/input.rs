//! Reads the input of a request into the conversation for Codex.

use serde_json::Value;

use super::super::conversation::{self, Conversation};
use super::super::json_object::{self, Object};
use super::super::{ApiError, GatewayError, content};
use super::past_calls::{self, Past};
use super::tools::Further;
use super::{Memory, compaction};
use crate::codex::{Item, Part, Role};

/// The types of parts in content.
const INPUT: &[&str] = &["input_text", "input_image"];
const ASSISTANT: &[&str] = &["output_text", "refusal", "input_text"];

const AGENTS: &[&str] = &["input_text", "text"];

/// The longest name of an agent.
const AGENT_BYTES: usize = 1_024;

/// The types of items that are no calls and no outputs.
const TYPES: [&str; 6] = [
    "message",
    "item_reference",
    "additional_tools",
    "agent_message",
    "compaction",
    "compaction_summary",
];

/// The model's own reasoning, which is encrypted or in a form that the provider does not accept, and calls of tools that OpenAI
/// ran: their results are in the answers.
const IGNORED: &[&str] = &[
    "reasoning",
    "code_interpreter_call",
    "file_search_call",
    "image_generation_call",
    "mcp_approval_request",
    "mcp_approval_response",
    "mcp_call",
    "mcp_list_tools",
    "web_search_call",
];

/// The entries in the client's order.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Input(Vec<Entry>);

#[derive(Debug, Clone, PartialEq)]
struct Entry {
    /// Its path in the request.
    path: String,
    said: Said,
}

#[derive(Debug, Clone, PartialEq)]
enum Said {
    Item(Item),
    /// An item of an earlier answer, by its id.
    Earlier(String),
}

impl Input {
    /// Takes `input` out of a request, and the tools in it. It may be absent if the request continues a response.
    pub(super) fn read(body: &mut Object) -> Result<(Self, Vec<Further>), ApiError> {
        let items = match body.take("input") {
            None => return Ok(Default::default()),
            Some(Value::String(text)) => {
                let message = conversation::message(Role::User, vec![Part::Text(text)]);
                let entry = |item| Entry {
                    path: "input".to_owned(),
                    said: Said::Item(item),
                };
                let entries = message.into_iter().map(entry).collect();
                return Ok((Self(entries), Vec::new()));
            }
            Some(Value::Array(items)) => items,
            Some(other) => {
                let expected = "a string or an array of items";
                return Err(json_object::wrong_type(
                    "input".to_owned(),
                    expected,
                    &other,
                ));
            }
        };
        let mut entries = Vec::with_capacity(items.len());
        let mut further = Vec::new();
        for (at, item) in items.into_iter().enumerate() {
            let path = format!("input[{at}]");
            let item = Object::from_value(item, path.clone())?;
            let said = read_item(item, &mut further)?;
            entries.extend(said.map(|said| Entry { path, said }));
        }
        Ok((Self(entries), further))
    }

    pub(super) fn references(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|entry| match &entry.said {
            Said::Earlier(id) => Some(id.as_str()),
            Said::Item(_) => None,
        })
    }

    /// The whole conversation, the earlier part first.
    pub(super) fn resolve(self, past: Memory) -> Result<Vec<Item>, ApiError> {
        let mut conversation = Conversation::default();
        for item in past.conversation {
            conversation.push(item);
        }
        for Entry { path, said } in self.0 {
            let item = match said {
                Said::Item(item) => Some(item),
                Said::Earlier(id) => {
                    let item = past.items.get(&id).cloned();
                    item.ok_or_else(|| unknown(&path, &id))?
                }
            };
            if let Some(item) = item {
                check_id(&item, &conversation, &path)?;
                conversation.push(item);
            }
        }
        if let Some(id) = conversation
            .unanswered()
            .and_then(|ids| ids.into_iter().next())
        {
            let message = format!(
                "No tool output found for function call {}.",
                json_object::shorten(id)
            );
            return Err(json_object::invalid_value("input".to_owned(), message));
        }
        Ok(conversation.into_items())
    }
}

/// Refuses an output without its call, or a second one, and a call whose output could not be told apart from another call's.
fn check_id(item: &Item, conversation: &Conversation, path: &str) -> Result<(), ApiError> {
    let (id, why) = match item {
        Item::CallOutput { id, .. } if !conversation.has_call(id) => {
            (id, "no earlier function call has the id")
        }
        Item::CallOutput { id, .. } if !conversation.is_open(id) => {
            (id, "there is already an output for the function call")
        }
        Item::Call { id, .. } if conversation.is_open(id) => {
            (id, "an earlier function call without an output has the id")
        }
        _ => return Ok(()),
    };
    let path = format!("{path}.call_id");
    let id = json_object::shorten(id);
    let message = format!("Invalid '{path}': {why} '{id}'.");
    Err(json_object::invalid_value(path, message))
}

fn unknown(path: &str, id: &str) -> ApiError {
    let id = json_object::shorten(id);
    GatewayError::ItemNotFound { id }.about(format!("{path}.id"))
}

/// Reads an item; absent if Codex has no use for it.
fn read_item(mut item: Object, further: &mut Vec<Further>) -> Result<Option<Said>, ApiError> {
    let types = [&TYPES[..], past_calls::TYPES, IGNORED].concat();
    let found = item.word("type", &types)?;
    // Both types may be sent without `type`.
    let found = found.unwrap_or(
        match item.get("role").is_none() && item.get("id").is_some() {
            true => "item_reference",
            false => "message",
        },
    );
    let said = match found {
        "item_reference" => Said::Earlier(item.required_string("id")?),
        "additional_tools" => {
            further.extend(Further::take(&mut item)?);
            return Ok(None);
        }
        "message" => return Ok(read_message(item)?.map(Said::Item)),
        "agent_message" => return Ok(read_agent_message(item)?.map(Said::Item)),
        "compaction" | "compaction_summary" => Said::Item(compaction::read(item)?),
        ignored if IGNORED.contains(&ignored) => return Ok(None),
        call => {
            let Past { item, tools } = past_calls::read(call, item)?;
            further.extend(tools);
            Said::Item(item)
        }
    };
    Ok(Some(said))
}

/// A message of one of the client's agents to another.
fn read_agent_message(mut message: Object) -> Result<Option<Item>, ApiError> {
    let mut name = |member| message.short_string(member, AGENT_BYTES);
    let (author, recipient) = (name("author")?, name("recipient")?);
    let parts = content::read(&mut message, "content", AGENTS)?;
    let [author, recipient] = [author, recipient].map(Option::unwrap_or_default);
    let heading = Part::Text(format!("Message from {author} to {recipient}:"));
    let parts = [vec![heading], parts].concat();
    Ok(conversation::message(Role::User, parts))
}

fn read_message(mut message: Object) -> Result<Option<Item>, ApiError> {
    let roles = ["user", "assistant", "system", "developer"];
    let (role, types) = match message.required_word("role", &roles)? {
        "user" => (Role::User, INPUT),
        "assistant" => (Role::Assistant, ASSISTANT),
        // Codex drops `system` messages silently.
        _ => (Role::Developer, INPUT),
    };
    let parts = content::read(&mut message, "content", types)?;
    Ok(conversation::message(role, parts))
}
