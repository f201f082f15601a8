//! Turns Codex's message about a failed turn into the kind of failure: old versions send no error code.

use crate::codex::failure::{INVALID_PROMPT, cause_of_status};
use crate::codex::provider_error::{ProviderError, for_the_client};
use crate::codex::{Cause, Error, Named};

/// The beginning of Codex's message that the provider refused the request. The status and the answer follow.
const REFUSED: &str = "unexpected status ";

/// The beginning of Codex's message that the provider refused every attempt. The status follows.
const GIVEN_UP: &str = "exceeded retry limit, last status: ";

/// The beginning of Codex's message that the stream did not end well. Its reason follows, or the provider's.
const BROKEN: &str = "stream disconnected before completion: ";

/// Texts that identify a cause, the more specific ones first.
const WORDS: [(&str, Cause, Option<u16>); 12] = [
    ("context window", Cause::ContextLength, Some(400)),
    ("exceeded your current quota", Cause::Quota, Some(429)),
    ("usage limit", Cause::Quota, Some(429)),
    ("upgrade to", Cause::Quota, Some(429)),
    ("Rate limit", Cause::RateLimited, Some(429)),
    ("rate limit", Cause::RateLimited, Some(429)),
    ("high demand", Cause::Internal, Some(500)),
    ("Missing environment variable", Cause::Credential, None),
    ("Failed to refresh token", Cause::Credential, None),
    ("error sending request", Cause::Unreachable, None),
    (BROKEN, Cause::Disconnected, None),
    ("timeout", Cause::Disconnected, None),
];

/// The failure that a message of Codex describes.
pub(super) fn error(message: &str) -> Error {
    let words = message.strip_prefix(BROKEN).unwrap_or(message);
    let (cause, status) = if words.starts_with(INVALID_PROMPT) {
        (Cause::InvalidRequest, Some(400))
    } else {
        cause(message)
    };
    let (message, named) = match cause.is_the_clients() {
        true => for_the_client(words),
        false => (message.to_owned(), Named::default()),
    };
    Error::Upstream {
        cause,
        status,
        message,
        named,
    }
}

fn cause(message: &str) -> (Cause, Option<u16>) {
    if let Some(status) = message.strip_prefix(GIVEN_UP).and_then(leading_status) {
        return (cause_of_status(status), Some(status));
    }
    if let Some(answer) = message.strip_prefix(REFUSED)
        && let Some(status) = leading_status(answer)
    {
        let body = answer.split_once(": ").map_or("", |(_, body)| body);
        let cause = match ProviderError::of(body).map(|error| error.cause()) {
            // This is the cause of every unknown code: the status is more specific.
            None | Some(Cause::InvalidRequest) => cause_of_status(status),
            Some(cause) => cause,
        };
        return (cause, Some(status));
    }
    let told = WORDS.iter().find(|(words, ..)| message.contains(words));
    told.map_or((Cause::Internal, None), |(_, cause, status)| {
        (*cause, *status)
    })
}

/// The HTTP status at the beginning of `text`.
fn leading_status(text: &str) -> Option<u16> {
    text.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upstream(cause: Cause, status: impl Into<Option<u16>>, message: &str) -> Error {
        Error::Upstream {
            cause,
            status: status.into(),
            message: message.to_owned(),
            named: Named::default(),
        }
    }

    /// Recorded from Codex 0.42.0, except the last three.
    const RECORDED: [(&str, Cause, Option<u16>); 15] = [
        (
            "exceeded retry limit, last status: 401 Unauthorized",
            Cause::Credential,
            Some(401),
        ),
        (
            "exceeded retry limit, last status: 429 Too Many Requests",
            Cause::RateLimited,
            Some(429),
        ),
        (
            "exceeded retry limit, last status: 503 Service Unavailable",
            Cause::Overloaded,
            Some(503),
        ),
        (
            "We're currently experiencing high demand, which may cause temporary errors.",
            Cause::Internal,
            Some(500),
        ),
        (
            "unexpected status 403 Forbidden: {\"error\": {\"message\": \"err\", \"code\": \"forbidden\"}}",
            Cause::Credential,
            Some(403),
        ),
        (
            "stream disconnected before completion: stream closed before response.completed",
            Cause::Disconnected,
            None,
        ),
        (
            "stream disconnected before completion: Transport error: error decoding response body",
            Cause::Disconnected,
            None,
        ),
        (
            "stream disconnected before completion: idle timeout waiting for SSE",
            Cause::Disconnected,
            None,
        ),
        (
            "stream disconnected before completion: You exceeded your current quota",
            Cause::Quota,
            Some(429),
        ),
        (
            "stream disconnected before completion: Rate limit reached. Please try again in 0.5s.",
            Cause::RateLimited,
            Some(429),
        ),
        (
            "Missing environment variable: `FAKE_KEY`.",
            Cause::Credential,
            None,
        ),
        (
            "error sending request for url (http://127.0.0.1:9/v1/responses)",
            Cause::Unreachable,
            None,
        ),
        (
            "You've hit your usage limit. Try again later.",
            Cause::Quota,
            Some(429),
        ),
        ("something new", Cause::Internal, None),
        ("", Cause::Internal, None),
    ];

    #[test]
    fn the_words_give_the_cause() {
        for (message, cause, status) in RECORDED {
            assert_eq!(error(message), upstream(cause, status, message));
        }
    }

    #[test]
    fn what_is_for_the_client_is_reduced_to_the_providers_words() {
        let refused = |status: &str, code: &str| {
            let body = serde_json::json!({"error": {"message": "said the provider", "code": code}});
            error(&format!("unexpected status {status}: {body}"))
        };
        let table = [
            (
                "400 Bad Request",
                "invalid_value",
                Cause::InvalidRequest,
                400,
            ),
            (
                "400 Bad Request",
                "context_length_exceeded",
                Cause::ContextLength,
                400,
            ),
            (
                "404 Not Found",
                "model_not_found",
                Cause::ModelNotFound,
                404,
            ),
        ];
        for (status, code, cause, number) in table {
            let mut expected = upstream(cause, number, "said the provider");
            if let Error::Upstream { named, .. } = &mut expected {
                named.code = Some(code.to_owned());
            }
            assert_eq!(refused(status, code), expected);
        }
        let flagged = "Invalid prompt: flagged, see https://provider.example/login";
        assert_eq!(
            error(&format!("{BROKEN}{flagged}")),
            upstream(Cause::InvalidRequest, 400, flagged)
        );
        assert_eq!(
            error("stream disconnected before completion: Your input exceeds the context window"),
            upstream(
                Cause::ContextLength,
                400,
                "Your input exceeds the context window"
            )
        );
    }
}
