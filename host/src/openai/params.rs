//! Reads members of a request that have the same meaning in several dialects.

use serde_json::Value;

use super::json_object::{self, Object};
use super::{ApiError, GatewayError};

/// Longer than any model's name: the name goes to policies, metrics and the log.
pub const MODEL_BYTES: usize = 256;

/// Takes `model`.
pub(super) fn read_model(body: &mut Object) -> Result<Option<String>, ApiError> {
    body.short_string("model", MODEL_BYTES)
}

/// Takes `stream`, which may be absent, and whether the stream ends with the usage.
pub(super) fn read_streaming(body: &mut Object) -> Result<(Option<bool>, bool), ApiError> {
    let stream = body.boolean("stream")?;
    // Some clients of the gateway's predecessor send `include_usage` at the top level.
    let at_top = body.take("include_usage") == Some(Value::Bool(true));
    let include_usage = match body.object("stream_options")? {
        Some(mut options) => options.boolean("include_usage")?,
        None => None,
    };
    Ok((stream, include_usage.unwrap_or(at_top)))
}

/// The error for a member that could only be ignored, so that the answer would not be the one the client expects.
pub(super) fn unsupported(param: &str, message: impl Into<String>) -> ApiError {
    let message = message.into();
    GatewayError::UnsupportedValue { message }.about(param)
}

/// Refuses `moderation`: a client that asks for it relies on it.
pub(super) fn refuse_moderation(body: &mut Object) -> Result<(), ApiError> {
    match body.take("moderation") {
        Some(_) => {
            let message = "This gateway moderates nothing: leave out 'moderation'.";
            Err(unsupported("moderation", message))
        }
        None => Ok(()),
    }
}

/// Refuses a `logit_bias`: it can forbid a word, or force it.
pub(super) fn refuse_logit_bias(body: &mut Object) -> Result<(), ApiError> {
    let biases = body.object("logit_bias")?.map(Object::into_members);
    if biases.unwrap_or_default().is_empty() {
        return Ok(());
    }
    let message = "Codex has no biases for tokens: leave out 'logit_bias'.";
    Err(unsupported("logit_bias", message))
}

/// Takes `stop`.
pub(super) fn read_stop(body: &mut Object) -> Result<Vec<String>, ApiError> {
    const MOST: usize = 4;
    let words = match body.take("stop") {
        None => return Ok(Vec::new()),
        Some(word @ Value::String(_)) => return Ok(vec![stop_word(word, "stop".to_owned())?]),
        Some(Value::Array(words)) => words,
        Some(other) => {
            let expected = "a string or an array of strings";
            return Err(json_object::wrong_type("stop".to_owned(), expected, &other));
        }
    };
    if words.len() > MOST {
        let (most, found) = (MOST, words.len());
        return Err(GatewayError::TooManyStops { most, found }.about("stop"));
    }
    let words = words.into_iter().enumerate();
    words
        .map(|(at, word)| stop_word(word, format!("stop[{at}]")))
        .collect()
}

/// Takes one stop sequence.
pub(super) fn stop_word(word: Value, param: String) -> Result<String, ApiError> {
    match word {
        Value::String(word) if word.is_empty() => Err(json_object::empty_string(param)),
        Value::String(word) => Ok(word),
        other => Err(json_object::wrong_type(param, "a string", &other)),
    }
}

/// Takes `service_tier`.
pub(super) fn read_service_tier(body: &mut Object) -> Result<Option<&'static str>, ApiError> {
    let tiers = [
        "auto",
        "default",
        "flex",
        "scale",
        "priority",
        "fast",
        "ultrafast",
    ];
    body.word("service_tier", &tiers)
}

/// Takes `verbosity`.
pub(super) fn read_verbosity(text: &mut Object) -> Result<Option<&'static str>, ApiError> {
    text.word("verbosity", &["low", "medium", "high"])
}
