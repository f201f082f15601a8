//! Chat completions: the request as Codex is asked it, and the answer, streamed or folded.

mod chunks;
mod completion;
mod messages;
mod tools;

pub use chunks::Chunks;
pub use completion::Completion;

use super::draft::Draft;
use super::format::Format;
use super::json::Object;
use super::{ApiError, Target, members};
use crate::codex::{Item, Plan};
use crate::turn::{Finish, Rules};

/// A request for a chat completion, understood and checked.
#[derive(Debug, Clone, PartialEq)]
pub struct ChatRequest {
    /// The model by the client's name; absent leaves it to the model policy.
    pub model: Option<String>,
    /// Reasoning effort in the client's word: the model policy knows which there are.
    pub effort: Option<String>,
    /// How the answer is to be written.
    pub form: Form,
    history: Vec<Item>,
    draft: Draft,
}

/// How the client wants the answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Form {
    /// In chunks, as it comes.
    pub stream: bool,
    /// The stream ends with a chunk that has the usage.
    pub include_usage: bool,
    /// Calls are told as `function_call`, as they were before there were tools; of several only the first.
    pub functions: bool,
}

impl ChatRequest {
    /// Reads a request body. Members that mean nothing to Codex (temperature, seed, …) are ignored.
    ///
    /// # Errors
    /// 400, naming the member at fault.
    pub fn parse(body: &[u8]) -> Result<Self, ApiError> {
        let mut body = Object::from_body(body)?;
        refuse_unsupported(&mut body)?;
        let model = body.string("model")?.filter(|model| !model.is_empty());
        let effort = read_effort(&mut body)?;
        let (offer, functions) = tools::read(&mut body)?;
        let (stream, include_usage) = members::read_streaming(&mut body)?;
        let format = Format::read(body.object("response_format")?, |mut format| {
            format.required_object("json_schema")
        })?;
        let mut draft = Draft::new(offer, format);
        draft.limit(members::read_stop(&mut body)?, read_max_tokens(&mut body)?);
        draft.tune(
            members::read_verbosity(&mut body)?,
            members::read_service_tier(&mut body)?,
        );
        Ok(Self {
            model,
            effort,
            form: Form {
                stream,
                include_usage,
                functions,
            },
            history: messages::read(&mut body)?,
            draft,
        })
    }

    /// The tokens the prompt probably has: four bytes of text each.
    #[must_use]
    pub fn prompt_tokens_estimate(&self) -> u64 {
        self.draft.estimate_tokens(&self.history)
    }

    /// The most tokens the client wants, if it said so.
    #[must_use]
    pub fn max_tokens(&self) -> Option<u64> {
        self.draft.max_tokens()
    }

    /// What to ask Codex, and what is left for us to enforce.
    #[must_use]
    pub fn into_plan(self, target: Target) -> (Plan, Rules) {
        self.draft.into_plan(self.history, target)
    }
}

/// What an answer would silently lack, did we ignore the wish for it.
fn refuse_unsupported(body: &mut Object) -> Result<(), ApiError> {
    members::refuse_several(body)?;
    if body.boolean("logprobs")? == Some(true) {
        let message = "Codex does not tell log probabilities: 'logprobs' must be false.";
        return Err(members::unsupported("logprobs", message));
    }
    Ok(())
}

fn read_effort(body: &mut Object) -> Result<Option<String>, ApiError> {
    let effort = body.string("reasoning_effort")?;
    let in_object = match body.object("reasoning")? {
        Some(mut reasoning) => reasoning.string("effort")?,
        None => None,
    };
    Ok(effort.or(in_object).filter(|effort| !effort.is_empty()))
}

fn read_max_tokens(body: &mut Object) -> Result<Option<u64>, ApiError> {
    let old = body.positive("max_tokens")?;
    Ok(body.positive("max_completion_tokens")?.or(old))
}

fn finish_reason(finish: Finish, form: Form) -> &'static str {
    match finish {
        Finish::Stop => "stop",
        Finish::Length => "length",
        Finish::ToolCalls if form.functions => "function_call",
        Finish::ToolCalls => "tool_calls",
        Finish::ContentFilter => "content_filter",
    }
}

#[cfg(test)]
mod tests;
