//! Reads the credential of a request: in `Authorization`, or in the headers of Anthropic's and Azure's clients.

use std::borrow::Cow;

use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue};

use crate::policy::Presented;
use crate::secret::fingerprint;

/// The headers in which Anthropic's and Azure's clients send their key, the first that is there counts.
pub(super) const API_KEYS: [HeaderName; 2] = [
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("api-key"),
];

/// The text of a header that holds a secret. Two such headers give an empty text: proxies disagree on which one counts.
fn secret<'a>(parts: &'a Parts, name: &HeaderName) -> Option<&'a str> {
    let mut values = parts.headers.get_all(name).iter();
    let value: &HeaderValue = values.next()?;
    let text = match values.next() {
        Some(_) => "",
        None => value.to_str().unwrap_or_default(),
    };
    Some(text.trim())
}

/// The credential in `x-api-key` or `api-key`: for policies the same as a bearer token.
pub(super) fn api_key(parts: &Parts) -> Option<Presented<'_>> {
    let key = API_KEYS.iter().find_map(|name| secret(parts, name))?;
    Some(Presented {
        scheme: "Bearer",
        fingerprint: Cow::from(fingerprint(key.as_bytes())),
        secret: Some(key),
    })
}

/// The credential in `Authorization`.
pub(super) fn authorization(parts: &Parts) -> Option<Presented<'_>> {
    let text = secret(parts, &AUTHORIZATION)?;
    let (scheme, secret) = match text.split_once([' ', '\t']) {
        Some(both) => both,
        None if ["bearer", "basic"].contains(&&*text.to_ascii_lowercase()) => (text, ""),
        // A key that was sent without a scheme is still a secret; a scheme is recorded.
        None => ("", text),
    };
    let secret = secret.trim();
    Some(Presented {
        scheme,
        fingerprint: Cow::from(fingerprint(secret.as_bytes())),
        secret: Some(secret),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::client_addr;

    #[test]
    fn credentials_are_split_in_any_spelling_and_duplicates_are_nobody() {
        let parts = |values: &[&str]| {
            let mut request = axum::http::Request::builder();
            for value in values {
                request = request.header(AUTHORIZATION, *value);
            }
            request.body(()).unwrap().into_parts().0
        };
        assert!(authorization(&parts(&[])).is_none());
        for (value, scheme, secret) in [
            ("bearer   abc ", "bearer", "abc"),
            ("sk-bare", "", "sk-bare"),
            ("Bearer", "Bearer", ""),
        ] {
            let one = parts(&[value]);
            let one = authorization(&one).unwrap();
            assert_eq!((one.scheme, one.secret), (scheme, Some(secret)));
        }
        let two = parts(&["Bearer a", "Bearer b"]);
        let two = authorization(&two).unwrap();
        assert_eq!((two.scheme, two.secret), ("", Some("")));
    }

    #[test]
    fn a_key_in_another_header_is_a_bearer_token_unless_there_is_one() {
        let key = ("x-api-key", "sk-a");
        for (headers, scheme, secret) in [
            (&[key][..], "Bearer", "sk-a"),
            (&[("api-key", "sk-c")], "Bearer", "sk-c"),
            (&[("api-key", "sk-c"), key], "Bearer", "sk-a"),
            (&[key, key], "Bearer", ""),
            (&[key, ("authorization", "bearer sk-b")], "bearer", "sk-b"),
        ] {
            let mut request = axum::http::Request::builder();
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let parts = request.body(()).unwrap().into_parts().0;
            let described = client_addr::describe_clients(&parts, "id", "");
            assert!(described.headers.is_empty(), "{:?}", described.headers);
            let given = described.credential.unwrap();
            assert_eq!((given.scheme, given.secret), (scheme, Some(secret)));
        }
    }
}
