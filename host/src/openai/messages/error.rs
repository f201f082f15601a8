//! Errors in Anthropic's form.

use serde::Serialize;

use super::super::{ApiError, json};

/// An error for a client of Anthropic's API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessagesError {
    /// The HTTP status, where the answer has not begun.
    pub status: u16,
    kind: &'static str,
    message: String,
    details: Option<Details>,
}

#[derive(Serialize)]
struct Envelope<'a> {
    r#type: &'static str,
    error: Body<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
}

#[derive(Serialize)]
struct Body<'a> {
    r#type: &'static str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<&'a Details>,
}

/// A code of Anthropic's, by which its SDKs know what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Details {
    error_code: &'static str,
}

/// The SDKs then go on without a thread.
const NO_THREADS: &str = "thread_unsupported_request";

/// The prompt does not fit the model, or the gateway's own limit.
const TOO_LONG: &str = "context_length_exceeded";

impl From<&ApiError> for MessagesError {
    /// The status decides the type, as at Anthropic.
    fn from(error: &ApiError) -> Self {
        let is_too_long = error.code == TOO_LONG;
        let status = if is_too_long { 400 } else { error.status };
        let message = match &error.param {
            // Claude Code makes its conversation shorter when it reads these words.
            _ if is_too_long => format!("prompt is too long: {}", error.message),
            // Anthropic has no member for it.
            Some(param) if !error.message.contains(param.as_str()) => {
                format!("{param}: {}", error.message)
            }
            _ => error.message.to_string(),
        };
        Self {
            status,
            kind: kind(status, &error.code),
            message,
            details: (error.code == NO_THREADS).then_some(Details {
                error_code: NO_THREADS,
            }),
        }
    }
}

impl MessagesError {
    /// `{"type":"error","error":{"type","message"},"request_id"}`; without the id if the request has none yet.
    #[must_use]
    pub fn to_json(&self, request_id: Option<&str>) -> String {
        json::write(&Envelope {
            r#type: "error",
            error: Body {
                r#type: self.kind,
                message: &self.message,
                details: self.details.as_ref(),
            },
            request_id,
        })
    }
}

fn kind(status: u16, code: &str) -> &'static str {
    match (status, code) {
        (503, "overloaded" | "worker_busy") | (529, _) => "overloaded_error",
        (401, _) => "authentication_error",
        (402, _) => "billing_error",
        (403, _) => "permission_error",
        (404, _) => "not_found_error",
        (408 | 504, _) => "timeout_error",
        (413, _) => "request_too_large",
        (429, _) => "rate_limit_error",
        (400..500, _) => "invalid_request_error",
        _ => "api_error",
    }
}
