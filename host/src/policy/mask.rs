//! Masks what records, reports and explanations must not have: values of headers and parameters whose names say that they are
//! secret.

use super::Header;
use super::bindings::Request;

/// The text in place of a secret.
const MASK: &str = "***";
/// Parts of the names of secrets. A name too many costs a replay a detail, one too few would cost a key.
const SECRET: [&str; 14] = [
    "auth",
    "cookie",
    "credential",
    "csrf",
    "jwt",
    "key",
    "pass",
    "pwd",
    "secret",
    "session",
    "sig",
    "ticket",
    "token",
    "xsrf",
];

/// Names of secrets that are parts of other names: those of OAuth's answers, for example.
const WHOLE: [&str; 4] = ["code", "otp", "pin", "state"];

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET.iter().any(|part| name.contains(part)) || WHOLE.contains(&name.as_str())
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
        false => (name, masked_url(&value)),
    });
    masked.collect()
}

/// Addresses of requests are in some headers: `referer`, `x-forwarded-uri`.
fn masked_url(url: &str) -> String {
    let (place, query) = match url.split_once('?') {
        Some((place, query)) => (place, Some(masked_query(query))),
        None => (url, None),
    };
    let place = match user(place) {
        Some(user) => place.replacen(user, MASK, 1),
        None => place.to_owned(),
    };
    match query {
        Some(query) => format!("{place}?{query}"),
        None => place,
    }
}

/// The name and the password in an address: `user:password` of `http://user:password@host/`.
fn user(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let (user, _) = authority.rsplit_once('@')?;
    Some(user).filter(|user| !user.is_empty())
}

fn masked_query(query: &str) -> String {
    let parts = query.split_inclusive(['&', ';']).map(|part| {
        let end = part.strip_suffix(['&', ';']).unwrap_or(part).len();
        let (part, separator) = part.split_at(end);
        match part.split_once('=') {
            Some((name, value)) if is_secret(&decoded(name)) || has_secret(value) => {
                format!("{name}={MASK}{separator}")
            }
            _ => format!("{part}{separator}"),
        }
    });
    parts.collect()
}

/// Whether the value of a parameter is itself an address with secrets, encoded or not.
fn has_secret(value: &str) -> bool {
    // It may have been encoded twice.
    let value = decoded(&decoded(value));
    let mut parts = value.split(['?', '&', ';', '#']);
    let is_named = |part: &str| {
        part.split_once('=')
            .is_some_and(|(name, _)| is_secret(name))
    };
    user(&value).is_some() || parts.any(is_named)
}

/// A text with `%6b` as `k`, as the receiver of a query reads it.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let code = (*first == b'%').then(|| after.get(..2)).flatten();
        let code =
            code.and_then(|code| u8::from_str_radix(std::str::from_utf8(code).ok()?, 16).ok());
        bytes.push(code.unwrap_or(*first));
        rest = code.and_then(|_| after.get(2..)).unwrap_or(after);
    }
    String::from_utf8_lossy(&bytes).into_owned()
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

    #[test]
    fn secrets_are_masked_however_they_are_written() {
        for (query, masked) in [
            ("a=b;key=sk-1;c", "a=b;key=***;c"),
            ("k%65y=sk-1", "k%65y=***"),
            ("next=/x?token=sk-1", "next=***"),
            ("next=%2Fx%3Ftoken%3Dsk-1&a=1", "next=***&a=1"),
            ("next=%252Fx%253Ftoken%253Dsk-1", "next=***"),
            ("next=https%3A%2F%2Fuser%3Ask-1%40host%2F", "next=***"),
            (
                "code=sk-1&state=sk-1&country_code=de",
                "code=***&state=***&country_code=de",
            ),
            ("%zz=1&%=2&&", "%zz=1&%=2&&"),
        ] {
            assert_eq!(masked_query(query), masked);
        }
        for (url, masked) in [
            ("http://user:sk-1@host/a", "http://***@host/a"),
            ("http://host/a@b", "http://host/a@b"),
            ("/a?x=1", "/a?x=1"),
            ("text/html;q=0.8", "text/html;q=0.8"),
        ] {
            assert_eq!(masked_url(url), masked);
        }
    }
}
