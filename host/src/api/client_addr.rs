//! Describes a request for policies: the client's address behind trusted proxies, the host, the headers.

use std::borrow::Cow;
use std::net::IpAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::ConnectInfo;
use axum::http::header::{AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName};
use ipnet::IpNet;

use super::authority;
use super::canary::OPERATOR;
use super::connection::Peer;
use super::credential::{self, API_KEYS};
use super::forwarded::{Hop, forwarded, x_forwarded_for};
use crate::policy::Described;

/// The proxies whose `X-Forwarded-For` and `Forwarded` are believed, and which may ask for forward authentication.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedProxies(Vec<IpNet>);

/// Named sets of networks, as in Express' proxy-addr.
const NAMED: [(&str, &[&str]); 4] = [
    ("none", &[]),
    ("loopback", &["127.0.0.0/8", "::1/128"]),
    ("linklocal", &["169.254.0.0/16", "fe80::/10"]),
    (
        "uniquelocal",
        &["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"],
    ),
];

/// The networks that a name, a network or an address stands for.
fn networks(item: &str) -> Option<Vec<IpNet>> {
    let named = NAMED
        .iter()
        .find(|(name, _)| item.eq_ignore_ascii_case(name));
    if let Some((_, networks)) = named {
        return networks.iter().map(|net| net.parse().ok()).collect();
    }
    let network = item.parse::<IpNet>().ok();
    let network = network.or_else(|| item.parse::<IpAddr>().ok().map(IpNet::from));
    network.map(|network| vec![network])
}

impl Default for TrustedProxies {
    /// The loopback networks.
    fn default() -> Self {
        Self(networks("loopback").unwrap_or_default())
    }
}

impl TrustedProxies {
    /// No proxies.
    #[must_use]
    pub fn none() -> Self {
        Self(Vec::new())
    }

    /// Parses names, networks and addresses; an empty list is the default.
    ///
    /// # Errors
    /// The item that is none of them.
    pub fn parse(items: &[String]) -> Result<Self, String> {
        if items.is_empty() {
            return Ok(Self::default());
        }
        let mut nets = Vec::new();
        for item in items {
            nets.extend(networks(item).ok_or_else(|| item.clone())?);
        }
        Ok(Self(nets))
    }

    fn contain(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|net| net.contains(&address))
    }

    /// The nearest address that is not a trusted proxy. Addresses beyond it are claims of the client and are not believed.
    fn client(&self, peer: IpAddr, nearest_first: &[Hop]) -> IpAddr {
        let mut client = peer;
        for hop in nearest_first {
            if !self.contain(client) {
                break;
            }
            // An element that is no address ends the search: the addresses beyond it are not believed.
            let Some(hop) = hop else { break };
            client = *hop;
        }
        client.to_canonical()
    }
}

/// Milliseconds since 1970.
pub(super) fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |passed| {
            u64::try_from(passed.as_millis()).unwrap_or(u64::MAX)
        })
}

/// The address of the peer.
fn peer(parts: &Parts) -> Option<IpAddr> {
    let ConnectInfo(peer) = parts.extensions.get::<ConnectInfo<Peer>>()?;
    Some(peer.address.ip())
}

/// Whether the peer is a trusted proxy, so that its headers about other clients are believed.
pub(super) fn is_trusted(parts: &Parts, trusted: &TrustedProxies) -> bool {
    peer(parts).is_some_and(|peer| trusted.contain(peer))
}

/// The address of the client, behind trusted proxies.
///
/// A proxy writes one of the two headers and may pass on the other as the client made it up; nothing in a request shows which
/// one it writes. So neither has precedence: if only one is present, it counts; if both name a client, they must agree.
///
/// # Errors
/// The peer's address, if they do not agree.
fn origin(peer: IpAddr, headers: &HeaderMap, trusted: &TrustedProxies) -> Result<IpAddr, IpAddr> {
    let (ours, standard) = (x_forwarded_for(headers), forwarded(headers));
    let client = trusted.client(peer, if ours.is_empty() { &standard } else { &ours });
    let is_clear =
        ours.is_empty() || standard.is_empty() || client == trusted.client(peer, &standard);
    if is_clear {
        Ok(client)
    } else {
        Err(peer.to_canonical())
    }
}

/// The address of the client behind trusted proxies, as text; the peer's address if the headers disagree.
pub(super) fn address(parts: &Parts, trusted: &TrustedProxies) -> String {
    let Some(peer) = peer(parts) else {
        return String::new();
    };
    let (Ok(address) | Err(address)) = origin(peer, &parts.headers, trusted);
    address.to_string()
}

/// Whether the two headers name different clients, so that it is unknown which one the proxy wrote.
pub(super) fn is_ambiguous(parts: &Parts, trusted: &TrustedProxies) -> bool {
    peer(parts).is_some_and(|peer| origin(peer, &parts.headers, trusted).is_err())
}

/// Whether the request was made on this machine, as far as it can be known: a proxy on this machine that adds no headers looks
/// like a local client. A web page in a local browser is not local, even if its host name resolves to this machine (DNS
/// rebinding).
pub(super) fn is_local(parts: &Parts) -> bool {
    let for_others = ["forwarded", "via", "x-forwarded-for", "x-real-ip", "origin"]
        .iter()
        .any(|name| parts.headers.contains_key(*name));
    // An image or a script of a page has no origin. A person who types the address has `none`.
    let site = parts.headers.get("sec-fetch-site");
    let of_a_page = site.is_some_and(|site| site != "none" && site != "same-origin");
    let is_loopback = |address: IpAddr| address.to_canonical().is_loopback();
    let host = host(parts);
    let address = host.trim_matches(['[', ']']).parse();
    let for_this = host.eq_ignore_ascii_case("localhost") || address.is_ok_and(is_loopback);
    !for_others && !of_a_page && for_this && peer(parts).is_some_and(is_loopback)
}

/// A request of a client as the auth policy gets it: its key may be in `x-api-key` or `api-key`, too, which is then no header of the
/// request any more. `client` is the client's address.
pub(super) fn describe_clients<'a>(
    parts: &'a Parts,
    id: &'a str,
    client: &'a str,
) -> Described<'a> {
    let mut described = describe(parts, id, client);
    described
        .headers
        .retain(|(name, _)| API_KEYS.iter().all(|key| key != name));
    described.credential = described.credential.or_else(|| credential::api_key(parts));
    described
}

/// The request as the auth policy gets it, without the headers that hold secrets. `client` is the client's address.
pub(super) fn describe<'a>(parts: &'a Parts, id: &'a str, client: &'a str) -> Described<'a> {
    const WITHHELD: [HeaderName; 4] = [AUTHORIZATION, PROXY_AUTHORIZATION, COOKIE, OPERATOR];
    let headers = parts.headers.iter();
    let headers = headers.filter(|(name, _)| !WITHHELD.contains(name));
    let mut described = Vec::with_capacity(parts.headers.len());
    described.extend(
        headers.map(|(name, value)| (name.as_str(), String::from_utf8_lossy(value.as_bytes()))),
    );
    Described {
        id,
        method: Cow::from(parts.method.as_str()),
        path: Cow::from(parts.uri.path()),
        query: parts.uri.query().map(Cow::from),
        host: Cow::from(host(parts)),
        client,
        headers: described,
        credential: credential::authorization(parts),
        now_ms: now_ms(),
    }
}

/// The host without its port; empty if none is named. A request that names several is refused before policies are asked.
fn host(parts: &Parts) -> &str {
    let named = authority::named(parts.version, &parts.uri, &parts.headers);
    named.ok().flatten().map_or("", |authority| authority.host)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn client(trusted: &str, peer: &str, forwarded: &[&str]) -> String {
        let items = trusted.split(',').map(|item| item.trim().to_owned());
        let items: Vec<String> = items.collect();
        let hops: Vec<Hop> = forwarded.iter().rev().map(|hop| hop.parse().ok()).collect();
        TrustedProxies::parse(&items)
            .unwrap()
            .client(peer.parse().unwrap(), &hops)
            .to_string()
    }

    #[test]
    fn a_stranger_cannot_choose_its_address() {
        assert_eq!(
            client("loopback", "203.0.113.9", &["10.0.0.1"]),
            "203.0.113.9"
        );
        assert_eq!(client("none", "127.0.0.1", &["10.0.0.1"]), "127.0.0.1");
        assert_eq!(
            client("loopback", "127.0.0.1", &["nonsense", "203.0.113.9"]),
            "203.0.113.9",
            "what the proxy added counts, whatever stands before it"
        );
    }

    #[test]
    fn networks_are_known_by_name() {
        for (trusted, proxy, stranger) in [
            ("linklocal", "169.254.1.1", "10.0.0.1"),
            ("LinkLocal", "fe80::1", "fec0::1"),
            ("uniquelocal", "172.31.0.1", "172.32.0.1"),
            ("loopback, uniquelocal", "fd00::1", "::2"),
            ("uniquelocal", "::ffff:192.168.1.1", "127.0.0.1"),
        ] {
            assert_eq!(client(trusted, proxy, &["203.0.113.9"]), "203.0.113.9");
            assert_eq!(client(trusted, stranger, &["203.0.113.9"]), stranger);
        }
    }

    #[test]
    fn this_machine_is_whoever_asks_it_by_a_name_of_its_own() {
        let from = |peer: &str, host: Option<&str>, origin: Option<&str>| {
            let mut request = axum::http::Request::builder();
            for (name, value) in [("host", host), ("origin", origin)] {
                if let Some(value) = value {
                    request = request.header(name, value);
                }
            }
            let mut parts = request.body(()).unwrap().into_parts().0;
            let peer: std::net::SocketAddr = peer.parse().unwrap();
            parts.extensions.insert(ConnectInfo(Peer::from(peer)));
            is_local(&parts)
        };
        for host in [
            "localhost:11435",
            "LOCALHOST",
            "127.0.0.1:11435",
            "127.1.2.3",
            "[::1]:11435",
        ] {
            assert!(from("127.0.0.1:1", Some(host), None), "{host}");
            assert!(!from("203.0.113.9:1", Some(host), None), "{host}");
            let page = from("127.0.0.1:1", Some(host), Some("http://rebound.example"));
            assert!(!page, "{host}");
        }
        for host in [
            "rebound.example:11435",
            "localhost.rebound.example",
            "127.0.0.1.rebound.example",
            "203.0.113.9",
            "user@localhost",
            "user@127.0.0.1:80",
            "localhost@rebound.example",
            "",
        ] {
            assert!(!from("127.0.0.1:1", Some(host), None), "{host}");
        }
        assert!(!from("127.0.0.1:1", None, None));
    }

    #[test]
    fn an_image_of_a_page_is_not_this_machine() {
        for (site, expected) in [("cross-site", false), ("same-origin", true), ("none", true)] {
            let request = axum::http::Request::builder().header("host", "127.0.0.1");
            let request = request.header("sec-fetch-site", site).body(());
            let mut parts = request.unwrap().into_parts().0;
            let peer = std::net::SocketAddr::from(([127, 0, 0, 1], 1));
            parts.extensions.insert(ConnectInfo(Peer::from(peer)));
            assert_eq!(is_local(&parts), expected, "{site}");
        }
    }

    /// The client's address, from the headers of a proxy on this machine; none if they contradict each other.
    fn told(headers: &[(&'static str, &[u8])]) -> Option<String> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_bytes(value).unwrap());
        }
        let origin = origin(
            "127.0.0.1".parse().unwrap(),
            &map,
            &TrustedProxies::default(),
        );
        Some(origin.ok()?.to_string())
    }

    #[test]
    fn bytes_that_are_no_text_hide_nothing() {
        let told = told(&[("x-forwarded-for", b"\xff, 203.0.113.9")]);
        assert_eq!(told.as_deref(), Some("203.0.113.9"));
    }

    #[test]
    fn no_client_chooses_its_address_by_the_header_its_proxy_does_not_write() {
        let (xff, standard) = ("x-forwarded-for", "forwarded");
        for (headers, client) in [
            (vec![(xff, "203.0.113.9:50001,")], Some("203.0.113.9")),
            (
                vec![(standard, "for=\"[2001:db8::7]:443\"")],
                Some("2001:db8::7"),
            ),
            (vec![(standard, "for=unknown")], Some("127.0.0.1")),
            // One of the two headers is the client's; or the proxy writes both.
            (
                vec![(xff, "203.0.113.9"), (standard, "for=192.0.2.66")],
                None,
            ),
            (
                vec![(standard, "for=203.0.113.9"), (xff, "192.0.2.66")],
                None,
            ),
            (vec![(xff, "203.0.113.9"), (standard, "for=unknown")], None),
            (
                vec![
                    (xff, "192.0.2.66, 203.0.113.9:1"),
                    (standard, "for=203.0.113.9"),
                ],
                Some("203.0.113.9"),
            ),
            // A header that names no client.
            (
                vec![(xff, "203.0.113.9"), (standard, "proto=https")],
                Some("203.0.113.9"),
            ),
            (
                vec![(xff, ""), (standard, "for=203.0.113.9")],
                Some("203.0.113.9"),
            ),
        ] {
            let bytes: Vec<_> = headers
                .iter()
                .map(|(name, value)| (*name, value.as_bytes()))
                .collect();
            assert_eq!(told(&bytes).as_deref(), client, "{headers:?}");
        }
    }

    #[test]
    fn behind_proxies_the_nearest_stranger_counts() {
        assert_eq!(
            client("loopback", "127.0.0.1", &["198.51.100.7", "203.0.113.9"]),
            "203.0.113.9"
        );
        assert_eq!(
            client(
                "127.0.0.1,10.0.0.0/8",
                "127.0.0.1",
                &["198.51.100.7", "10.1.2.3"]
            ),
            "198.51.100.7"
        );
    }
}
