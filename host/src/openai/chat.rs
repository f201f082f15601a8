//! Chat completions: reads requests into plans, and writes answers as a stream or in one piece.

mod chunks;
mod completion;
mod messages;
mod tools;

pub use chunks::Chunks;
pub use completion::Completion;

use super::format::Format;
use super::json_object::Object;
use super::plan_builder::PlanBuilder;
use super::tools::Forms;
use super::{ApiError, GatewayError, Metadata, Reading, Target, image, params};
use crate::codex::{Item, Plan};
use crate::turn::{Finish, Rules};

/// A request for a chat completion, parsed and checked.
#[derive(Debug, Clone, PartialEq)]
pub struct ChatRequest {
    /// The model's name as the client sent it; if absent, the model policy chooses.
    pub model: Option<String>,
    /// For the operator's log.
    pub metadata: Metadata,
    /// The reasoning effort in the client's word: the model policy knows the valid words.
    pub effort: Option<String>,
    /// The form of the answer.
    pub form: Form,
    /// The forms of the calls of those tools that are no functions.
    pub calls: Forms,
    history: Vec<Item>,
    draft: PlanBuilder,
}

/// The form in which the client wants the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Form {
    /// In chunks, as the answer arrives.
    pub stream: bool,
    /// Whether the stream ends with a chunk that has the usage.
    pub include_usage: bool,
    /// Whether calls are written as `function_call`, the older form of `tool_calls`.
    pub functions: bool,
    /// Whether only the first of several calls is written: Codex has no setting that keeps the model from making more.
    pub one_call: bool,
    /// The number of answers; each is a turn of its own.
    pub choices: u32,
}

impl Default for Form {
    fn default() -> Self {
        Self {
            stream: false,
            include_usage: false,
            functions: false,
            one_call: false,
            choices: 1,
        }
    }
}

impl ChatRequest {
    /// Reads a request body. Members without a meaning for Codex (temperature, seed, …) are ignored.
    ///
    /// # Errors
    /// 400, naming the member at fault.
    pub fn parse(body: &[u8], reading: &Reading) -> Result<Self, ApiError> {
        let mut body = Object::from_body(body)?;
        let metadata = Metadata::of(&body);
        refuse_unsupported(&mut body)?;
        let choices = read_choices(&mut body)?;
        let model = params::read_model(&mut body)?;
        let effort = read_effort(&mut body)?;
        let (mut offer, functions) = tools::read(&mut body)?;
        let calls = offer.take_forms();
        let parallel = body.boolean("parallel_tool_calls")?.unwrap_or(true);
        let (stream, include_usage) = params::read_streaming(&mut body)?;
        let format = Format::read(body.object("response_format")?, |mut format| {
            format.required_object("json_schema")
        })?;
        let mut draft = PlanBuilder::new(offer, format);
        draft.limit(params::read_stop(&mut body)?, read_max_tokens(&mut body)?);
        draft.tune(
            params::read_verbosity(&mut body)?,
            params::read_service_tier(&mut body)?,
        );
        draft.share(body.string("prompt_cache_key")?);
        draft.apply(reading);
        let history = messages::read(&mut body)?;
        image::bound(&history, "messages")?;
        Ok(Self {
            model,
            metadata,
            effort,
            form: Form {
                stream: stream.unwrap_or(reading.stream),
                include_usage,
                functions,
                one_call: functions || !parallel,
                choices,
            },
            calls,
            history,
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
    params::refuse_moderation(body)?;
    params::refuse_logit_bias(body)?;
    if body.boolean("logprobs")? == Some(true) {
        let message = "Codex does not tell log probabilities: 'logprobs' must be false.";
        return Err(params::unsupported("logprobs", message));
    }
    if body.take("top_logprobs").and_then(|top| top.as_u64()) > Some(0) {
        let message = "Codex does not tell log probabilities: leave out 'top_logprobs'.";
        return Err(params::unsupported("top_logprobs", message));
    }
    let modalities = body.array("modalities")?.unwrap_or_default();
    if modalities.iter().any(|modality| modality == "audio") {
        let message = "Codex does not speak: 'modalities' must be [\"text\"].";
        return Err(params::unsupported("modalities", message));
    }
    if body.take("web_search_options").is_some() {
        let message =
            "Codex does not search the web for this gateway: leave out 'web_search_options'.";
        return Err(params::unsupported("web_search_options", message));
    }
    Ok(())
}

fn read_choices(body: &mut Object) -> Result<u32, ApiError> {
    let choices = body.positive("n")?.unwrap_or(1);
    Ok(u32::try_from(choices).unwrap_or(u32::MAX))
}

/// Refuses a request for more answers than the gateway allows.
///
/// # Errors
/// 400, with the limit in its message.
pub fn bound_choices(form: Form, most: u32) -> Result<(), ApiError> {
    if form.choices <= most {
        return Ok(());
    }
    let found = form.choices;
    Err(GatewayError::TooManyChoices { most, found }.about("n"))
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
