//! Responses: reads requests into plans, and writes answers as a stream of events or as one object.

mod answer;
mod background;
mod compaction;
mod echo;
mod events;
mod input;
mod input_items;
mod memory;
mod object;
mod output;
mod past_calls;
mod tools;
mod transport;

pub use background::Background;
pub use compaction::Compaction;
pub use events::{Event, Events};
pub use input_items::{InputList, Order, list_input};
pub use memory::Memory;
pub use object::ResponseObject;
pub use transport::{Transport, lane_of};

use self::echo::Echo;
use self::input::Input;
use super::format::Format;
use super::json_object::{self, Object};
use super::plan_builder::PlanBuilder;
use super::tools::Forms;
use super::{ApiError, GatewayError, Metadata, Reading, Target, conversation, image, params};
use crate::codex::{Item, Plan};
use crate::turn::Rules;

/// A request for a response, parsed and checked as far as possible without the items it refers to.
#[derive(Debug, Clone, PartialEq)]
pub struct ResponsesRequest {
    /// The model's name as the client sent it; if absent, the model policy chooses.
    pub model: Option<String>,
    /// For the operator's log.
    pub metadata: Metadata,
    /// The reasoning effort in the client's word: the model policy knows the valid words.
    pub effort: Option<String>,
    /// Whether the answer is sent as events, as it arrives.
    pub stream: bool,
    /// Whether the answer is made while nobody waits for it: the client polls.
    pub background: bool,
    /// Whether the response is kept, so that later requests may refer to it.
    pub store: bool,
    /// The response that this request continues.
    pub previous_response_id: Option<String>,
    /// The types of offered tools that nobody runs here.
    pub left_out: Vec<&'static str>,
    /// The members that only a WebSocket's requests have.
    pub transport: Transport,
    forms: Forms,
    input: Input,
    echo: Echo,
    draft: PlanBuilder,
}

/// The parts of a request that its response repeats and continues.
#[derive(Debug, Clone, PartialEq)]
pub struct Context {
    echo: Echo,
    forms: Forms,
    /// The conversation without instructions, if the response is to be kept.
    history: Option<Vec<Item>>,
}

/// The names of chat's members, each with its name in this dialect.
pub const WORDS: [(&str, &str); 4] = [
    ("messages", "input"),
    ("reasoning_effort", "reasoning.effort"),
    ("response_format", "text.format"),
    ("verbosity", "text.verbosity"),
];

impl ResponsesRequest {
    /// Reads a request body. Members without a meaning for Codex (temperature, truncation, …) are repeated in the response, as
    /// OpenAI does, or ignored.
    ///
    /// # Errors
    /// 400, naming the member at fault.
    pub fn parse(body: &[u8], reading: &Reading) -> Result<Self, ApiError> {
        let mut body = Object::from_body(body)?;
        let metadata = Metadata::of(&body);
        let transport = Transport::read(&mut body)?;
        refuse_unsupported(&mut body)?;
        let mut echo = Echo::read(&mut body)?;
        let model = params::read_model(&mut body)?;
        let effort = echo.reasoning.effort.take();
        let mut format = None;
        if let Some(mut text) = body.object("text")? {
            echo.text.verbosity = params::read_verbosity(&mut text)?;
            format = text.object("format")?;
        }
        let format = Format::read(format, |mut format| {
            format.required_string("name")?;
            Ok(format)
        })?;
        let (input, further) = Input::read(&mut body)?;
        let mut offer = tools::read(&mut body, further, reading)?;
        let (left_out, forms) = (offer.left_out().to_vec(), offer.take_forms());
        let mut draft = PlanBuilder::new(offer, format);
        let most = echo.max_output_tokens.or(reading.response_max_tokens);
        draft.limit(Vec::new(), most);
        draft.apply(reading);
        draft.tune(echo.text.verbosity, Some(echo.service_tier));
        draft.share(echo.prompt_cache_key.clone());
        draft.reasoning_summary(echo.reasoning.summary);
        let stream = body.boolean("stream")?.unwrap_or(false);
        if echo.background {
            check_background(&echo)?;
        }
        Ok(Self {
            model,
            metadata,
            effort: effort.filter(|effort| !effort.is_empty()),
            stream,
            background: echo.background,
            store: echo.store,
            previous_response_id: body
                .string("previous_response_id")?
                .filter(|id| !id.is_empty()),
            left_out,
            transport,
            forms,
            input,
            echo,
            draft,
        })
    }

    /// As [`Self::parse`], for a conversation that is to be compacted: the model is not optional.
    ///
    /// # Errors
    /// As there.
    pub fn parse_compaction(body: &[u8], reading: &Reading) -> Result<Self, ApiError> {
        let request = Self::parse(body, reading)?;
        if request.model.is_none() {
            let param = "model".to_owned();
            return Err(GatewayError::Missing { param }.about("model"));
        }
        Ok(request)
    }

    /// The ids of earlier items that the input refers to instead of repeating them.
    pub fn references(&self) -> impl Iterator<Item = &str> {
        self.input.references()
    }

    /// The plan for Codex, the rules that the gateway enforces, and the context that the answer needs.
    ///
    /// `past` is the conversation of `previous_response_id`, and those items of [`Self::references`] that are known.
    ///
    /// # Errors
    /// 400: an unknown item, an output without its call, a call without its output, or an empty conversation.
    pub fn into_plan(
        self,
        target: Target,
        past: Memory,
    ) -> Result<(Plan, Rules, Context), ApiError> {
        let mut echo = self.echo;
        let history = self.input.resolve(past)?;
        // A client may warm its connection up with tools and instructions only.
        if self.transport.generates {
            refuse_empty(&history)?;
        }
        image::bound(&history, "input")?;
        let kept = self.store.then(|| history.clone());
        let instructions = echo.instructions.clone().filter(|text| !text.is_empty());
        let instructions = instructions.map(conversation::instruction);
        let prompt = instructions.into_iter().chain(history).collect();
        echo.previous_response_id = self.previous_response_id;
        echo.reasoning.effort.clone_from(&target.effort);
        let (plan, rules) = self.draft.into_plan(prompt, target);
        let context = Context {
            echo,
            forms: self.forms,
            history: kept,
        };
        Ok((plan, rules, context))
    }

    /// The plan of a turn that summarises the conversation, and the compaction that its deltas complete. `past`: see
    /// [`Self::into_plan`].
    ///
    /// # Errors
    /// As there.
    pub fn into_compaction(
        self,
        target: Target,
        past: Memory,
    ) -> Result<(Plan, Rules, Compaction), ApiError> {
        let history = self.input.resolve(past)?;
        refuse_empty(&history)?;
        image::bound(&history, "input")?;
        let compaction = Compaction::of(&history);
        let instructions = self.echo.instructions.filter(|text| !text.is_empty());
        let instructions = instructions.map(conversation::instruction);
        let prompt = instructions.into_iter().chain(history);
        let prompt = prompt.chain([compaction::request()]).collect();
        let (plan, rules) = self.draft.plain().into_plan(prompt, target);
        Ok((plan, rules, compaction))
    }
}

/// Refuses members that Codex does not support, if an answer without them would lack what the client asked for.
fn refuse_unsupported(body: &mut Object) -> Result<(), ApiError> {
    params::refuse_moderation(body)?;
    if body.take("conversation").is_some() {
        let message = "This gateway keeps no conversations: use 'previous_response_id'.";
        return Err(params::unsupported("conversation", message));
    }
    if body.take("prompt").is_some() {
        let message = "This gateway keeps no prompt templates: use 'instructions' and 'input'.";
        return Err(params::unsupported("prompt", message));
    }
    if let Some(mut options) = body.object("prompt_cache_options")?
        && options.boolean("prewarm")? == Some(true)
    {
        let message = "This gateway answers every request: 'prewarm' must be false.";
        return Err(params::unsupported("prompt_cache_options.prewarm", message));
    }
    if let Some(mut programs) = body.object("access_programs")?
        && programs
            .string("cyber")?
            .is_some_and(|program| program != "standard")
    {
        let message = "Codex has no access programs: 'cyber' must be standard.";
        return Err(params::unsupported("access_programs.cyber", message));
    }
    let include = body.array("include")?.unwrap_or_default();
    let logprobs = include
        .iter()
        .any(|what| what == "message.output_text.logprobs");
    let top = body.take("top_logprobs").and_then(|top| top.as_u64());
    if logprobs || top > Some(0) {
        let param = if logprobs { "include" } else { "top_logprobs" };
        let message = "Codex does not tell log probabilities: do not ask for them.";
        return Err(params::unsupported(param, message));
    }
    Ok(())
}

fn refuse_empty(history: &[Item]) -> Result<(), ApiError> {
    if history.is_empty() {
        let message = "Invalid 'input': nothing is said in it.";
        return Err(json_object::invalid_value("input".to_owned(), message));
    }
    Ok(())
}

/// A response in the background is kept: its client comes back for it.
fn check_background(echo: &Echo) -> Result<(), ApiError> {
    if !echo.store {
        let message = "A response in the background is polled: 'store' must be true.";
        return Err(params::unsupported("store", message));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
