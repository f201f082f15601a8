//! Compacts a conversation as Codex does: the model writes a summary, which stands for all but the latest user messages.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Serialize;

use super::super::conversation;
use super::super::json_object::{self, Object};
use super::super::usage::ResponseUsage;
use super::super::{ApiError, GatewayError, Head, id, json};
use super::input_items::Listed;
use crate::codex::{Item, Part, Role, Usage};
use crate::turn::{self, Delta, Finish};

/// Codex's own request for a summary (0.171.0): a provider without a compaction of its own gets it as the last user message.
const REQUEST: &str = "You are performing a CONTEXT CHECKPOINT COMPACTION. Create a handoff summary for another LLM that will resume \
the task.

Include:
- Current progress and key decisions made
- Important context, constraints, or user preferences
- What remains to be done (clear next steps)
- Any critical data, examples, or references needed to continue

Be concise, structured, and focused on helping the next LLM seamlessly continue the work.";

/// Codex's words before a summary (0.171.0), in the conversation that goes on.
const HEADING: &str = "Another language model started to solve this problem and produced a summary of its thinking process. You also \
have access to the state of the tools that were used by that language model. Use this to build on the work that has already been \
done and avoid duplicating work. Here is the summary produced by the other language model, use the information in this summary to \
assist with your own analysis:";

/// Codex's summary if the model writes none.
const NO_SUMMARY: &str = "(no summary available)";

/// The characters of user messages that are retained: Codex has 20,000 tokens, of four characters each.
const RETAINED: u64 = 4 * 20_000;

/// The beginning of the content of the gateway's own items. The rest is the summary, which is the client's own conversation: it is
/// encoded, not encrypted, so that it outlives the gateway and is read by others of the same operator.
const MARK: &str = "cgw1_";

/// The request for a summary, as the last message of the conversation.
pub(super) fn request() -> Item {
    user(REQUEST.to_owned())
}

fn user(text: String) -> Item {
    Item::Message {
        role: Role::User,
        parts: vec![Part::Text(text)],
    }
}

/// A compaction that is being made.
#[derive(Debug)]
pub struct Compaction {
    retained: Vec<Item>,
    summary: String,
    end: Option<(Finish, Usage)>,
}

#[derive(Serialize)]
struct Body<'a> {
    id: &'a str,
    object: &'static str,
    created_at: u64,
    output: Vec<OutputBody<'a>>,
    usage: ResponseUsage,
}

#[derive(Serialize)]
#[serde(untagged)]
enum OutputBody<'a> {
    Message(Listed<'a>),
    Compaction(CompactionItem),
}

#[derive(Serialize)]
struct CompactionItem {
    r#type: &'static str,
    id: String,
    encrypted_content: String,
}

impl Compaction {
    /// Retains the latest user messages of a conversation, but for summaries of earlier ones.
    pub(super) fn of(history: &[Item]) -> Self {
        let mut left = RETAINED;
        let messages = history.iter().rev().filter(|item| is_question(item));
        let fits = |item: &&Item| {
            let characters = conversation::characters(std::slice::from_ref(*item));
            let fits = characters <= left;
            left = left.saturating_sub(characters);
            fits
        };
        let mut retained: Vec<Item> = messages.take_while(fits).cloned().collect();
        retained.reverse();
        Self {
            retained,
            summary: String::new(),
            end: None,
        }
    }

    /// Adds a delta of the summary.
    pub fn push(&mut self, delta: Delta) {
        match delta {
            Delta::Text(text) => self.summary.push_str(&text),
            Delta::End { finish, usage, .. } => self.end = Some((finish, usage)),
            Delta::Reasoning(_) | Delta::Call { .. } | Delta::Activity(_) | Delta::Failed(_) => {}
        }
    }

    /// The JSON of the compacted conversation.
    ///
    /// # Errors
    /// If the summary is not complete: with a part of it the conversation would go on without the rest.
    pub fn into_json(self, head: &Head) -> Result<String, ApiError> {
        let usage = match self.end {
            Some((Finish::Stop, usage)) => usage,
            Some((Finish::ContentFilter, _)) => return Err(GatewayError::ContentPolicy.into()),
            Some((Finish::Length | Finish::ToolCalls, _)) | None => {
                return Err(turn::Error::Interrupted.into());
            }
        };
        let listed = |(at, item)| OutputBody::Message(Listed::of(&head.id, at, item, true));
        let mut output: Vec<_> = self.retained.iter().enumerate().map(listed).collect();
        let summary = match self.summary.trim() {
            "" => NO_SUMMARY,
            summary => summary,
        };
        output.push(OutputBody::Compaction(CompactionItem {
            r#type: "compaction",
            id: id::item("cmp", &head.id, output.len()),
            encrypted_content: encode(summary),
        }));
        Ok(json::write(&Body {
            id: &head.id,
            object: "response.compaction",
            created_at: head.created,
            output,
            usage: usage.into(),
        }))
    }
}

/// Whether the item is a message of the person: summaries are told as such, too.
fn is_question(item: &Item) -> bool {
    match item {
        Item::Message {
            role: Role::User,
            parts,
        } => !matches!(&parts[..], [Part::Text(text)] if text.starts_with(HEADING)),
        _ => false,
    }
}

fn encode(summary: &str) -> String {
    format!("{MARK}{}", BASE64_URL_SAFE_NO_PAD.encode(summary))
}

fn decode(content: &str) -> Option<String> {
    let encoded = content.strip_prefix(MARK)?;
    let summary = BASE64_URL_SAFE_NO_PAD.decode(encoded).ok()?;
    String::from_utf8(summary).ok()
}

/// Reads a compaction item of the input: the message that tells the model its summary.
pub(super) fn read(mut item: Object) -> Result<Item, ApiError> {
    let content = item.required_string("encrypted_content")?;
    let Some(summary) = decode(&content) else {
        let path = item.path_of("encrypted_content");
        let message = format!(
            "Invalid '{path}': no gateway of this kind made this item, and only its maker can read it. Send the conversation itself, \
             or what POST /v1/responses/compact answers here."
        );
        return Err(json_object::invalid_value(path, message));
    };
    Ok(user(format!("{HEADING}\n{summary}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_that_is_not_complete_is_an_error() {
        let told = |finish| {
            let mut compaction = Compaction::of(&[]);
            compaction.push(Delta::Text("So far".to_owned()));
            compaction.push(Delta::End {
                finish,
                stop: None,
                usage: Usage::default(),
                estimated: false,
            });
            let head = Head {
                id: "resp_1".to_owned(),
                created: 1,
                model: "codex".to_owned(),
                clock: || 1,
            };
            compaction.into_json(&head).map_err(|error| error.status)
        };
        assert!(told(Finish::Stop).is_ok());
        assert_eq!(told(Finish::Length), Err(502));
        assert_eq!(told(Finish::ContentFilter), Err(400));
    }
}
