//! Makes denials, callers and grants: the usual ones by name, others by their parts.

use crate::auth::Grant;
use crate::{Caller, Denial};

impl Denial {
    /// A denial of these parts: the HTTP status from 400 to 599, OpenAI's `error.type` and `error.code`, and a text for a
    /// person.
    #[must_use]
    pub fn new(status: u16, kind: &str, code: &str, message: impl Into<String>) -> Self {
        Self {
            status,
            kind: kind.to_owned(),
            code: code.to_owned(),
            message: message.into(),
            param: None,
            headers: Vec::new(),
        }
    }

    /// 400: the request is wrong, and always will be.
    #[must_use]
    pub fn invalid(code: &str, message: impl Into<String>) -> Self {
        Self::new(400, "invalid_request_error", code, message)
    }

    /// 401 `invalid_api_key`: the caller is unknown.
    #[must_use]
    pub fn unauthorized(message: impl Into<String>) -> Self {
        Self::new(401, "authentication_error", "invalid_api_key", message)
    }

    /// 403 `forbidden`: the caller is known, and may not do this.
    #[must_use]
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(403, "permission_error", "forbidden", message)
    }

    /// 404 `model_not_found`: there is no such model, or not for this caller.
    #[must_use]
    pub fn model_not_found(message: impl Into<String>) -> Self {
        Self::new(404, "invalid_request_error", "model_not_found", message).with_param("model")
    }

    /// 429 `rate_limited`: the caller must wait, for so many milliseconds. If they are 0 the time is not known, and one
    /// second is said.
    #[must_use]
    pub fn rate_limited(message: impl Into<String>, wait_ms: u64) -> Self {
        let wait_ms = if wait_ms == 0 { 1000 } else { wait_ms };
        // Some clients read seconds, others milliseconds.
        Self::new(429, "rate_limit_error", "rate_limited", message)
            .with_header("retry-after", wait_ms.div_ceil(1000).to_string())
            .with_header("retry-after-ms", wait_ms.to_string())
    }

    /// 503 `policy_unavailable`: the policy cannot serve the request.
    #[must_use]
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(503, "server_error", "policy_unavailable", message)
    }

    /// With another `error.code`.
    #[must_use]
    pub fn with_code(self, code: &str) -> Self {
        Self {
            code: code.to_owned(),
            ..self
        }
    }

    /// With the request field that caused the denial.
    #[must_use]
    pub fn with_param(self, param: &str) -> Self {
        Self {
            param: Some(param.to_owned()),
            ..self
        }
    }

    /// With a further response header; the contract's README lists those that a policy may set.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }
}

impl Caller {
    /// A caller without a tenant and groups.
    #[must_use]
    pub fn new(id: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            ..Self::default()
        }
    }
}

impl Grant {
    /// Permission with the headers `x-auth-caller`, `x-auth-tenant` and `x-auth-groups`, the groups joined by commas.
    ///
    /// Empty headers are sent too: a proxy overwrites only the headers it receives, and a client can invent the others.
    #[must_use]
    pub fn of(caller: Caller) -> Self {
        let headers = [
            ("x-auth-caller", caller.id.clone()),
            ("x-auth-tenant", caller.tenant.clone().unwrap_or_default()),
            ("x-auth-groups", caller.groups.join(",")),
        ];
        let headers = headers.map(|(name, value)| (name.to_owned(), value)).into();
        Self { caller, headers }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_told_in_seconds_rounded_up_and_in_milliseconds() {
        for (ms, seconds, exact) in [
            (1, "1", "1"),
            (1000, "1", "1000"),
            (1001, "2", "1001"),
            (0, "1", "1000"),
            (u64::MAX, "18446744073709552", "18446744073709551615"),
        ] {
            let headers = Denial::rate_limited("Later.", ms).headers;
            let expected = [("retry-after", seconds), ("retry-after-ms", exact)];
            let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
            assert_eq!(headers, expected);
        }
    }

    #[test]
    fn a_grant_always_carries_the_three_identity_headers() {
        let headers = |caller: Caller| {
            let headers = Grant::of(caller).headers.into_iter();
            headers.map(|(_, value)| value).collect::<Vec<_>>()
        };
        let ann = Caller {
            tenant: Some("acme".to_owned()),
            groups: vec!["ops".to_owned(), "beta".to_owned()],
            ..Caller::new("ann")
        };
        assert_eq!(headers(ann), ["ann", "acme", "ops,beta"]);
        assert_eq!(headers(Caller::new("bob")), ["bob", "", ""]);
    }
}
