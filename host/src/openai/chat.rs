//! Chat completions: the request as Codex is asked it, and the answer, streamed or folded.

mod chunks;
mod completion;
mod messages;
mod tools;

pub use chunks::Chunks;
pub use completion::Completion;

use serde_json::Value;

use self::messages::Conversation;
use self::tools::Offer;
use super::json::{self, Object};
use super::{ApiError, Target};
use crate::codex::Plan;
use crate::turn::{BYTES_PER_TOKEN, Finish, Rules};

/// A request for a chat completion, understood and checked.
#[derive(Debug, Clone, PartialEq)]
pub struct ChatRequest {
    /// The model by the client's name; absent leaves it to the model policy.
    pub model: Option<String>,
    /// Reasoning effort in the client's word: the model policy knows which there are.
    pub effort: Option<String>,
    /// How the answer is to be written.
    pub form: Form,
    /// All but the model, which is not decided yet.
    plan: Plan,
    rules: Rules,
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
        let offer = Offer::read(&mut body)?;
        let form = read_form(&mut body, offer.functions)?;
        let format = Format::read(&mut body)?;
        let (stop, max_tokens) = (read_stop(&mut body)?, read_max_tokens(&mut body)?);
        let verbosity = body.word("verbosity", &["low", "medium", "high"])?;
        let tiers = ["auto", "default", "flex", "priority"];
        let service_tier = body.word("service_tier", &tiers)?;
        let mut conversation = Conversation::read(&mut body)?;
        let (output_schema, format_instruction) = format.split();
        for instruction in [format_instruction, offer.instruction]
            .into_iter()
            .flatten()
        {
            conversation.instruct(instruction);
        }
        let rules = Rules {
            stop,
            max_tokens,
            tools: !offer.tools.is_empty(),
            prompt_tokens_estimate: conversation.text_bytes.div_ceil(BYTES_PER_TOKEN),
            ..Rules::default()
        };
        let plan = Plan {
            verbosity: verbosity.map(str::to_owned),
            // The others are what Codex does anyway.
            service_tier: service_tier
                .filter(|tier| ["flex", "priority"].contains(tier))
                .map(str::to_owned),
            history: conversation.items,
            tools: offer.tools,
            output_schema,
            ..Plan::default()
        };
        Ok(Self {
            model,
            effort,
            form,
            plan,
            rules,
        })
    }

    /// The tokens the prompt probably has: four bytes of text each.
    #[must_use]
    pub fn prompt_tokens_estimate(&self) -> u64 {
        self.rules.prompt_tokens_estimate
    }

    /// The most tokens the client wants, if it said so.
    #[must_use]
    pub fn max_tokens(&self) -> Option<u64> {
        self.rules.max_tokens
    }

    /// What to ask Codex, and what is left for us to enforce.
    #[must_use]
    pub fn into_plan(self, target: Target) -> (Plan, Rules) {
        let plan = Plan {
            model: target.model,
            effort: target.effort,
            provider: target.provider,
            ..self.plan
        };
        (plan, self.rules)
    }
}

/// What an answer would silently lack, did we ignore the wish for it.
fn refuse_unsupported(body: &mut Object) -> Result<(), ApiError> {
    if let Some(n) = body.take("n").filter(|n| n.as_u64() != Some(1)) {
        let message = format!("Invalid value for 'n': Codex gives one answer a request, not {n}.");
        return Err(ApiError::invalid_request("unsupported_value", message).about("n"));
    }
    if body.boolean("logprobs")? == Some(true) {
        let message = "Codex does not tell log probabilities: 'logprobs' must be false.";
        return Err(ApiError::invalid_request("unsupported_value", message).about("logprobs"));
    }
    Ok(())
}

fn read_form(body: &mut Object, functions: bool) -> Result<Form, ApiError> {
    let stream = body.boolean("stream")?.unwrap_or(false);
    // Some clients of the gateway's predecessor have it at the top.
    let at_top = body.take("include_usage") == Some(Value::Bool(true));
    let include_usage = match body.object("stream_options")? {
        Some(mut options) => options.boolean("include_usage")?,
        None => None,
    };
    Ok(Form {
        stream,
        include_usage: include_usage.unwrap_or(at_top),
        functions,
    })
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

fn read_stop(body: &mut Object) -> Result<Vec<String>, ApiError> {
    const MOST: usize = 4;
    let words = match body.take("stop") {
        None => return Ok(Vec::new()),
        Some(word @ Value::String(_)) => return Ok(vec![stop_word(word, "stop".to_owned())?]),
        Some(Value::Array(words)) => words,
        Some(other) => {
            let expected = "a string or an array of strings";
            return Err(json::wrong_type("stop".to_owned(), expected, &other));
        }
    };
    if words.len() > MOST {
        let message = format!(
            "Invalid 'stop': at most {MOST} sequences, not {}.",
            words.len()
        );
        let error = ApiError::invalid_request("array_above_max_length", message);
        return Err(error.about("stop"));
    }
    let words = words.into_iter().enumerate();
    words
        .map(|(at, word)| stop_word(word, format!("stop[{at}]")))
        .collect()
}

fn stop_word(word: Value, param: String) -> Result<String, ApiError> {
    match word {
        Value::String(word) if word.is_empty() => {
            let message = format!("Invalid '{param}': a stop sequence must not be empty.");
            Err(ApiError::invalid_request("empty_string", message).about(param))
        }
        Value::String(word) => Ok(word),
        other => Err(json::wrong_type(param, "a string", &other)),
    }
}

/// What form the answer's text is to have.
enum Format {
    Text,
    JsonObject,
    Schema(Value),
}

impl Format {
    fn read(body: &mut Object) -> Result<Self, ApiError> {
        let Some(mut format) = body.object("response_format")? else {
            return Ok(Self::Text);
        };
        match format.required_word("type", &["text", "json_object", "json_schema"])? {
            "json_schema" => {
                let mut named = format.required_object("json_schema")?;
                let schema = named.required_object("schema")?;
                Ok(Self::Schema(schema.into_value()))
            }
            "json_object" => Ok(Self::JsonObject),
            _ => Ok(Self::Text),
        }
    }

    /// As Codex can be told: a schema, or an instruction.
    fn split(self) -> (Option<Value>, Option<String>) {
        let instruction =
            "Answer with one valid JSON object and nothing else: no text around it, no code fence.";
        match self {
            Self::Text => (None, None),
            Self::JsonObject => (None, Some(instruction.to_owned())),
            Self::Schema(schema) => (Some(schema), None),
        }
    }
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

/// Clients parse arguments even if there are none.
fn arguments_or_empty_object(arguments: String) -> String {
    match arguments.as_str() {
        "" => "{}".to_owned(),
        _ => arguments,
    }
}

#[cfg(test)]
mod tests;
