//! Completions, the API before chat: a prompt as Codex is asked it, and the text, streamed or folded.

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

/// A request for a completion, understood and checked.
#[derive(Debug, Clone, PartialEq)]
pub struct CompletionRequest {
    /// The model by the client's name; absent leaves it to the model policy.
    pub model: Option<String>,
    /// For the operator's log.
    pub metadata: Metadata,
    /// How the answer is to be written.
    pub form: Form,
    history: Vec<Item>,
    draft: PlanBuilder,
}

/// How the client wants the answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Form {
    /// In chunks, as it comes.
    pub stream: bool,
    /// The stream ends with a chunk that has the usage.
    pub include_usage: bool,
}

/// What chat calls so, and what it is called here.
pub const WORDS: [(&str, &str); 1] = [("messages", "prompt")];

impl CompletionRequest {
    /// Reads a request body. Members that mean nothing to Codex (temperature, seed, …) are ignored, and so is OpenAI's
    /// limit of 16 tokens for those who name none: nobody expects it of a chat model.
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

    /// What to ask Codex, and what is left for us to enforce.
    #[must_use]
    pub fn into_plan(self, target: Target) -> (Plan, Rules) {
        self.draft.into_plan(self.history, target)
    }
}

/// What an answer would silently lack, did we ignore the wish for it.
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
    // `false` is what some clients take from chat; 0 already asks for some.
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
    // One list of tokens, or one list of tokens a prompt.
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
        (None, _) => {
            let message = "Invalid 'prompt': at least one prompt is needed.";
            Err(ApiError::invalid_request("empty_array", message).about("prompt"))
        }
    }
}

/// A completion and each of its chunks: the two have the same form.
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
            // Nobody was offered tools.
            Finish::Stop | Finish::ToolCalls => "stop",
            Finish::Length => "length",
            Finish::ContentFilter => "content_filter",
        }),
    }
}

#[cfg(test)]
mod tests;
