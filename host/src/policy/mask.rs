//! Masks what a record on disk must not have: values of headers and parameters whose names say that they are secret.

use super::Header;
use super::bindings::Request;

/// The text in place of a secret.
const MASK: &str = "***";
/// Parts of the names of secrets. A name too many costs a replay a detail, one too few would cost a key.
const SECRET: [&str; 12] = [
    "auth",
    "cookie",
    "credential",
    "jwt",
    "key",
    "pass",
    "pwd",
    "secret",
    "session",
    "sig",
    "ticket",
    "token",
];

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET.iter().any(|part| name.contains(part))
}

/// The request, with secrets in its headers and its query masked.
pub(super) fn masked_request(request: Request) -> Request {
    Request {
        headers: masked_headers(request.headers),
        query: request.query.as_deref().map(masked_query),
        ..request
    }
}

/// The headers, with the values of secret ones masked.
pub(super) fn masked_headers(headers: Vec<Header>) -> Vec<Header> {
    let headers = headers.into_iter();
    let masked = headers.map(|(name, value)| match is_secret(&name) {
        true => (name, MASK.to_owned()),
        // Addresses of requests are in some: `referer`, `x-forwarded-uri`.
        false => match value.split_once('?') {
            Some((path, query)) => (name, format!("{path}?{}", masked_query(query))),
            None => (name, value),
        },
    });
    masked.collect()
}

fn masked_query(query: &str) -> String {
    let parts = query.split('&').map(|part| match part.split_once('=') {
        Some((name, _)) if is_secret(name) => format!("{name}={MASK}"),
        _ => part.to_owned(),
    });
    parts.collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked_by_their_names() {
        let header = |name: &str| (name.to_owned(), "sk-1".to_owned());
        let names = ["x-api-key", "X-Auth-Token", "user-agent", "x-forwarded-for"];
        let masked = masked_headers(names.map(header).to_vec());
        let values: Vec<_> = masked.iter().map(|(_, value)| value.as_str()).collect();
        assert_eq!(values, [MASK, MASK, "sk-1", "sk-1"]);
        let referer = ("referer".to_owned(), "http://x/?key=sk-1&b=2".to_owned());
        let masked = masked_headers(vec![referer]);
        assert_eq!(masked[0].1, "http://x/?key=***&b=2");
        let query = "api_key=sk-1&page=2&flag&access_token=sk-1&key=a=b";
        let masked = "api_key=***&page=2&flag&access_token=***&key=***";
        assert_eq!(masked_query(query), masked);
    }
}
