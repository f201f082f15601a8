//! Answers CORS preflights, and sets the headers that let pages read an answer.
//!
//! Not `tower-http`'s layer: it answers every `OPTIONS`, also those that an edge proxy asks about, which are for the policy.

use axum::extract::Request;
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, ORIGIN, VARY,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};

const METHODS: HeaderValue = HeaderValue::from_static("GET, POST, DELETE, HEAD, OPTIONS");
/// Seconds a browser may rely on a preflight.
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");
const TRUE: HeaderValue = HeaderValue::from_static("true");
/// Chromium's question whether a page from the internet may call an address in a private network.
const REQUEST_PRIVATE_NETWORK: &str = "access-control-request-private-network";
const ALLOW_PRIVATE_NETWORK: &str = "access-control-allow-private-network";

/// The origins whose pages may call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origins {
    /// All origins, but never with credentials. A key in `Authorization` does not count as credentials here; cookies do.
    Any,
    /// These origins.
    Listed(Vec<Origin>),
}

/// The origin of a page. `http` and `https` on the machine itself without a port cover all its ports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    scheme: String,
    host: String,
    /// None is the scheme's default port.
    port: Option<u16>,
}

impl Origins {
    /// Parses a list of origins; a list with `*` in it is [`Origins::Any`].
    ///
    /// # Errors
    /// The item that is no origin. `null` is refused too: any page can present itself with that origin.
    pub fn parse(items: &[String]) -> Result<Self, String> {
        if items.iter().any(|item| item == "*") {
            return Ok(Self::Any);
        }
        let origin = |item: &String| Origin::parse(item).ok_or_else(|| item.clone());
        items
            .iter()
            .map(origin)
            .collect::<Result<_, _>>()
            .map(Self::Listed)
    }

    fn contain(&self, origin: &HeaderValue) -> bool {
        match self {
            Self::Any => true,
            Self::Listed(listed) => origin
                .to_str()
                .ok()
                .and_then(Origin::parse)
                .is_some_and(|origin| listed.iter().any(|listed| listed.covers(&origin))),
        }
    }
}

/// Whether a page of this origin may open a WebSocket at this host: browsers ask no preflight for it, and let every page.
pub(in crate::api) fn may_connect(
    origins: Option<&Origins>,
    origin: &HeaderValue,
    host: &str,
) -> bool {
    let is_listed = origins.is_some_and(|origins| origins.contain(origin));
    let origin = origin.to_str().ok().and_then(Origin::parse);
    let is_own = |origin: Origin| {
        let own = Origin::parse(&format!("{}://{host}", origin.scheme));
        own.is_some_and(|own| own == origin)
    };
    is_listed || origin.is_some_and(is_own)
}

impl Origin {
    fn parse(text: &str) -> Option<Self> {
        let uri: Uri = text.to_ascii_lowercase().parse().ok()?;
        let (scheme, authority) = (uri.scheme_str()?, uri.authority()?);
        let is_bare = matches!(uri.path(), "" | "/") && uri.query().is_none();
        if !is_bare || text.contains(['*', '#']) {
            return None;
        }
        let own = match scheme {
            "http" => Some(80),
            "https" => Some(443),
            _ => None,
        };
        // The library returns no port for an invalid port too, as in `:99999`.
        let port = authority.port_u16();
        if port.is_none() && authority.as_str() != authority.host() {
            return None;
        }
        Some(Self {
            scheme: scheme.to_owned(),
            host: authority.host().to_owned(),
            port: port.filter(|port| Some(*port) != own),
        })
    }

    fn covers(&self, other: &Self) -> bool {
        let any_port = self.port.is_none()
            && matches!(self.scheme.as_str(), "http" | "https")
            && matches!(self.host.as_str(), "localhost" | "127.0.0.1" | "[::1]");
        self.scheme == other.scheme
            && self.host == other.host
            && (any_port || self.port == other.port)
    }
}

/// Answers every `OPTIONS`, of unknown paths too, without authentication: preflights cannot carry a key.
pub(super) fn preflight(method: &Method) -> Option<Response> {
    (*method == Method::OPTIONS).then(|| StatusCode::NO_CONTENT.into_response())
}

/// The CORS headers of a request.
pub(super) struct Asked {
    origin: Option<HeaderValue>,
    preflight: Option<Preflight>,
}

struct Preflight {
    headers: Option<HeaderValue>,
    private_network: bool,
}

impl Asked {
    pub(super) fn of(request: &Request) -> Self {
        let headers = request.headers();
        let preflight = (request.method() == Method::OPTIONS).then(|| Preflight {
            headers: headers.get(ACCESS_CONTROL_REQUEST_HEADERS).cloned(),
            private_network: headers.get(REQUEST_PRIVATE_NETWORK) == Some(&TRUE),
        });
        Self {
            origin: headers.get(ORIGIN).cloned(),
            preflight,
        }
    }

    /// Adds the CORS headers of the answer.
    pub(super) fn answer(self, origins: &Origins, headers: &mut HeaderMap) {
        let allowed = self.origin.filter(|origin| {
            let allowed = origins.contain(origin);
            if !allowed {
                tracing::info!(?origin, "not in PROXY_CORS_ALLOWED_ORIGINS");
            }
            allowed
        });
        match (origins, &allowed) {
            // Also for requests without an origin: a cache may give this answer to a page.
            (Origins::Any, _) => {
                headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
            }
            (Origins::Listed(_), allowed) => {
                headers.append(VARY, HeaderValue::from_static("origin"));
                let Some(origin) = allowed else {
                    return;
                };
                headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
                headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, TRUE);
            }
        }
        match self.preflight {
            Some(preflight) => preflight.answer(allowed.is_some(), headers),
            None => expose(headers),
        }
    }
}

impl Preflight {
    fn answer(self, has_origin: bool, headers: &mut HeaderMap) {
        let varies = HeaderValue::from_static(
            "access-control-request-headers, access-control-request-private-network",
        );
        headers.append(VARY, varies);
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        headers.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
        // All the headers that the SDKs send (`x-stainless-…`, `openai-…`) are allowed: no request header is dangerous here.
        if let Some(asked) = self.headers {
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, asked);
        }
        if self.private_network && has_origin {
            headers.insert(ALLOW_PRIVATE_NETWORK, TRUE);
        }
    }
}

/// Lets the page read every header of the answer, the policies' own too: by default pages see only a few safelisted headers.
fn expose(headers: &mut HeaderMap) {
    let seen_anyway = ["cache-control", "content-length", "content-type", "vary"];
    let names = headers
        .keys()
        .map(axum::http::HeaderName::as_str)
        .filter(|name| !seen_anyway.contains(name) && !name.starts_with("access-control-"));
    let mut list = String::with_capacity(256);
    for name in names {
        if !list.is_empty() {
            list.push_str(", ");
        }
        list.push_str(name);
    }
    if let Ok(names) = HeaderValue::try_from(list) {
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, names);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(list: &[&str], origin: &'static str) -> bool {
        let items: Vec<String> = list.iter().map(|item| (*item).to_owned()).collect();
        let origins = Origins::parse(&items).unwrap();
        origins.contain(&HeaderValue::from_static(origin))
    }

    #[test]
    fn an_origin_is_its_scheme_its_host_and_its_port() {
        let list = [
            "https://Web.example/",
            "app://obsidian.md",
            "capacitor://localhost",
        ];
        for origin in [
            "https://web.example",
            "app://obsidian.md",
            "capacitor://localhost",
        ] {
            assert!(allows(&list, origin), "{origin}");
        }
        for origin in [
            "http://web.example",
            "https://web.example:8443",
            "https://web.example.evil",
            "https://a.web.example",
            "app://obsidian.md.evil",
            "capacitor://localhost:1",
            "null",
            "",
        ] {
            assert!(!allows(&list, origin), "{origin}");
        }
        assert!(allows(&["https://web.example:443"], "https://web.example"));
    }

    #[test]
    fn the_machine_itself_is_all_its_ports_unless_one_is_named() {
        for (listed, origin) in [
            ("http://localhost", "http://localhost:5173"),
            ("http://127.0.0.1", "http://127.0.0.1:8080"),
            ("https://[::1]", "https://[::1]:9"),
        ] {
            assert!(allows(&[listed], origin), "{origin}");
        }
        assert!(!allows(&["http://localhost:3000"], "http://localhost:5173"));
        assert!(!allows(&["http://localhost"], "http://localhost.evil:80"));
        assert!(!allows(&["http://localhost"], "http://localhost@evil"));
    }

    #[test]
    fn a_page_of_the_gateways_own_host_may_connect() {
        let may = |origin, host| may_connect(None, &HeaderValue::from_static(origin), host);
        assert!(may("http://gateway.example:8080", "gateway.example:8080"));
        assert!(may("https://gateway.example", "gateway.example"));
        assert!(!may("https://page.example", "gateway.example"));
        assert!(!may("http://gateway.example:8081", "gateway.example:8080"));
        assert!(!may("null", "gateway.example"));
    }

    #[test]
    fn what_is_no_origin_is_named() {
        for wrong in [
            "web.example",
            "https://",
            "https://web.example/path",
            "https://web.example?x",
            "https://*.web.example",
            "https://user@web.example",
            "https://web.example:99999",
            "null",
        ] {
            let items = ["https://web.example".to_owned(), wrong.to_owned()];
            assert_eq!(Origins::parse(&items), Err(wrong.to_owned()));
        }
        let items = ["https://web.example".to_owned(), "*".to_owned()];
        assert_eq!(Origins::parse(&items), Ok(Origins::Any));
    }
}
