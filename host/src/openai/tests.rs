//! Tests that hold for every dialect, and what the tests of each share.

pub(super) mod golden;
mod mutated;
mod nulls;

use serde_json::Value;

use super::ApiError;
use crate::codex::tests::said;
use crate::codex::{Plan, Role};
use crate::turn::Rules;

/// Asserts that `body` was refused as invalid, with this code and param, and in a sentence.
pub(super) fn assert_invalid(error: &ApiError, body: &Value, code: &str, param: &str) {
    let found = (&*error.code, error.param.as_deref());
    assert_eq!(found, (code, Some(param)), "{body}: {error}");
    let found = (error.status, &*error.kind);
    assert_eq!(found, (400, "invalid_request_error"), "{body}");
    assert!(error.message.ends_with('.'), "{error}");
}

/// Asserts the plan of a request that says "hi" and nothing else, for the model `gpt-6-sol` with effort `low` at `proxy`.
pub(super) fn assert_smallest(plan: &Plan, rules: &Rules) {
    let expected = Plan {
        model: "gpt-6-sol".to_owned(),
        effort: Some("low".to_owned()),
        provider: Some("proxy".to_owned()),
        history: vec![said(Role::User, "hi")],
        ..Plan::default()
    };
    assert_eq!(*plan, expected);
    let expected = Rules {
        prompt_tokens_estimate: 1,
        ..Rules::default()
    };
    assert_eq!(*rules, expected);
}
