//! Errors in OpenAI's format, and the error for each way a turn can fail.

use std::borrow::Cow;
use std::ops::{Deref, DerefMut};

use serde::Serialize;

use super::json;
use crate::codex::{self, Cause};
use crate::turn::{self, Timer};

/// A refusal or failure for the client. It holds only facts that are meant for the client.
///
/// Boxed, since nearly every function that answers a client may return one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} {}: {}", .0.status, .0.code, .0.message)]
pub struct ApiError(Box<ErrorParts>);

/// The parts of an [`ApiError`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorParts {
    /// The HTTP status, where the answer has not begun.
    pub status: u16,
    /// The `type`, for example `invalid_request_error`.
    pub kind: Cow<'static, str>,
    /// For example `model_not_found`.
    pub code: Cow<'static, str>,
    /// For people.
    pub message: Cow<'static, str>,
    /// The member of the request that is at fault, for example `messages[2].role`.
    pub param: Option<String>,
    /// When it is worth trying again, in milliseconds.
    pub retry_after_ms: Option<u64>,
    /// Headers of the answer, names in lower case.
    pub headers: Vec<(String, String)>,
}

impl Deref for ApiError {
    type Target = ErrorParts;

    fn deref(&self) -> &ErrorParts {
        &self.0
    }
}

impl DerefMut for ApiError {
    fn deref_mut(&mut self) -> &mut ErrorParts {
        &mut self.0
    }
}

#[derive(Serialize)]
struct Envelope<'a> {
    error: Body<'a>,
}

#[derive(Serialize)]
struct Body<'a> {
    message: &'a str,
    r#type: &'a str,
    param: Option<&'a str>,
    code: &'a str,
}

impl ApiError {
    /// An error without `param`, headers and a time to try again.
    #[must_use]
    pub fn new(
        status: u16,
        kind: impl Into<Cow<'static, str>>,
        code: impl Into<Cow<'static, str>>,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self(Box::new(ErrorParts {
            status,
            kind: kind.into(),
            code: code.into(),
            message: message.into(),
            param: None,
            retry_after_ms: None,
            headers: Vec::new(),
        }))
    }

    /// A 400 of type `invalid_request_error`.
    #[must_use]
    pub fn invalid_request(code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(400, "invalid_request_error", code, message)
    }

    /// The same error about one member of the request.
    #[must_use]
    pub fn about(mut self, param: impl Into<String>) -> Self {
        self.param = Some(param.into());
        self
    }

    /// The same error, with the param's name in a dialect where chat's member has another name.
    #[must_use]
    pub fn in_words(mut self, words: &[(&str, &str)]) -> Self {
        let ours = words
            .iter()
            .find(|(chats, _)| self.param.as_deref() == Some(chats));
        if let Some((_, ours)) = ours {
            self.param = Some((*ours).to_owned());
        }
        self
    }

    /// `{"error":{"message","type","param","code"}}`, all four always there.
    #[must_use]
    pub fn to_json(&self) -> String {
        json::write(&Envelope {
            error: Body {
                message: &self.message,
                r#type: &self.kind,
                param: self.param.as_deref(),
                code: &self.code,
            },
        })
    }
}

/// A lease is usually free, or another instance up, within a second.
const RETRY_MS: u64 = 1_000;

/// Causes are for the log: the client gets a fixed sentence, but for a message that the provider meant for it.
impl From<turn::Error> for ApiError {
    fn from(error: turn::Error) -> Self {
        let (status, sentence) = tell(&error);
        let mut told = Self::new(status, error.kind(), error.code(), sentence);
        match error {
            turn::Error::Codex(codex::Error::Upstream {
                cause,
                status,
                message,
            }) => match cause {
                Cause::InvalidRequest => {
                    // Too large, or not processable: clients know these apart.
                    told.status = status
                        .filter(|status| [413, 422].contains(status))
                        .unwrap_or(400);
                    told.message = message.into();
                }
                Cause::ContextLength => told.param = Some("messages".to_owned()),
                Cause::ModelNotFound => told.param = Some("model".to_owned()),
                Cause::RateLimited | Cause::Overloaded => told.retry_after_ms = wait_in(&message),
                // Another try will not help before somebody has acted.
                Cause::Quota | Cause::Credential => told.headers.push(do_not_retry()),
                _ => {}
            },
            turn::Error::Codex(
                codex::Error::Unavailable(_) | codex::Error::Busy | codex::Error::WorkerExited(_),
            )
            | turn::Error::Draining => told.retry_after_ms = Some(RETRY_MS),
            turn::Error::Codex(codex::Error::NotSignedIn) => told.headers.push(do_not_retry()),
            // Another try would cost as much, and most probably end as this one did.
            turn::Error::Timeout {
                timer: Timer::Total,
                ..
            } => told.headers.push(do_not_retry()),
            _ => {}
        }
        told
    }
}

/// OpenAI's clients retry by themselves after 408, 409, 429 and all statuses from 500 on, unless this header forbids it.
fn do_not_retry() -> (String, String) {
    ("x-should-retry".to_owned(), "false".to_owned())
}

/// How long a provider asks to wait, in milliseconds: "Please try again in 1m30.5s." None if it does not say.
fn wait_in(message: &str) -> Option<u64> {
    let (_, rest) = message.split_once("try again in ")?;
    let mut rest = rest.split_whitespace().next()?.trim_end_matches(['.', ',']);
    let mut total = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, unit) = rest.split_at(digits);
        let letters = unit.find(|c: char| !c.is_ascii_alphabetic());
        let (unit, more) = unit.split_at(letters.unwrap_or(unit.len()));
        let factor = match unit {
            "ms" => 1.0,
            "s" => 1_000.0,
            "m" => 60_000.0,
            "h" => 3_600_000.0,
            _ => return None,
        };
        total += number.parse::<f64>().ok()? * factor;
        rest = more;
    }
    // A conversion that saturates: no message makes a client wait for ever.
    Some((total.ceil() as u64).clamp(1, 24 * 3_600_000))
}

/// The status, and the sentence for the client.
fn tell(error: &turn::Error) -> (u16, &'static str) {
    match error {
        turn::Error::Codex(error) => tell_codex(error),
        turn::Error::Policy(_) => (503, "A policy of this gateway could not answer."),
        turn::Error::Timeout { timer, .. } => (504, tell_timer(*timer)),
        turn::Error::Restarted(_) => (502, "The answer broke off, and cannot be continued."),
        turn::Error::NotJson => (
            502,
            "The model's answer is not the JSON object that was asked for.",
        ),
        turn::Error::Interrupted => (502, "Codex ended the answer before it was complete."),
        turn::Error::Draining => (503, "The gateway is shutting down."),
    }
}

fn tell_timer(timer: Timer) -> &'static str {
    match timer {
        Timer::Total => "The answer took longer than this gateway allows.",
        Timer::FirstToken => "The answer did not begin within the time this gateway allows.",
        Timer::StreamIdle | Timer::Idle | Timer::ProtoIdle => {
            "Codex was silent for longer than this gateway allows."
        }
    }
}

fn tell_codex(error: &codex::Error) -> (u16, &'static str) {
    match error {
        codex::Error::Unavailable(_) => (503, "No Codex worker is ready; try again in a moment."),
        codex::Error::Busy => (503, "Every Codex worker is busy; try again in a moment."),
        codex::Error::NotSignedIn => (
            503,
            "Codex is not signed in: the operator of this gateway has to run `codex login` on its machine.",
        ),
        codex::Error::WorkerExited(_) => (503, "The Codex worker exited during the answer."),
        codex::Error::RpcTimeout { .. } => (504, "The Codex worker did not respond in time."),
        codex::Error::Rpc { .. } => (502, "The Codex worker could not run the request."),
        codex::Error::SlowReader { .. } => (503, "The answer was read too slowly."),
        codex::Error::Upstream { cause, .. } => tell_cause(*cause),
    }
}

fn tell_cause(cause: Cause) -> (u16, &'static str) {
    match cause {
        Cause::ContextLength => (400, "The prompt exceeds the model's context window."),
        Cause::ModelNotFound => (404, "The model provider does not offer this model."),
        Cause::RateLimited => (
            429,
            "The model provider is limiting requests; try again later.",
        ),
        Cause::Quota => (
            429,
            "The Codex account of this gateway has used up its quota.",
        ),
        Cause::Overloaded => (503, "The model is at capacity; try again later."),
        Cause::InvalidRequest => (400, "The model provider found the request invalid."),
        Cause::ContentPolicy => (400, "The model provider refused this content."),
        Cause::Credential => (
            503,
            "The gateway's own Codex login was refused; its operator has to sign in again.",
        ),
        Cause::Unreachable => (502, "The model provider could not be reached."),
        Cause::Disconnected => (502, "The model provider broke off the answer."),
        Cause::Internal => (502, "The model provider failed to answer."),
    }
}

#[cfg(test)]
mod tests;
