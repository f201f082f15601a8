//! The answer for each failure, without internals.

use super::*;

const SECRET: &str = "http://10.0.0.7:8080 sk-secret";

fn upstream(cause: Cause) -> turn::Error {
    turn::Error::Codex(codex::Error::Upstream {
        cause,
        status: Some(418),
        message: SECRET.to_owned(),
        named: codex::Named::default(),
    })
}

fn overrun(timer: Timer) -> turn::Error {
    turn::Error::Timeout { timer, after_ms: 5 }
}

/// Every kind of failure, with status, type and code.
fn failures() -> Vec<(turn::Error, u16, &'static str, &'static str)> {
    let method = "turn/start";
    let secret = || SECRET.to_owned();
    let rpc = codex::Error::Rpc {
        method,
        code: -32600,
        message: secret(),
    };
    let late = codex::Error::RpcTimeout {
        method,
        after_ms: 5,
    };
    let codex = turn::Error::Codex;
    let (invalid, server) = ("invalid_request_error", "server_error");
    let (backend, timeout) = ("backend_unavailable", "timeout_error");
    #[rustfmt::skip]
    let failures = vec![
        (upstream(Cause::ContextLength), 400, invalid, "context_length_exceeded"),
        (upstream(Cause::ModelNotFound), 404, invalid, "model_not_found"),
        (upstream(Cause::RateLimited), 429, "rate_limit_error", "rate_limit_exceeded"),
        (upstream(Cause::Quota), 429, "insufficient_quota", "insufficient_quota"),
        (upstream(Cause::Overloaded), 503, server, "overloaded"),
        (upstream(Cause::InvalidRequest), 400, invalid, "invalid_request_error"),
        (upstream(Cause::ContentPolicy), 400, invalid, "content_policy_violation"),
        (upstream(Cause::Credential), 503, server, "backend_unauthorized"),
        (upstream(Cause::Unreachable), 502, server, "upstream_error"),
        (upstream(Cause::Disconnected), 502, server, "upstream_error"),
        (upstream(Cause::Internal), 502, server, "upstream_error"),
        (codex(codex::Error::Unavailable(secret())), 503, backend, "worker_not_ready"),
        (codex(codex::Error::Busy), 503, backend, "worker_busy"),
        (codex(codex::Error::NotSignedIn), 503, server, "codex_not_signed_in"),
        (codex(codex::Error::WorkerExited(secret())), 503, backend, "worker_exited"),
        (codex(late), 504, timeout, "worker_request_timeout"),
        (codex(rpc), 502, server, "worker_error"),
        (codex(codex::Error::SlowReader { limit_bytes: 9 }), 503, server, "slow_reader"),
        (turn::Error::Policy(secret()), 503, server, "policy_unavailable"),
        (overrun(Timer::Total), 504, timeout, "request_timeout"),
        (overrun(Timer::FirstToken), 504, timeout, "first_token_timeout"),
        (overrun(Timer::StreamIdle), 504, timeout, "stream_idle_timeout"),
        (overrun(Timer::Idle), 504, timeout, "idle_timeout"),
        (overrun(Timer::ProtoIdle), 504, timeout, "proto_idle_timeout"),
        (turn::Error::NotJson, 502, server, "answer_not_json"),
        (turn::Error::Restarted(secret()), 502, server, "upstream_restarted"),
        (turn::Error::Interrupted, 502, server, "turn_interrupted"),
        (turn::Error::Draining, 503, server, "shutting_down"),
        (turn::Error::Panicked, 500, server, "internal_error"),
    ];
    failures
}

#[test]
fn every_failure_has_its_answer() {
    for (failure, status, kind, code) in failures() {
        let told = ApiError::from(failure.clone());
        let found = (told.status, &*told.kind, &*told.code);
        assert_eq!(found, (status, kind, code), "{failure:?}");
    }
}

#[test]
fn the_log_and_the_answer_have_the_same_code() {
    for (failure, ..) in failures() {
        let told = ApiError::from(failure.clone());
        assert_eq!(failure.code(), told.code, "{failure:?}");
    }
}

#[test]
fn only_a_message_meant_for_the_client_reaches_it() {
    for (failure, ..) in failures() {
        let meant = failure == upstream(Cause::InvalidRequest);
        let told = ApiError::from(failure).to_json();
        assert_eq!(told.contains(SECRET), meant, "{told}");
    }
}

#[test]
fn clients_are_told_whether_to_try_again() {
    let retry = |failure| ApiError::from(failure).retry_after_ms;
    assert!(retry(turn::Error::Codex(codex::Error::Busy)) > Some(0));
    assert!(retry(turn::Error::Draining) > Some(0));
    let exited = codex::Error::WorkerExited(String::new());
    assert!(retry(turn::Error::Codex(exited)) > Some(0));
    assert_eq!(retry(upstream(Cause::Quota)), None);
    for (failure, never) in [
        (upstream(Cause::Quota), true),
        (upstream(Cause::Credential), true),
        (overrun(Timer::Total), true),
        (overrun(Timer::StreamIdle), false),
        (upstream(Cause::RateLimited), false),
        (upstream(Cause::Overloaded), false),
        (turn::Error::NotJson, false),
    ] {
        let headers = ApiError::from(failure.clone()).headers.clone();
        assert_eq!(headers.contains(&do_not_retry()), never, "{failure}");
    }
}

#[test]
fn a_providers_time_to_wait_is_passed_on() {
    for (message, ms) in [
        ("rate limit exceeded: Please try again in 0.5s.", Some(500)),
        ("Please try again in 20s. Visit https://…", Some(20_000)),
        ("try again in 6m0s", Some(360_000)),
        ("try again in 1h1m1.5s, or later", Some(3_661_500)),
        ("try again in 123ms", Some(123)),
        ("try again in 0s", Some(1)),
        ("try again in 99999999999999999999s", Some(86_400_000)),
        ("try again at 1:04 PM.", None),
        ("try again in a moment", None),
        ("try again in ", None),
        ("try again in 5", None),
        ("try again in 1.2.3s", None),
        ("too many requests", None),
    ] {
        for cause in [Cause::RateLimited, Cause::Overloaded] {
            let failure = turn::Error::Codex(codex::Error::Upstream {
                cause,
                status: None,
                message: message.to_owned(),
                named: codex::Named::default(),
            });
            assert_eq!(ApiError::from(failure).retry_after_ms, ms, "{message}");
        }
    }
}

#[test]
fn a_request_the_provider_finds_too_large_keeps_that_status() {
    for (status, told) in [
        (None, 400),
        (Some(400), 400),
        (Some(413), 413),
        (Some(422), 422),
        (Some(500), 400),
    ] {
        let failure = turn::Error::Codex(codex::Error::Upstream {
            cause: Cause::InvalidRequest,
            status,
            message: "no".to_owned(),
            named: codex::Named::default(),
        });
        assert_eq!(ApiError::from(failure).status, told);
    }
}

#[test]
fn the_code_and_member_that_a_provider_names_reach_the_client() {
    let told = |cause, code: &str, param: &str| {
        let failure = turn::Error::Codex(codex::Error::Upstream {
            cause,
            status: Some(400),
            message: "no".to_owned(),
            named: codex::Named {
                code: Some(code.to_owned()),
                param: Some(param.to_owned()),
            },
        });
        let told = ApiError::from(failure);
        (
            told.code.to_string(),
            told.param.clone().unwrap_or_default(),
        )
    };
    for (param, chats) in [
        ("input[2].call_id", "messages"),
        ("input", "messages"),
        ("instructions", "messages"),
        ("reasoning.effort", "reasoning_effort"),
        ("text.format.schema", "response_format"),
        ("text.verbosity", "verbosity"),
        ("tools[0].parameters", "tools[0].parameters"),
        ("inputs", "inputs"),
        ("service_tier", "service_tier"),
    ] {
        let found = told(Cause::InvalidRequest, "string_above_max_length", param);
        let expected = ("string_above_max_length".to_owned(), chats.to_owned());
        assert_eq!(found, expected);
    }
    for (cause, code, param) in [
        (Cause::ContextLength, "context_length_exceeded", "messages"),
        (Cause::ContentPolicy, "content_policy_violation", "messages"),
        (Cause::Credential, "backend_unauthorized", ""),
    ] {
        let expected = (code.to_owned(), param.to_owned());
        assert_eq!(told(cause, "odd", "input[0].content"), expected);
    }
}

#[test]
fn a_dialect_has_its_own_names() {
    let words = [("messages", "input")];
    let told = ApiError::from(upstream(Cause::ContextLength)).in_words(&words);
    assert_eq!(told.param.as_deref(), Some("input"));
    let told = ApiError::from(upstream(Cause::ModelNotFound)).in_words(&words);
    assert_eq!(told.param.as_deref(), Some("model"));
    assert_eq!(
        ApiError::from(turn::Error::Draining).in_words(&words).param,
        None
    );
}

#[test]
fn the_json_always_has_all_four_members() {
    let error = ApiError::new(418, "teapot", "short", "I'm a \"teapot\"");
    let expected =
        r#"{"error":{"message":"I'm a \"teapot\"","type":"teapot","param":null,"code":"short"}}"#;
    assert_eq!(error.to_json(), expected);
    assert_eq!(error.to_string(), "418 short: I'm a \"teapot\"");
    let told = ApiError::from(upstream(Cause::ContextLength));
    assert_eq!(told.param.as_deref(), Some("messages"));
}
