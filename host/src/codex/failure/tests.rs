//! Failures of a turn, in the words in which Codex reports them.

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
        named: Named::default(),
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
