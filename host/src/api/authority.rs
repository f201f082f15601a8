//! Reads the host that a request is for: exactly one, valid, and without user information.

use std::net::Ipv6Addr;

use axum::http::header::HOST;
use axum::http::{HeaderMap, Uri, Version};

/// A host, and a port if there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Authority<'a> {
    /// An IPv6 address is in brackets; empty if the request is for no host in particular.
    pub(super) host: &'a str,
    port: Option<u16>,
}

/// The reason why the host of a request is unclear.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unclear {
    #[error("Expected one `Host` header, found none.")]
    Missing,
    #[error("Expected one `Host` header, found several.")]
    Repeated,
    #[error(
        "Expected `Host` to be a host and possibly a port (gateway.example:443), found something else."
    )]
    Invalid,
    #[error("`Host` and the target of the request name different hosts.")]
    Different,
}

impl<'a> Authority<'a> {
    /// Parses the value of `Host` (RFC 9110, §7.2). User information before `@` is invalid: it makes one host look like another.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let end = match text.strip_prefix('[') {
            Some(rest) => rest.find(']')? + 2,
            None => text.find(':').unwrap_or(text.len()),
        };
        let (host, rest) = text.split_at(end);
        let port = match rest.strip_prefix(':') {
            None if rest.is_empty() => None,
            Some("") => None,
            Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
                Some(port.parse().ok()?)
            }
            _ => return None,
        };
        let valid = match host.strip_prefix('[') {
            Some(address) => address.trim_end_matches(']').parse::<Ipv6Addr>().is_ok(),
            None => host.bytes().all(is_of_a_name),
        };
        valid.then_some(Self { host, port })
    }

    /// Whether both are the same host and port; the default ports 80 and 443 may be left out.
    fn is(&self, other: &Self) -> bool {
        let port = |authority: &Self| authority.port.filter(|port| ![80, 443].contains(port));
        self.host.eq_ignore_ascii_case(other.host) && port(self) == port(other)
    }
}

/// RFC 3986 allows a comma too; it is refused here because a server on the way may join two headers with a comma.
fn is_of_a_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+;=%".contains(&byte)
}

/// The host named in the head of a request: in its target or in `Host`. Before HTTP/1.1 it may be absent.
///
/// # Errors
/// If the head names no host, several, or an invalid one: RFC 9112, §3.2, and RFC 9113, §8.3.1.
pub(super) fn named<'a>(
    version: Version,
    uri: &'a Uri,
    headers: &'a HeaderMap,
) -> Result<Option<Authority<'a>>, Unclear> {
    let parse = |text| Authority::parse(text).ok_or(Unclear::Invalid);
    let mut values = headers.get_all(HOST).iter();
    let value = values.next();
    if values.next().is_some() {
        return Err(Unclear::Repeated);
    }
    let host = value.map(|value| value.to_str().map_err(|_| Unclear::Invalid).and_then(parse));
    let target = uri.authority().map(|authority| parse(authority.as_str()));
    match (target.transpose()?, host.transpose()?) {
        (Some(target), Some(host)) if !target.is(&host) => Err(Unclear::Different),
        (None, None) if version >= Version::HTTP_11 => Err(Unclear::Missing),
        (target, host) => Ok(target.or(host)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(version: Version, target: &str, hosts: &[&str]) -> Result<String, Unclear> {
        let mut headers = HeaderMap::new();
        for host in hosts {
            headers.append(HOST, host.parse().unwrap());
        }
        let uri: Uri = target.parse().unwrap();
        let named = named(version, &uri, &headers)?;
        Ok(named.map_or_else(|| "-".to_owned(), |authority| authority.host.to_owned()))
    }

    #[test]
    fn a_host_may_have_a_port_and_nothing_else() {
        for (text, host, port) in [
            ("localhost", "localhost", None),
            ("gateway.example:443", "gateway.example", Some(443)),
            ("127.0.0.1:11435", "127.0.0.1", Some(11435)),
            ("[::1]:80", "[::1]", Some(80)),
            ("[2001:db8::7]", "[2001:db8::7]", None),
            ("a_b-c.example:", "a_b-c.example", None),
            ("", "", None),
        ] {
            assert_eq!(
                Authority::parse(text),
                Some(Authority { host, port }),
                "{text}"
            );
        }
        for text in [
            "user@localhost",
            "user:pass@localhost:80",
            "@localhost",
            "localhost:port",
            "localhost:-1",
            "localhost:+80",
            "localhost:65536",
            "localhost:1:2",
            "::1",
            "[::1",
            "[::1]x",
            "[localhost]",
            "localhost, evil.example",
            "a,b",
            "a b",
            "a/b",
            "http://a",
            "a?b",
            "a#b",
            "a\\b",
        ] {
            assert_eq!(Authority::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_request_is_for_one_host() {
        use Unclear::*;
        let clear = |host: &str| Ok(host.to_owned());
        let (old, one, two) = (Version::HTTP_10, Version::HTTP_11, Version::HTTP_2);
        for (version, target, hosts, expected) in [
            (one, "/v1/models", &["a:1"][..], clear("a")),
            (one, "/", &[""], clear("")),
            (one, "http://a/x", &["A:80"], clear("a")),
            (two, "http://a:8443/x", &[], clear("a")),
            (two, "https://a/x", &["a"], clear("a")),
            (old, "/", &[], clear("-")),
            (one, "/", &[], Err(Missing)),
            (two, "/", &[], Err(Missing)),
            (one, "/", &["a", "a"], Err(Repeated)),
            (old, "/", &["a", "b"], Err(Repeated)),
            (two, "http://a/", &["a", "a"], Err(Repeated)),
            (one, "/", &["user@localhost"], Err(Invalid)),
            (one, "http://user@a/", &["a"], Err(Invalid)),
            (two, "http://user@localhost/", &[], Err(Invalid)),
            (one, "http://a/", &["b"], Err(Different)),
            (two, "http://a/", &["a:81"], Err(Different)),
        ] {
            assert_eq!(
                head(version, target, hosts),
                expected,
                "{version:?} {target} {hosts:?}"
            );
        }
    }
}
