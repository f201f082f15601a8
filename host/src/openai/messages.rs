//! Anthropic's messages: reads requests into plans, and writes answers as a stream of events or as one message.

mod answer;
mod body;
mod client_tools;
mod content;
mod error;
mod events;
mod history;
mod message;
mod models;
mod tools;

pub use error::MessagesError;
pub use events::{Event, Events};
pub use message::Message;
pub use models::{ModelInfo, ModelPage};

use super::format::Format;
use super::json_object::{self, Object};
use super::plan_builder::PlanBuilder;
use super::tools::Forms;
use super::{ApiError, GatewayError, Metadata, Reading, Target, image, params};
use crate::codex::{Item, Plan};
use crate::turn::Rules;

/// A request for a message, parsed and checked.
#[derive(Debug, Clone, PartialEq)]
pub struct MessagesRequest {
    /// The model's name as the client sent it; if absent, the model policy chooses.
    pub model: Option<String>,
    /// For the operator's log.
    pub metadata: Metadata,
    /// The reasoning effort in the client's word: the model policy knows the valid words.
    pub effort: Option<String>,
    /// Whether the answer is sent as events, as it arrives.
    pub stream: bool,
    /// The types of offered tools that nobody runs here.
    pub left_out: Vec<&'static str>,
    /// The form of the answer.
    pub form: Form,
    history: Vec<Item>,
    draft: PlanBuilder,
}

/// The form in which the client wants the answer.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Form {
    /// Whether the reasoning is told, as `thinking` blocks.
    thinking: bool,
    /// Whether only the first of several calls is told: Codex has no setting that keeps the model from making more.
    one_call: bool,
    /// The names of tools that have another name for the model.
    names: Forms,
}

/// The names of chat's members, each with its name in this dialect.
pub const WORDS: [(&str, &str); 2] = [
    ("reasoning_effort", "output_config.effort"),
    ("response_format", "output_config.format"),
];

impl MessagesRequest {
    /// Reads a request body. Members without a meaning for Codex (temperature, cache_control, …) are ignored.
    ///
    /// # Errors
    /// 400, naming the member at fault.
    pub fn parse(body: &[u8], reading: &Reading) -> Result<Self, ApiError> {
        let mut body = Object::from_body(body)?;
        refuse_unsupported(&mut body)?;
        let history = history::read(&mut body)?;
        Self::read(body, history, reading)
    }

    /// Reads the body of a request whose tokens are to be counted: its conversation may end anywhere.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn parse_part(body: &[u8], reading: &Reading) -> Result<Self, ApiError> {
        let mut body = Object::from_body(body)?;
        refuse_unsupported(&mut body)?;
        let history = history::read_part(&mut body)?;
        Self::read(body, history, reading)
    }

    fn read(mut body: Object, history: Vec<Item>, reading: &Reading) -> Result<Self, ApiError> {
        image::bound(&history, "messages")?;
        let metadata = read_metadata(&mut body);
        let (mut offer, one_call) = tools::read(&mut body, reading)?;
        let (left_out, names) = (offer.left_out().to_vec(), offer.take_forms());
        let (effort, format) = read_output(&mut body)?;
        let mut draft = PlanBuilder::new(offer, format);
        draft.limit(read_stop(&mut body)?, body.positive("max_tokens")?);
        let speed = body.word("speed", &["standard", "fast"])?;
        draft.tune(None, speed);
        draft.apply(reading);
        Ok(Self {
            model: params::read_model(&mut body)?,
            metadata,
            effort,
            stream: body.boolean("stream")?.unwrap_or(false),
            left_out,
            form: Form {
                thinking: read_thinking(&mut body)?,
                one_call,
                names,
            },
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

/// The body of an answer to a request whose tokens were counted.
#[must_use]
pub fn count(tokens: u64) -> String {
    serde_json::json!({ "input_tokens": tokens }).to_string()
}

/// Refuses members that Codex does not support, if an answer without them would lack what the client asked for.
fn refuse_unsupported(body: &mut Object) -> Result<(), ApiError> {
    if body.take("thread").is_some() {
        return Err(GatewayError::ThreadsNotKept.about("thread"));
    }
    if body.take("compaction").is_some() {
        let message = "A conversation of messages is never shortened here: leave out 'compaction'.";
        return Err(params::unsupported("compaction", message));
    }
    match body.string("inference_geo")?.as_deref() {
        None | Some("global") => Ok(()),
        Some(_) => {
            let message = "Codex does not say where its models run: leave out 'inference_geo'.";
            Err(params::unsupported("inference_geo", message))
        }
    }
}

/// Takes `metadata`, of which a member of the wrong type is no reason to refuse the request.
fn read_metadata(body: &mut Object) -> Metadata {
    let metadata = body.take("metadata");
    let user = metadata.as_ref().and_then(|data| data["user_id"].as_str());
    Metadata::of_user(user)
}

/// Takes the effort and the format of the answer. The format was a member of its own before.
fn read_output(body: &mut Object) -> Result<(Option<String>, Format), ApiError> {
    let (mut effort, mut format) = (None, body.object("output_format")?);
    if let Some(mut config) = body.object("output_config")? {
        effort = config.string("effort")?;
        format = config.object("format")?.or(format);
    }
    let format = Format::read(format, Ok)?;
    Ok((effort.filter(|effort| !effort.is_empty()), format))
}

/// Takes `stop_sequences`.
fn read_stop(body: &mut Object) -> Result<Vec<String>, ApiError> {
    /// Each byte of an answer is held against all of them.
    const MOST: usize = 16;
    let words = body.array("stop_sequences")?.unwrap_or_default();
    if words.len() > MOST {
        let message = format!(
            "Invalid 'stop_sequences': at most {MOST} sequences, not {}.",
            words.len()
        );
        return Err(json_object::invalid_value(
            "stop_sequences".to_owned(),
            message,
        ));
    }
    let words = words.into_iter().enumerate();
    words
        .map(|(at, word)| params::stop_word(word, format!("stop_sequences[{at}]")))
        .collect()
}

/// Takes `thinking`: whether the reasoning is told. How much a model thinks is its effort.
fn read_thinking(body: &mut Object) -> Result<bool, ApiError> {
    let Some(mut thinking) = body.object("thinking")? else {
        return Ok(false);
    };
    let kinds = ["enabled", "disabled", "adaptive", "between_tools"];
    let kind = thinking.required_word("type", &kinds)?;
    let display = thinking.word("display", &["summarized", "omitted"])?;
    Ok(kind != "disabled" && display != Some("omitted"))
}

#[cfg(test)]
mod tests;
