//! Completions, the API before chat: reads prompts into plans, and writes the text as a stream or in one piece.

mod chunks;
mod completion;

pub use chunks::Chunks;
pub use completion::Completion;

use serde::Serialize;
use serde_json::Value;

use super::format::Format;
use super::json;
use super::json_object::{self, Object};
use super::plan_builder::PlanBuilder;
use super::tools::Offer;
use super::{ApiError, Head, Metadata, Target, conversation, params};
use crate::codex::{Item, Part, Plan, Role};
use crate::turn::{Finish, Rules};

/// A request for a completion, parsed and checked.
#[derive(Debug, Clone, PartialEq)]
pub struct CompletionRequest {
    /// The model's name as the client sent it; if absent, the model policy chooses.
    pub model: Option<String>,
    /// For the operator's log.
    pub metadata: Metadata,
    /// The form of the answer.
    pub form: Form,
    history: Vec<Item>,
    draft: PlanBuilder,
}

/// The form in which the client wants the answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Form {
    /// In chunks, as the answer arrives.
    pub stream: bool,
    /// Whether the stream ends with a chunk that has the usage.
    pub include_usage: bool,
}

/// The names of chat's members, each with its name in this dialect.
pub const WORDS: [(&str, &str); 1] = [("messages", "prompt")];

impl CompletionRequest {
    /// Reads a request body. Members without a meaning for Codex (temperature, seed, …) are ignored. OpenAI's default limit of 16
    /// tokens is not applied either: clients do not expect it of a chat model.
    ///
    /// # Errors
    /// 400, naming the member at fault.
    pub fn parse(body: &[u8]) -> Result<Self, ApiError> {
        let mut body = Object::from_body(body)?;
        let metadata = Metadata::of(&body);
        params::refuse_several(&mut body)?;
        refuse_unsupported(&mut body)?;
        let model = params::read_model(&mut body)?;
        let (stream, include_usage) = params::read_streaming(&mut body)?;
        let mut draft = PlanBuilder::new(Offer::default(), Format::Text);
        draft.limit(params::read_stop(&mut body)?, body.positive("max_tokens")?);
        let prompt = Part::Text(read_prompt(&mut body)?);
        let history = conversation::message(Role::User, vec![prompt]);
        Ok(Self {
            model,
            metadata,
            form: Form {
                stream: stream.unwrap_or(false),
                include_usage,
            },
            history: history.into_iter().collect(),
            draft,
        })
    }

    /// The plan for Codex, and the rules that the gateway enforces.
    #[must_use]
    pub fn into_plan(self, target: Target) -> (Plan, Rules) {
        self.draft.into_plan(self.history, target)
    }
}

/// Refuses members that Codex does not support, if an answer without them would lack what the client asked for.
fn refuse_unsupported(body: &mut Object) -> Result<(), ApiError> {
    if body.boolean("echo")? == Some(true) {
        let message = "This gateway answers without the prompt: 'echo' must be false.";
        return Err(params::unsupported("echo", message));
    }
    if body.string("suffix")?.is_some_and(|text| !text.is_empty()) {
        let message = "Codex continues a text but does not fill a gap: leave out 'suffix'.";
        return Err(params::unsupported("suffix", message));
    }
    if body.positive("best_of")?.is_some_and(|best_of| best_of > 1) {
        let message = "Codex gives one answer a request: 'best_of' must be 1.";
        return Err(params::unsupported("best_of", message));
    }
    // Some clients send `false`, as in chat; 0 already asks for log probabilities.
    let logprobs = body.take("logprobs");
    if logprobs.is_some_and(|logprobs| logprobs != Value::Bool(false)) {
        let message = "Codex does not tell log probabilities: leave out 'logprobs'.";
        return Err(params::unsupported("logprobs", message));
    }
    Ok(())
}

fn read_prompt(body: &mut Object) -> Result<String, ApiError> {
    let expected = "a string, or an array of one string";
    let prompt = body.take("prompt").ok_or_else(|| body.missing("prompt"))?;
    let mut prompts = match prompt {
        Value::String(prompt) => return Ok(prompt),
        Value::Array(prompts) => prompts,
        other => {
            return Err(json_object::wrong_type(
                "prompt".to_owned(),
                expected,
                &other,
            ));
        }
    };
    // One list of tokens, or one list of tokens per prompt.
    if let Some(Value::Number(_) | Value::Array(_)) = prompts.first() {
        let message = "This gateway takes prompts as text: 'prompt' must not be tokens.";
        return Err(params::unsupported("prompt", message));
    }
    match (prompts.pop(), prompts.len()) {
        (Some(Value::String(prompt)), 0) => Ok(prompt),
        (Some(other), 0) => Err(json_object::wrong_type(
            "prompt[0]".to_owned(),
            "a string",
            &other,
        )),
        (Some(_), others) => {
            let count = others + 1;
            let message = format!("Codex answers one prompt a request, not {count}.");
            Err(params::unsupported("prompt", message))
        }
        (None, _) => Err(json_object::empty(
            "prompt",
            "at least one prompt is needed",
        )),
    }
}

/// The members of a completion and of each of its chunks, which have the same form.
#[derive(Serialize)]
struct Body<'a, U> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    choices: &'a [Choice<'a>],
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<U>,
}

#[derive(Serialize)]
struct Choice<'a> {
    text: &'a str,
    index: u32,
    logprobs: (),
    finish_reason: Option<&'static str>,
}

fn write(head: &Head, choices: &[Choice<'_>], usage: Option<impl Serialize>) -> String {
    json::write(&Body {
        id: &head.id,
        object: "text_completion",
        created: head.created,
        model: &head.model,
        choices,
        usage,
    })
}

fn choice(text: &str, finish: Option<Finish>) -> Choice<'_> {
    Choice {
        text,
        index: 0,
        logprobs: (),
        finish_reason: finish.map(|finish| match finish {
            // No tools were offered.
            Finish::Stop | Finish::ToolCalls => "stop",
            Finish::Length => "length",
            Finish::ContentFilter => "content_filter",
        }),
    }
}

#[cfg(test)]
mod tests;
