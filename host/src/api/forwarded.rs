//! Parses the addresses in `X-Forwarded-For` and in RFC 7239's `Forwarded`.

use std::net::{IpAddr, Ipv6Addr};

use axum::http::HeaderMap;

/// One element: an address, or none (`unknown`, `_hidden`, no address at all).
pub(super) type Hop = Option<IpAddr>;

/// The hops of `X-Forwarded-For`, the nearest first.
pub(super) fn x_forwarded_for(headers: &HeaderMap) -> Vec<Hop> {
    elements(headers, "x-forwarded-for")
        .map(|element| node(element?))
        .collect()
}

/// The hops of `Forwarded`, the nearest first; none if no element has a `for` (only `proto`, `host`, `by`).
pub(super) fn forwarded(headers: &HeaderMap) -> Vec<Hop> {
    let mut names_any = false;
    let hops = elements(headers, "forwarded").map(|element| {
        let parameter = parameter(element?, "for")?;
        names_any = true;
        node(parameter)
    });
    let hops: Vec<Hop> = hops.collect();
    if names_any { hops } else { Vec::new() }
}

/// The elements of a list header, the nearest first: `None` for one that is not UTF-8; empty ones are left out.
///
/// Every comma ends an element, also within quotes: an address needs none, and a quote that a client left open must not
/// swallow what its proxy appended.
fn elements<'a>(
    headers: &'a HeaderMap,
    name: &'static str,
) -> impl Iterator<Item = Option<&'a str>> {
    let lines = headers.get_all(name).iter().rev();
    lines
        .flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','))
        .map(|element| std::str::from_utf8(element).ok().map(str::trim))
        .filter(|element| *element != Some(""))
}

/// The value of a parameter of one element; none if the parameter is repeated.
fn parameter<'a>(element: &'a str, wanted: &str) -> Option<&'a str> {
    let pairs = element.split(';').filter_map(|pair| pair.split_once('='));
    let mut values = pairs.filter(|(name, _)| name.trim().eq_ignore_ascii_case(wanted));
    let (_, value) = values.next()?;
    values.next().is_none().then(|| value.trim())
}

/// Parses an address: with or without brackets, port, zone and quotes.
fn node(text: &str) -> Hop {
    let unquoted = text.strip_prefix('"').map(|rest| rest.strip_suffix('"'));
    let text = unquoted.unwrap_or(Some(text))?.trim();
    let (address, port) = if let Some(rest) = text.strip_prefix('[') {
        let (address, rest) = rest.split_once(']')?;
        let port = if rest.is_empty() {
            None
        } else {
            Some(rest.strip_prefix(':')?)
        };
        (address, port)
    } else {
        match text.split_once(':') {
            Some((address, port)) if !port.contains(':') => (address, Some(port)),
            _ => (text, None),
        }
    };
    port.is_none_or(is_port).then(|| parse(address))?
}

/// A number, or a word in place of one (RFC 7239, §6.3).
fn is_port(text: &str) -> bool {
    match text.strip_prefix('_') {
        Some(word) => word
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)),
        None => text.len() <= 5 && text.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

/// Parses an address without its zone: an IPv6 zone has a meaning on the proxy's machine only.
fn parse(address: &str) -> Hop {
    match address.split_once('%') {
        Some((address, _)) => address.parse::<Ipv6Addr>().ok().map(IpAddr::from),
        None => address.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(name: &'static str, lines: &[&[u8]]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(name, HeaderValue::from_bytes(line).unwrap());
        }
        headers
    }

    fn hops(hops: Vec<Hop>) -> Vec<String> {
        hops.into_iter()
            .map(|hop| hop.map_or_else(|| "-".to_owned(), |hop| hop.to_string()))
            .collect()
    }

    #[test]
    fn an_address_is_read_in_every_spelling_proxies_send() {
        for (written, address) in [
            ("203.0.113.11", "203.0.113.11"),
            ("203.0.113.11:50001", "203.0.113.11"),
            ("  203.0.113.11:1 ", "203.0.113.11"),
            ("\"203.0.113.11:443\"", "203.0.113.11"),
            ("203.0.113.11:_port", "203.0.113.11"),
            ("2001:db8::a", "2001:db8::a"),
            ("[2001:db8::a]", "2001:db8::a"),
            ("[2001:db8::7]:443", "2001:db8::7"),
            ("\"[2001:DB8::7]:443\"", "2001:db8::7"),
            ("fe80::1%eth0", "fe80::1"),
            ("[fe80::1%25eth0]:8443", "fe80::1"),
            ("::ffff:203.0.113.11", "::ffff:203.0.113.11"),
        ] {
            let expected: IpAddr = address.parse().unwrap();
            assert_eq!(node(written), Some(expected), "{written}");
        }
        for written in [
            "unknown",
            "_hidden",
            "_SEVKISEK",
            "203.0.113.11:x",
            "203.0.113.11:123456",
            "203.0.113.256",
            "203.0.113.11%eth0",
            "[2001:db8::7",
            "[2001:db8::7]443",
            "\"203.0.113.11",
            "203.0.113.11\"",
            "example.com",
            "http://203.0.113.11",
            "",
        ] {
            assert_eq!(node(written), None, "{written}");
        }
    }

    #[test]
    fn empty_elements_do_not_count_and_lines_are_one_list() {
        let lines: [&[u8]; 3] = [b"192.0.2.1,, 192.0.2.2 ,", b"", b" ,\xff, 192.0.2.3:1,"];
        let read = x_forwarded_for(&headers("x-forwarded-for", &lines));
        assert_eq!(hops(read), ["192.0.2.3", "-", "192.0.2.2", "192.0.2.1"]);
    }

    #[test]
    fn forwarded_is_read_as_rfc_7239_has_it() {
        for (line, expected) in [
            ("for=192.0.2.43", vec!["192.0.2.43"]),
            ("For=\"[2001:db8::7]:443\"", vec!["2001:db8::7"]),
            (
                "for=192.0.2.43, for=198.51.100.17;proto=http;by=203.0.113.43",
                vec!["198.51.100.17", "192.0.2.43"],
            ),
            (
                "proto=https; FOR = \"192.0.2.1:80\" ;host=\"a\",",
                vec!["192.0.2.1"],
            ),
            ("for=192.0.2.1, for=unknown", vec!["-", "192.0.2.1"]),
            ("for=192.0.2.1, for=_hidden", vec!["-", "192.0.2.1"]),
            ("for=192.0.2.1, proto=https", vec!["-", "192.0.2.1"]),
            ("for=192.0.2.1;for=192.0.2.2", vec![]),
            ("proto=https;host=example.com", vec![]),
            ("", vec![]),
        ] {
            let read = forwarded(&headers("forwarded", &[line.as_bytes()]));
            assert_eq!(hops(read), expected, "{line}");
        }
    }

    #[test]
    fn a_quote_a_client_left_open_does_not_hide_what_its_proxy_appended() {
        for begun in ["for=\"192.0.2.66", "for=192.0.2.66;x=\"\\", "x=\"y;"] {
            let line = format!("{begun}, for=\"[2001:db8::7]:443\"");
            let read = forwarded(&headers("forwarded", &[line.as_bytes()]));
            assert_eq!(read[0], "2001:db8::7".parse().ok(), "{line}");
        }
    }
}
