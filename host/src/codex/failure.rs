//! Turns Codex's error report of a failed turn into an outcome: the kind of failure, and the message.

use serde::Deserialize;
use serde_json::Value;

use super::{Cause, Error, TurnOutcome};

/// Codex's error report, as `turn/completed` and `error` carry it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Failure {
    /// A message for people; sometimes the provider's raw answer.
    #[serde(default)]
    pub(super) message: String,
    /// A word, or an object of one word and its details. New versions of Codex add words.
    #[serde(default)]
    pub(super) codex_error_info: Value,
}

/// The beginning of Codex's message that the provider ended the answer early. The reason follows.
const INCOMPLETE: &str = "Incomplete response returned, reason: ";

impl Failure {
    /// How the turn ended. Some failures count as answers: an answer cut at its limit is an answer.
    pub(super) fn into_outcome(self) -> TurnOutcome {
        if let Some((_, reason)) = self.message.split_once(INCOMPLETE) {
            match reason.trim() {
                "max_output_tokens" => return TurnOutcome::MaxOutputTokens,
                "content_filter" => return TurnOutcome::ContentFilter,
                _ => {}
            }
        }
        TurnOutcome::Failed(self.into_error())
    }

    fn into_error(self) -> Error {
        let (word, status) = self.kind();
        let (cause, status) = match word {
            "contextWindowExceeded" => (Cause::ContextLength, Some(400)),
            "modelNotFound" => (Cause::ModelNotFound, Some(404)),
            "usageLimitExceeded" | "sessionBudgetExceeded" => (Cause::Quota, Some(429)),
            "rateLimitExceeded" => (Cause::RateLimited, Some(429)),
            "serverOverloaded" | "flexUnavailable" | "policyCapacityUnavailable" => {
                (Cause::Overloaded, Some(503))
            }
            "internalServerError" => (Cause::Internal, Some(500)),
            "cyberPolicy" | "misalignmentPolicyViolation" => (Cause::ContentPolicy, Some(400)),
            "badRequest" => (Cause::InvalidRequest, Some(400)),
            "unauthorized" => (Cause::Credential, Some(401)),
            "responseStreamDisconnected" => (Cause::Disconnected, status),
            "httpConnectionFailed"
            | "responseStreamConnectionFailed"
            | "responseTooManyFailedAttempts" => {
                (status.map_or(Cause::Unreachable, cause_of_status), status)
            }
            "other" | "" => cause_of_words(&self.message),
            _ => (Cause::Internal, status),
        };
        let message = match cause {
            Cause::InvalidRequest
            | Cause::ContextLength
            | Cause::ModelNotFound
            | Cause::ContentPolicy => for_the_client(&self.message),
            _ => self.message,
        };
        Error::Upstream {
            cause,
            status,
            message,
        }
    }

    /// Codex's word for the failure, and the HTTP status that came with it.
    fn kind(&self) -> (&str, Option<u16>) {
        match &self.codex_error_info {
            Value::String(word) => (word, None),
            Value::Object(members) => {
                members.iter().next().map_or(("", None), |(word, details)| {
                    let status = details.get("httpStatusCode").and_then(Value::as_u64);
                    (word, status.and_then(|status| u16::try_from(status).ok()))
                })
            }
            _ => ("", None),
        }
    }
}

pub(super) fn cause_of_status(status: u16) -> Cause {
    match status {
        401 | 403 | 407 => Cause::Credential,
        // Several providers answer 402 if the account has no credit left.
        402 => Cause::Quota,
        429 => Cause::RateLimited,
        502..=504 | 529 => Cause::Overloaded,
        400 | 413 | 415 | 422 => Cause::InvalidRequest,
        _ => Cause::Internal,
    }
}

/// The cause if Codex calls the failure "other": only the message shows it.
fn cause_of_words(message: &str) -> (Cause, Option<u16>) {
    if let Some(error) = provider_error(message) {
        return (cause_of_code(&error), Some(400));
    }
    match own_cause(message).filter(|_| !message.starts_with(INVALID_PROMPT)) {
        Some(cause) => (cause, None),
        // Every other message is the provider's about the request, even if it mentions such things.
        None => (Cause::InvalidRequest, Some(400)),
    }
}

/// The beginning of the provider's message for its code `invalid_prompt`; Codex leaves out the code.
pub(super) const INVALID_PROMPT: &str = "Invalid prompt";

/// The cause of a failure of Codex itself, which the client's request did not cause.
fn own_cause(message: &str) -> Option<Cause> {
    let begins = OWN_BEGINNINGS
        .iter()
        .find(|(words, _)| message.starts_with(words));
    let is_own = || message.is_empty() || OWN_PARTS.iter().any(|part| message.contains(part));
    begins
        .map(|(_, cause)| *cause)
        .or_else(|| is_own().then_some(Cause::Internal))
}

/// The beginnings of Codex's messages about its own failures, as of 0.169.0.
const OWN_BEGINNINGS: [(&str, Cause); 22] = [
    ("stream disconnected before completion", Cause::Disconnected),
    ("Missing environment variable: ", Cause::Credential),
    (
        "Your access token could not be refreshed",
        Cause::Credential,
    ),
    ("Your authentication session could not", Cause::Credential),
    ("Failed to refresh token", Cause::Credential),
    ("unexpected status ", Cause::Internal),
    ("exceeded retry limit, last status: ", Cause::Internal),
    ("Connection failed: ", Cause::Internal),
    ("Error while reading the server response: ", Cause::Internal),
    ("error sending request", Cause::Internal),
    ("request timed out", Cause::Internal),
    ("timeout waiting for child process", Cause::Internal),
    ("spawn failed: ", Cause::Internal),
    ("sandbox error: ", Cause::Internal),
    ("codex-linux-sandbox was required", Cause::Internal),
    ("Fatal error: ", Cause::Internal),
    ("internal error; ", Cause::Internal),
    ("unsupported operation: ", Cause::Internal),
    ("failed to ", Cause::Internal),
    ("no thread with id: ", Cause::Internal),
    ("agent thread limit reached", Cause::Internal),
    ("session configured event was not", Cause::Internal),
];

/// Texts that only Codex's own messages contain: an address it asked, an error of the system, a way to give feedback.
const OWN_PARTS: [&str; 4] = [" for url (", ", url: ", "(os error ", "Hit `/feedback` to"];

pub(super) fn cause_of_code(error: &Value) -> Cause {
    let word = |name: &str| error.get(name).and_then(Value::as_str).unwrap_or_default();
    match word("code") {
        "context_length_exceeded" | "string_above_max_length" => Cause::ContextLength,
        "model_not_found" => Cause::ModelNotFound,
        "content_policy_violation" | "content_filter" | "cyber_policy" => Cause::ContentPolicy,
        "insufficient_quota" | "billing_hard_limit_reached" => Cause::Quota,
        "invalid_api_key" => Cause::Credential,
        _ => Cause::InvalidRequest,
    }
}

/// The `error` object of a provider's raw JSON answer.
pub(super) fn provider_error(message: &str) -> Option<Value> {
    let mut body: Value = serde_json::from_str(message.trim()).ok()?;
    match body.get_mut("error")? {
        error @ Value::Object(_) => Some(error.take()),
        _ => None,
    }
}

/// The provider's message without its wrapping: a JSON body, a status line, the provider's address, ids.
pub(super) fn for_the_client(message: &str) -> String {
    if let Some(words) = provider_error(message)
        .as_ref()
        .and_then(|error| error.get("message")?.as_str())
    {
        return words.to_owned();
    }
    let body = match message
        .strip_prefix("unexpected status ")
        .and_then(|rest| rest.split_once(": "))
    {
        Some((_status, body)) => body,
        None => message,
    };
    let end = [", url: ", ", request id: ", ", cf-ray: "]
        .iter()
        .filter_map(|mark| body.find(mark))
        .min();
    let words = body.get(..end.unwrap_or(body.len())).unwrap_or(body);
    match provider_error(words)
        .as_ref()
        .and_then(|error| error.get("message")?.as_str())
    {
        Some(inner) => inner.to_owned(),
        None => words.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn outcome(info: Value, message: &str) -> TurnOutcome {
        Failure {
            message: message.to_owned(),
            codex_error_info: info,
        }
        .into_outcome()
    }

    fn upstream(cause: Cause, status: Option<u16>, message: &str) -> TurnOutcome {
        TurnOutcome::Failed(Error::Upstream {
            cause,
            status,
            message: message.to_owned(),
        })
    }

    fn http(status: impl Into<Value>) -> Value {
        json!({"httpConnectionFailed": {"httpStatusCode": status.into()}})
    }

    // The messages below were recorded from Codex 0.169.0.

    #[test]
    fn codexs_word_for_a_failure_gives_its_cause() {
        let attempts = json!({"responseTooManyFailedAttempts": {"httpStatusCode": 429}});
        let table = [
            (
                json!("contextWindowExceeded"),
                Cause::ContextLength,
                Some(400),
            ),
            (json!("modelNotFound"), Cause::ModelNotFound, Some(404)),
            (json!("usageLimitExceeded"), Cause::Quota, Some(429)),
            (json!("rateLimitExceeded"), Cause::RateLimited, Some(429)),
            (json!("serverOverloaded"), Cause::Overloaded, Some(503)),
            (json!("internalServerError"), Cause::Internal, Some(500)),
            (json!("cyberPolicy"), Cause::ContentPolicy, Some(400)),
            (json!("unauthorized"), Cause::Credential, Some(401)),
            (attempts, Cause::RateLimited, Some(429)),
            (http(402), Cause::Quota, Some(402)),
            (http(401), Cause::Credential, Some(401)),
            (http(403), Cause::Credential, Some(403)),
            (http(404), Cause::Internal, Some(404)),
            (http(503), Cause::Overloaded, Some(503)),
            (http(Value::Null), Cause::Unreachable, None),
            (json!("somethingNew"), Cause::Internal, None),
            (json!({"somethingNew": 3}), Cause::Internal, None),
        ];
        for (info, cause, status) in table {
            let expected = upstream(cause, status, "words");
            assert_eq!(outcome(info.clone(), "words"), expected, "{info}");
        }
    }

    #[test]
    fn what_codex_calls_other_is_told_by_its_words() {
        let table = [
            ("bad prompt", Cause::InvalidRequest, Some(400)),
            (
                "Missing environment variable: `FAKE_KEY`.",
                Cause::Credential,
                None,
            ),
            (
                "Your access token could not be refreshed. Please log out and sign in again.",
                Cause::Credential,
                None,
            ),
            (
                "stream disconnected before completion: idle timeout waiting for SSE",
                Cause::Disconnected,
                None,
            ),
            ("failed to open /home/x", Cause::Internal, None),
            (
                "No such file or directory (os error 2)",
                Cause::Internal,
                None,
            ),
            (
                "sandbox error: command was killed by a signal",
                Cause::Internal,
                None,
            ),
            (
                "turn aborted. Something went wrong? Hit `/feedback` to report the issue.",
                Cause::Internal,
                None,
            ),
            (
                "error sending request for url (http://10.0.0.7/)",
                Cause::Internal,
                None,
            ),
            ("", Cause::Internal, None),
        ];
        for (message, cause, status) in table {
            assert_eq!(
                outcome(json!("other"), message),
                upstream(cause, status, message)
            );
        }
        assert_eq!(
            outcome(Value::Null, ""),
            upstream(Cause::Internal, None, "")
        );
    }

    #[test]
    fn what_a_provider_says_of_a_request_is_no_trouble_of_codexs() {
        for message in [
            "Invalid prompt: flagged. Please see https://provider.example/login about access tokens.",
            "Invalid prompt: it names an address, url: http://example.com (os error 2)",
            "The tool `sandbox` failed to validate: log in or sign in is no JSON Schema, see https://json-schema.org",
            "Failed to parse the request body as JSON: no refresh token",
        ] {
            let found = outcome(json!("other"), message);
            let TurnOutcome::Failed(Error::Upstream { cause, status, .. }) = found else {
                panic!("{message} is a failure");
            };
            assert_eq!(
                (cause, status),
                (Cause::InvalidRequest, Some(400)),
                "{message}"
            );
        }
    }

    #[test]
    fn a_raw_answer_is_reduced_to_its_message() {
        let body = r#"{"error": {"message": "unsupported value", "param": null, "code": null}}"#;
        let expected = upstream(Cause::InvalidRequest, Some(400), "unsupported value");
        assert_eq!(outcome(json!("other"), body), expected);
    }

    #[test]
    fn an_answer_cut_at_its_limit_is_no_failure() {
        let max = "Incomplete response returned, reason: max_output_tokens";
        let filter = "stream disconnected before completion: Incomplete response returned, reason: content_filter";
        assert_eq!(outcome(json!("other"), max), TurnOutcome::MaxOutputTokens);
        assert_eq!(outcome(json!("other"), filter), TurnOutcome::ContentFilter);
    }

    #[test]
    fn the_code_in_a_raw_answer_decides() {
        for (code, cause) in [
            ("context_length_exceeded", Cause::ContextLength),
            ("model_not_found", Cause::ModelNotFound),
            ("content_policy_violation", Cause::ContentPolicy),
            ("insufficient_quota", Cause::Quota),
            ("unknown_parameter", Cause::InvalidRequest),
        ] {
            let body = json!({"error": {"message": "m", "code": code}}).to_string();
            let TurnOutcome::Failed(Error::Upstream { cause: found, .. }) =
                outcome(json!("other"), &body)
            else {
                panic!("{code} is a failure");
            };
            assert_eq!(found, cause, "{code}");
        }
    }

    #[test]
    fn the_client_never_sees_our_address() {
        let message = "unexpected status 422 Unprocessable Entity: no such field, url: http://10.0.0.7/v1/responses, request id: r";
        assert_eq!(
            outcome(http(422), message),
            upstream(Cause::InvalidRequest, Some(422), "no such field")
        );
    }
}
