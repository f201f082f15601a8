//! Tests that hold for every dialect, and what the tests of each share.

pub(super) mod golden;
mod nulls;

use serde_json::Value;

use super::ApiError;

/// Asserts that `body` was refused as invalid, with this code and param, and in a sentence.
pub(super) fn assert_invalid(error: &ApiError, body: &Value, code: &str, param: &str) {
    let found = (&*error.code, error.param.as_deref());
    assert_eq!(found, (code, Some(param)), "{body}: {error}");
    let found = (error.status, &*error.kind);
    assert_eq!(found, (400, "invalid_request_error"), "{body}");
    assert!(error.message.ends_with('.'), "{error}");
}
