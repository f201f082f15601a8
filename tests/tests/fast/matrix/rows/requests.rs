//! Rows of requests for which no turn is started.

use super::{Cells, limited, not_in_completions, only_responses_and_messages, refused, row};
use crate::matrix::dialect::Ask;
use crate::matrix::{Meanwhile, Row};

fn hi() -> Ask {
    Ask::new("hi")
}

/// The cells of a 400 with this code, which Anthropic's API does not have.
fn invalid(code: &str) -> Cells {
    let openai = format!("400 invalid_request_error {code}");
    refused(&openai, "400 invalid_request_error")
}

/// Requests with mistakes.
pub(super) fn mistakes() -> Vec<Row> {
    let unknown_key = "401 authentication_error invalid_api_key";
    let unknown_model = "404 invalid_request_error model_not_found";
    let too_large = "413 invalid_request_error request_too_large";
    // A WebSocket is refused at its handshake.
    let mut unknown_caller = refused(unknown_key, "401 authentication_error");
    unknown_caller[3] = unknown_key.to_owned();
    vec![
        row(
            "a key that is not known",
            || hi().key("sk-wrong"),
            unknown_caller,
        ),
        row(
            "a model that is not known",
            || hi().model("gpt-nope"),
            refused(unknown_model, "404 not_found_error"),
        ),
        row(
            "a body that is not JSON",
            || hi().raw("{"),
            invalid("invalid_json"),
        ),
        row(
            "a body that is no object",
            || hi().raw("[]"),
            invalid("invalid_type"),
        ),
        Row {
            setup: |setup| setup.var("PROXY_MAX_BODY_BYTES", "4096"),
            ..row(
                "a body that is too large",
                || Ask::new(&"x".repeat(5000)),
                refused(too_large, "413 request_too_large"),
            )
        },
        row(
            "an image that is not base64",
            || hi().image("%%%"),
            not_in_completions(invalid("invalid_base64_image")),
        ),
        row(
            "an image that is cut off",
            || hi().image("iVBORw0KGgo="),
            not_in_completions(invalid("image_parse_error")),
        ),
    ]
}

/// Requests that the operator does not want.
pub(super) fn unwanted() -> Vec<Row> {
    let too_long = "403 tokens_exceeded_error context_length_exceeded";
    vec![
        Row {
            setup: |setup| limited(setup, "tokens", 100),
            ..row(
                "more tokens than are ever allowed",
                || hi().max_tokens(101),
                invalid("tokens_exceed_limit"),
            )
        },
        Row {
            setup: |setup| setup.var("PROXY_MAX_PROMPT_TOKENS", "300"),
            ..row(
                "a prompt that is too long",
                || Ask::new(&"x".repeat(2000)),
                refused(too_long, "400 invalid_request_error"),
            )
        },
        Row {
            setup: |setup| setup.var("PROXY_REFUSE_HOSTED_TOOLS", "true"),
            ..row(
                "a tool that the provider runs, where it is refused",
                || hi().tools().hosted(),
                only_responses_and_messages(invalid("unsupported_value")),
            )
        },
    ]
}

/// Requests that come too often, or too many at once.
pub(super) fn limits() -> Vec<Row> {
    vec![
        Row {
            setup: |setup| limited(setup, "requests", 1),
            meanwhile: Meanwhile::Asked,
            headers: &[
                ("x-ratelimit-limit-requests", "1"),
                ("x-ratelimit-remaining-requests", "0"),
                ("x-ratelimit-reset-requests", ""),
                ("retry-after", ""),
                ("retry-after-ms", ""),
            ],
            ..row(
                "more requests than allowed",
                hi,
                refused("429 rate_limit_error rate_limited", "429 rate_limit_error"),
            )
        },
        Row {
            setup: |setup| limited(setup, "concurrent", 1),
            meanwhile: Meanwhile::Busy,
            headers: &[("retry-after", "")],
            ..row(
                "more at once than allowed",
                hi,
                refused(
                    "429 rate_limit_error concurrency_exceeded",
                    "429 rate_limit_error",
                ),
            )
        },
        Row {
            setup: |setup| {
                let setup = setup.var("WORKER_MAX_CONCURRENCY", "1");
                setup.var("PROXY_QUEUE_MAX", "0")
            },
            meanwhile: Meanwhile::Busy,
            headers: &[("retry-after", "1"), ("retry-after-ms", "1000")],
            ..row(
                "more than Codex can do at once",
                hi,
                refused(
                    "503 backend_unavailable worker_busy",
                    "503 overloaded_error",
                ),
            )
        },
    ]
}
