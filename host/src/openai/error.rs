//! Errors in OpenAI's format, made from a row of the error table or from a policy's denial.

mod table;

use std::borrow::Cow;
use std::ops::{Deref, DerefMut};

use serde::Serialize;

use super::json;
use crate::codex::{self, Cause};
use crate::policy::Refused;
use crate::turn::{self, Timer};

pub(crate) use table::GatewayError;
pub use table::{ROWS, Retry, Row};

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
    #[serde(skip_serializing_if = "Option::is_none")]
    resets_at: Option<u64>,
}

impl ApiError {
    /// An error without `param`, headers and a time to try again. Private: the gateway's own errors are in the table.
    fn new(
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
        self.write(&self.kind, None)
    }

    /// The same for a limit that is reached until this time, in seconds since 1970, in the words that ChatGPT has for Codex.
    #[must_use]
    pub fn to_json_until(&self, resets_at: u64) -> String {
        self.write("usage_limit_reached", Some(resets_at))
    }

    fn write(&self, kind: &str, resets_at: Option<u64>) -> String {
        json::write(&Envelope {
            error: Body {
                message: &self.message,
                r#type: kind,
                param: self.param.as_deref(),
                code: &self.code,
                resets_at,
            },
        })
    }
}

impl GatewayError {
    /// This error about one member of the request, or one header.
    pub(crate) fn about(self, param: impl Into<String>) -> ApiError {
        ApiError::from(self).about(param)
    }
}

impl From<GatewayError> for ApiError {
    fn from(error: GatewayError) -> Self {
        let row = error.row();
        let mut told = Self::new(row.status, row.kind, row.code, error.to_string());
        match row.retry {
            Retry::Unsaid => {}
            Retry::After(ms) => told.retry_after_ms = Some(ms),
            Retry::Never => told.headers.push(do_not_retry()),
        }
        told
    }
}

/// A decision reaches the client as the policy worded it; a fault does not.
impl From<Refused> for ApiError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Denied(denial) => {
                let denial = *denial;
                let mut error = Self::new(denial.status, denial.kind, denial.code, denial.message);
                (error.param, error.headers) = (denial.param, denial.headers);
                error
            }
            Refused::Fault(_) | Refused::Counters(_) => GatewayError::PolicyFault.into(),
        }
    }
}

/// Causes are for the log: the client gets the sentence of the table, but for a message that the provider meant for it.
impl From<turn::Error> for ApiError {
    fn from(error: turn::Error) -> Self {
        let mut told = Self::from(GatewayError::from(&error));
        if let turn::Error::Codex(codex::Error::Upstream {
            cause,
            status,
            message,
            named,
        }) = error
        {
            match cause {
                // Too large, or not processable: clients know these apart.
                Cause::InvalidRequest => {
                    let kept = status.filter(|status| [413, 422].contains(status));
                    told.status = kept.unwrap_or(told.status);
                    told.code = named.code.map_or(told.code.clone(), Cow::Owned);
                    told.param = named.param.map(in_chats_words);
                }
                Cause::ContentPolicy => told.param = named.param.map(in_chats_words),
                Cause::ContextLength => told.param = Some("messages".to_owned()),
                Cause::ModelNotFound => told.param = Some("model".to_owned()),
                Cause::RateLimited | Cause::Overloaded => told.retry_after_ms = wait_in(&message),
                _ => {}
            }
        }
        told
    }
}

impl From<&turn::Error> for GatewayError {
    fn from(error: &turn::Error) -> Self {
        match error {
            turn::Error::Codex(error) => error.into(),
            turn::Error::Policy(_) => Self::PolicyFault,
            turn::Error::Timeout { timer, .. } => match timer {
                Timer::Total => Self::TotalTimeout,
                Timer::FirstToken => Self::FirstTokenTimeout,
                Timer::StreamIdle => Self::StreamIdleTimeout,
                Timer::Idle => Self::IdleTimeout,
                Timer::ProtoIdle => Self::ProtoIdleTimeout,
            },
            turn::Error::Restarted(_) => Self::Restarted,
            turn::Error::NotJson => Self::NotJson,
            turn::Error::Interrupted => Self::Interrupted,
            turn::Error::Draining => Self::Draining,
            turn::Error::Panicked => Self::Internal,
        }
    }
}

impl From<&codex::Error> for GatewayError {
    fn from(error: &codex::Error) -> Self {
        match error {
            codex::Error::Unavailable(_) => Self::WorkerNotReady,
            codex::Error::Busy => Self::WorkerBusy,
            codex::Error::NotSignedIn => Self::NotSignedIn,
            codex::Error::WorkerExited(_) => Self::WorkerExited,
            codex::Error::RpcTimeout { .. } => Self::WorkerTimeout,
            codex::Error::Rpc { .. } => Self::WorkerRefused,
            codex::Error::SlowReader { .. } => Self::SlowReader,
            codex::Error::Upstream { cause, message, .. } => match cause {
                Cause::ContextLength => Self::ContextLength,
                Cause::ModelNotFound => Self::ModelNotFound,
                Cause::RateLimited => Self::RateLimited,
                Cause::Quota => Self::Quota,
                Cause::Overloaded => Self::Overloaded,
                Cause::InvalidRequest => Self::ProviderInvalid {
                    message: message.clone(),
                },
                Cause::ContentPolicy => Self::ContentPolicy,
                Cause::Credential => Self::Credential,
                Cause::Unreachable => Self::Unreachable,
                Cause::Disconnected => Self::Disconnected,
                Cause::Internal => Self::ProviderFailed,
            },
        }
    }
}

/// The members of the Responses API that have another name in chat. Places within them are not those of the client's request:
/// Codex puts items of its own before the client's, and one message may become several items.
const CHATS: [(&str, &str); 5] = [
    ("input", "messages"),
    ("instructions", "messages"),
    ("reasoning.effort", "reasoning_effort"),
    ("text.format", "response_format"),
    ("text.verbosity", "verbosity"),
];

/// The client's member for one that a provider names, in chat's words.
fn in_chats_words(param: String) -> String {
    let is_within = |name: &str| {
        let rest = param.strip_prefix(name);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    };
    match CHATS.iter().find(|(name, _)| is_within(name)) {
        Some((_, chats)) => (*chats).to_owned(),
        None => param,
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

#[cfg(test)]
mod tests;
