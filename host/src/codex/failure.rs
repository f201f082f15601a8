//! Turns Codex's error report of a failed turn into an outcome: the kind of failure, and the message.

use serde::Deserialize;
use serde_json::Value;

use super::provider_error::{ProviderError, for_the_client};
use super::{Cause, Error, Named, TurnOutcome};

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
        let (message, named) = match cause.is_the_clients() {
            true => for_the_client(&self.message),
            false => (self.message, Named::default()),
        };
        Error::Upstream {
            cause,
            status,
            message,
            named,
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
    if let Some(error) = ProviderError::of(message) {
        return (error.cause(), Some(400));
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

#[cfg(test)]
mod tests;
