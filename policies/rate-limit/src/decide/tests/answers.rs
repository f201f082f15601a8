//! Tests the message and headers of a denial, and the headers of an answer.

use serde_json::json;

use super::*;

/// Two rules for requests, one for tokens, one for streams.
fn usual() -> Rules {
    rules(&json!([
        {"name": "minute", "unit": "requests", "limit": 60},
        {"name": "day", "unit": "requests", "limit": 1000, "window_ms": 86_400_000, "per": "tenant"},
        {"name": "tokens", "unit": "tokens", "limit": 90_000, "per": "all"},
        {"name": "streams", "unit": "concurrent", "limit": 4, "streaming_only": true},
    ]))
}

fn value<'a>(headers: &'a [(String, String)], name: &str) -> &'a str {
    headers
        .iter()
        .find(|(key, _)| key == name)
        .map_or("", |(_, value)| value)
}

#[test]
fn granted_requests_are_told_the_tightest_balance_of_each_unit() {
    let headers = usual().decide(
        &late(),
        &[
            status("minute", true, 58, 2000),
            status("day", true, 3, 3_600_000),
            status("tokens", true, 88_800, 120),
            status("streams", true, 3, 0),
        ],
    );
    let expected = [
        ("x-ratelimit-limit-requests", "1000"),
        ("x-ratelimit-remaining-requests", "3"),
        ("x-ratelimit-reset-requests", "1h0m0s"),
        ("x-ratelimit-limit-tokens", "90000"),
        ("x-ratelimit-remaining-tokens", "88800"),
        ("x-ratelimit-reset-tokens", "120ms"),
    ];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(headers, Ok(expected.into()));
}

#[test]
fn too_many_requests_are_429_with_the_time_to_wait() {
    let statuses = [
        status("minute", false, 0, 11_001),
        status("day", true, 0, 50_000),
    ];
    let denial = usual().decide(&late(), &statuses).unwrap_err();
    assert_eq!(
        (denial.status, denial.kind.as_str(), denial.code.as_str()),
        (429, "rate_limit_error", "rate_limited")
    );
    assert_eq!(
        denial.message,
        "Rate limit reached: at most 60 requests in 1m0s for this caller. Try again in 11.001s."
    );
    assert_eq!(value(&denial.headers, "retry-after"), "12");
    assert_eq!(value(&denial.headers, "retry-after-ms"), "11001");
    // The headers show the bucket that refused, not the other one that is as empty.
    assert_eq!(value(&denial.headers, "x-ratelimit-limit-requests"), "60");
    assert_eq!(
        value(&denial.headers, "x-ratelimit-reset-requests"),
        "11.001s"
    );
}

#[test]
fn too_many_tokens_have_a_code_of_their_own() {
    let denial = usual()
        .decide(&late(), &[status("tokens", false, 7, 30_000)])
        .unwrap_err();
    assert_eq!(
        (denial.status, denial.code.as_str()),
        (429, "tokens_rate_limited")
    );
    assert_eq!(
        denial.message,
        "Rate limit reached: at most 90000 tokens in 1m0s. Try again in 30s."
    );
    assert_eq!(value(&denial.headers, "x-ratelimit-remaining-tokens"), "7");
}

#[test]
fn too_many_streams_have_a_code_of_their_own() {
    let denial = usual()
        .decide(&late(), &[status("streams", false, 0, 0)])
        .unwrap_err();
    assert_eq!(
        (denial.status, denial.code.as_str()),
        (429, "concurrency_exceeded")
    );
    assert_eq!(
        denial.message,
        "Too many concurrent streams: at most 4 for this caller. Try again in 1s."
    );
    assert_eq!(value(&denial.headers, "retry-after"), "1");
    assert_eq!(value(&denial.headers, "retry-after-ms"), "1000");
}

#[test]
fn of_several_refusals_the_longest_is_told() {
    let statuses = [
        status("streams", false, 0, 10),
        status("tokens", false, 0, 2500),
        status("minute", false, 0, 900),
    ];
    let denial = usual().decide(&late(), &statuses).unwrap_err();
    assert_eq!(denial.code, "tokens_rate_limited");
    assert_eq!(value(&denial.headers, "retry-after"), "3");
}

#[test]
fn a_refusal_by_a_rule_nobody_knows_is_still_a_refusal() {
    let denial = usual()
        .decide(&late(), &[status("?", false, 0, 20)])
        .unwrap_err();
    assert_eq!((denial.status, denial.code.as_str()), (429, "rate_limited"));
    assert_eq!(value(&denial.headers, "retry-after"), "1");
}

#[test]
fn several_words_are_a_bucket_for_each_combination() {
    let rule = json!({"name": "r", "unit": "requests", "limit": 9, "per": ["caller", "model"]});
    let asked = |model: Option<&str>| {
        let model = model.map(str::to_owned);
        bucket(&rule, &Ask { model, ..late() })
    };
    assert_eq!(asked(Some("codex-5")), "ann\ncodex-5");
    assert_ne!(asked(Some("codex-5")), asked(Some("codex-5-high")));
    assert_eq!(asked(None), "", "where no model is asked for");
    let denial = rules(&json!([rule]))
        .decide(&late(), &[status("r", false, 0, 1000)])
        .unwrap_err();
    assert!(
        denial.message.contains("for this caller and model."),
        "{}",
        denial.message
    );
}

#[test]
fn a_request_larger_than_the_limit_is_told_so_and_not_to_wait() {
    let ask = Ask {
        estimated_tokens: 90_001,
        ..late()
    };
    let statuses = [
        status("minute", false, 0, 900_000),
        status("tokens", false, 90_000, 0),
    ];
    let denial = usual().decide(&ask, &statuses).unwrap_err();
    assert_eq!(
        (denial.status, denial.kind.as_str(), denial.code.as_str()),
        (400, "invalid_request_error", "tokens_exceed_limit")
    );
    assert!(
        denial.message.starts_with(
            "This request may take 90001 tokens, prompt and answer, and can never be granted: the limit is 90000 \
             tokens in 1m0s."
        ),
        "{}",
        denial.message
    );
    assert_eq!(value(&denial.headers, "retry-after"), "");
    assert_eq!(value(&denial.headers, "x-ratelimit-limit-tokens"), "90000");
}
