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
use super::{ApiError, GatewayError, Head, Metadata, Target, conversation, params};
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
    /// The message of each prompt.
    prompts: Vec<Option<Item>>,
    draft: PlanBuilder,
}

/// The form in which the client wants the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Form {
    /// In chunks, as the answer arrives.
    pub stream: bool,
    /// Whether the stream ends with a chunk that has the usage.
    pub include_usage: bool,
    /// The number of prompts.
    pub prompts: usize,
    /// The number of answers to each prompt; each is a turn of its own.
    pub samples: u64,
}

impl Form {
    /// The number of answers. Those to one prompt follow each other.
    #[must_use]
    pub fn choices(self) -> u32 {
        let prompts = u64::try_from(self.prompts).unwrap_or(u64::MAX);
        u32::try_from(prompts.saturating_mul(self.samples)).unwrap_or(u32::MAX)
    }
}

impl Default for Form {
    fn default() -> Self {
        Self {
            stream: false,
            include_usage: false,
            prompts: 1,
            samples: 1,
        }
    }
}

/// Refuses a request for more answers than the gateway allows.
///
/// # Errors
/// 400, with the limit in its message.
pub fn bound_choices(form: Form, most: u32) -> Result<(), ApiError> {
    if form.choices() <= most {
        return Ok(());
    }
    let Form {
        prompts, samples, ..
    } = form;
    let param = if samples == 1 { "prompt" } else { "n" };
    let many = GatewayError::TooManyCompletions {
        most,
        prompts,
        samples,
    };
    Err(many.about(param))
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
        let samples = body.positive("n")?.unwrap_or(1);
        refuse_unsupported(&mut body, samples)?;
        let model = params::read_model(&mut body)?;
        let (stream, include_usage) = params::read_streaming(&mut body)?;
        let mut draft = PlanBuilder::new(Offer::default(), Format::Text);
        draft.limit(params::read_stop(&mut body)?, body.positive("max_tokens")?);
        let prompts = read_prompts(&mut body)?.into_iter();
        let said = |text| conversation::message(Role::User, vec![Part::Text(text)]);
        let prompts: Vec<_> = prompts.map(said).collect();
        Ok(Self {
            model,
            metadata,
            form: Form {
                stream: stream.unwrap_or(false),
                include_usage,
                prompts: prompts.len(),
                samples,
            },
            prompts,
            draft,
        })
    }

    /// The plan of each prompt for Codex, and the rules that the gateway enforces.
    #[must_use]
    pub fn into_plans(self, target: &Target) -> Vec<(Plan, Rules)> {
        let plan = |prompt: Option<Item>| {
            let history = prompt.into_iter().collect();
            self.draft.clone().into_plan(history, target.clone())
        };
        self.prompts.into_iter().map(plan).collect()
    }
}

/// Refuses members that Codex does not support, if an answer without them would lack what the client asked for.
fn refuse_unsupported(body: &mut Object, samples: u64) -> Result<(), ApiError> {
    params::refuse_logit_bias(body)?;
    if body.boolean("echo")? == Some(true) {
        let message = "This gateway answers without the prompt: 'echo' must be false.";
        return Err(params::unsupported("echo", message));
    }
    if body.string("suffix")?.is_some_and(|text| !text.is_empty()) {
        let message = "Codex continues a text but does not fill a gap: leave out 'suffix'.";
        return Err(params::unsupported("suffix", message));
    }
    // As many candidates as answers leave no choice; fewer are a mistake, at OpenAI, too.
    let best_of = body.positive("best_of")?.unwrap_or(samples);
    if best_of != samples {
        let message =
            "Codex does not compare answers: leave out 'best_of', or make it as many as 'n'.";
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

fn read_prompts(body: &mut Object) -> Result<Vec<String>, ApiError> {
    let prompt = body.take("prompt").ok_or_else(|| body.missing("prompt"))?;
    let prompts = match prompt {
        Value::String(prompt) => return Ok(vec![prompt]),
        Value::Array(prompts) => prompts,
        other => {
            let expected = "a string or an array of strings";
            return Err(json_object::wrong_type(
                "prompt".to_owned(),
                expected,
                &other,
            ));
        }
    };
    if prompts.is_empty() {
        let needed = "at least one prompt is needed";
        return Err(json_object::empty("prompt", needed));
    }
    let prompts = prompts.into_iter().enumerate();
    prompts
        .map(|(at, prompt)| match prompt {
            Value::String(prompt) => Ok(prompt),
            // One list of tokens, or one list of tokens per prompt.
            Value::Number(_) | Value::Array(_) => {
                let message = "This gateway takes prompts as text: 'prompt' must not be tokens.";
                Err(params::unsupported("prompt", message))
            }
            other => {
                let param = format!("prompt[{at}]");
                Err(json_object::wrong_type(param, "a string", &other))
            }
        })
        .collect()
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

fn choice(index: u32, text: &str, finish: Option<Finish>) -> Choice<'_> {
    Choice {
        text,
        index,
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
