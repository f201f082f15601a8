//! Rows of turns that end well, fail, or lose their client.

use codex_gateway_tests::gateway::script;
use serde_json::{Value, json};

use super::{Cells, each, limited, not_in_completions, only_responses_and_messages, refused, row};
use crate::dialects::two_calls;
use crate::matrix::answer::Answer;
use crate::matrix::dialect::Ask;
use crate::matrix::{Act, Row};

/// A picture of one pixel.
const PNG: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg==";

/// The cells of an answer that ends well, with what `tells` adds.
fn ends(chat: &str, response: &str, message: &str, tells: &str) -> Cells {
    [chat, chat, response, response, message].map(|reason| format!("200 {reason}{tells}"))
}

/// The cells of an error that is a status of a whole answer, and breaks a stream that has begun: OpenAI's, then Anthropic's.
fn broken(openai: [&str; 2], anthropic: [&str; 2]) -> Cells {
    let chat = openai.join("; 200 then ");
    let failed = "200 then response.failed server_error";
    let response = [openai[0], failed].join("; ");
    let message = anthropic.join("; 200 then ");
    each([&chat, &chat, &response, failed, &message])
}

fn scripted(members: Value) -> Ask {
    Ask::new(&script(members))
}

/// A turn that fails at the provider before it has said anything.
fn failing(cause: Value) -> Ask {
    let error = json!({"message": "no", "codexErrorInfo": cause});
    scripted(json!({"text": [], "error": error}))
}

fn with_calls(answer: &Answer) -> String {
    format!("{}, calls {}", answer.ending, answer.calls)
}

fn with_text(answer: &Answer) -> String {
    format!("{}: {}", answer.ending, answer.text)
}

/// Answers in text.
pub(super) fn answers() -> Vec<Row> {
    vec![
        Row {
            act: Act::Read(with_text),
            ..row(
                "a text",
                || scripted(json!({"reasoning": ["Hm."], "text": ["Good ", "day."]})),
                ends("stop", "completed", "end_turn", ": Good day."),
            )
        },
        Row {
            act: Act::Read(|answer| format!("{:?}", answer.usage.unwrap_or_default())),
            ..row("usage", || Ask::new("hi"), each(["(120, 30)"; 5]))
        },
        Row {
            act: Act::Read(with_text),
            ..row(
                "an answer that is cut at its limit",
                || scripted(json!({"text": ["one two ", "three"]})).max_tokens(1),
                ends("length", "max_output_tokens", "max_tokens", ": one "),
            )
        },
        Row {
            arrives: PNG,
            ..row(
                "an image",
                || Ask::new("hi").image(PNG),
                not_in_completions(ends("stop", "completed", "end_turn", "")),
            )
        },
    ]
}

/// Answers with calls.
pub(super) fn calls() -> Vec<Row> {
    let one = ends("tool_calls", "completed", "tool_use", ", calls 1");
    let two = ends("tool_calls", "completed", "tool_use", ", calls 2");
    vec![
        Row {
            act: Act::Read(with_calls),
            ..row(
                "two calls at once",
                || Ask::new(&two_calls()).tools(),
                not_in_completions(two.clone()),
            )
        },
        Row {
            setup: |setup| setup.var("PROXY_STOP_AFTER_TOOLS_MODE", "first"),
            act: Act::Read(with_calls),
            ..row(
                "tool-stop at the first call",
                || Ask::new(&two_calls()).tools(),
                not_in_completions(one),
            )
        },
        Row {
            headers: &[("x-codex-left-out", "web_search")],
            act: Act::Read(with_calls),
            ..row(
                "a tool that the provider runs, beside one of the client's",
                || Ask::new(&two_calls()).tools().hosted(),
                only_responses_and_messages(two),
            )
        },
    ]
}

/// Turns that take too long.
pub(super) fn timeouts() -> Vec<Row> {
    vec![
        Row {
            setup: |setup| setup.var("PROXY_TIMEOUT_MS", "200"),
            ..row(
                "a turn that exceeds its timeout",
                || scripted(json!({"hang": true})),
                refused("504 timeout_error request_timeout", "504 timeout_error"),
            )
        },
        Row {
            setup: |setup| {
                let setup = setup.var("PROXY_IDLE_TIMEOUT_MS", "2000");
                setup.var("PROXY_STREAM_IDLE_TIMEOUT_MS", "2000")
            },
            ..row(
                "a turn that falls silent",
                || scripted(json!({"text": ["one ", "two"], "gate": "/nowhere/at/all"})),
                broken(
                    [
                        "504 timeout_error idle_timeout",
                        "timeout_error stream_idle_timeout",
                    ],
                    ["504 timeout_error", "timeout_error"],
                ),
            )
        },
    ]
}

/// Turns that Codex or its provider fail.
pub(super) fn failures() -> Vec<Row> {
    let exited = "503 backend_unavailable worker_exited";
    vec![
        row(
            "Codex dies before the answer begins",
            || scripted(json!({"text": ["a"], "exit_after": 0})),
            refused(exited, "503 api_error"),
        ),
        row(
            "Codex dies within the answer",
            || scripted(json!({"text": ["a", "b", "c"], "exit_after": 2})),
            broken(
                [exited, "backend_unavailable worker_exited"],
                ["503 api_error", "api_error"],
            ),
        ),
        row(
            "the provider finds the prompt too long",
            || failing(json!("contextWindowExceeded")),
            refused(
                "400 invalid_request_error context_length_exceeded",
                "400 invalid_request_error",
            ),
        ),
        row(
            "the provider is at capacity",
            || failing(json!("serverOverloaded")),
            refused("503 server_error overloaded", "503 overloaded_error"),
        ),
        row(
            "the provider's quota is used up",
            || failing(json!("usageLimitExceeded")),
            refused(
                "429 insufficient_quota insufficient_quota",
                "429 rate_limit_error",
            ),
        ),
        row(
            "the provider breaks off",
            || failing(json!({"responseStreamDisconnected": {"httpStatusCode": null}})),
            refused("502 server_error upstream_error", "502 api_error"),
        ),
    ]
}

/// Clients that disconnect: the turn is interrupted, and its place in the quota is free.
pub(super) fn leaving() -> Vec<Row> {
    let endless = || scripted(json!({"text": ["x"], "repeat": 1_000_000, "delay_ms": 5}));
    let interrupted = |reason: &str| format!("1 interrupted, next 200 {reason}");
    vec![Row {
        setup: |setup| limited(setup, "concurrent", 1),
        act: Act::Leave,
        ..row(
            "a client that disconnects",
            endless,
            ["stop", "stop", "completed", "completed", "end_turn"].map(interrupted),
        )
    }]
}
