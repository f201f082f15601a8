//! Reads the request an edge proxy asks about from the proxy's headers; an unclear one is refused rather than guessed.

use axum::http::request::Parts;
use axum::http::uri::{PathAndQuery, Uri};
use axum::http::{HeaderMap, Method};

use super::{Dialect, EXT_AUTHZ};
use crate::api::authority::Authority;
use crate::api::client_addr::{self, TrustedProxies};
use crate::openai::{ApiError, GatewayError};
use crate::policy::Described;

const FORWARDED_METHOD: &str = "x-forwarded-method";
const FORWARDED_URI: &str = "x-forwarded-uri";
const FORWARDED_HOST: &str = "x-forwarded-host";
const ORIGINAL_METHOD: &str = "x-original-method";
const ORIGINAL_URI: &str = "x-original-uri";
const ORIGINAL_URL: &str = "x-original-url";

/// The parts in which the proxy's own request and the original one differ.
struct Line {
    method: Method,
    target: PathAndQuery,
    /// None if the proxy kept `Host`.
    host: Option<String>,
}

/// The original request as the policy gets it: with its percent-encoding as sent, and without the headers that hold credentials
/// or only describe the request.
///
/// # Errors
/// If the peer is no trusted proxy (then its statements about other requests do not count), or does not name the request.
pub(super) fn read<'a>(
    parts: &'a Parts,
    (id, client): (&'a str, &'a str),
    dialect: Dialect,
    trusted: &TrustedProxies,
) -> Result<Described<'a>, ApiError> {
    if !client_addr::is_trusted(parts, trusted) {
        return Err(GatewayError::UntrustedProxy.into());
    }
    let line = match dialect {
        Dialect::ForwardAuth => forwarded(&parts.headers)?,
        Dialect::AuthRequest => original(&parts.headers)?,
        Dialect::ExtAuthz => own(parts)?,
    };
    let mut request = client_addr::describe(parts, id, client);
    request.method = line.method.as_str().to_owned().into();
    // Without a trailing slash, as the closed routes see it.
    let path = line.target.path().trim_end_matches('/');
    request.path = if path.is_empty() { "/" } else { path }.to_owned().into();
    request.query = line.target.query().map(|query| query.to_owned().into());
    if let Some(host) = line.host {
        request.host = host.into();
    }
    request
        .headers
        .retain(|(name, _)| !describes_the_request(name));
    Ok(request)
}

/// Whether a header is covered by a member of the request by now, or describes only the proxy's request.
fn describes_the_request(header: &str) -> bool {
    ["x-forwarded-", "x-original-"]
        .iter()
        .any(|prefix| header.starts_with(prefix))
        || matches!(
            header,
            "host" | "forwarded" | "content-length" | "connection"
        )
}

fn forwarded(headers: &HeaderMap) -> Result<Line, ApiError> {
    let host = value(headers, FORWARDED_HOST)?;
    Ok(Line {
        method: method(headers, FORWARDED_METHOD)?,
        target: target(required(headers, FORWARDED_URI)?, FORWARDED_URI)?,
        // `Host` may be the gateway's own name, so it is not used.
        host: Some(host.map(without_port).transpose()?.unwrap_or_default()),
    })
}

/// nginx overwrites only the headers it is configured to set. A request in which a client added the other form is refused.
fn original(headers: &HeaderMap) -> Result<Line, ApiError> {
    let method = method(headers, ORIGINAL_METHOD)?;
    let (target, host) = match (value(headers, ORIGINAL_URI)?, value(headers, ORIGINAL_URL)?) {
        (Some(_), Some(_)) => return Err(malformed(ORIGINAL_URL, "Send it or X-Original-URI.")),
        (Some(uri), None) => (target(uri, ORIGINAL_URI)?, None),
        (None, Some(url)) => absolute(url)?,
        (None, None) => return Err(missing(ORIGINAL_URL)),
    };
    Ok(Line {
        method,
        target,
        host,
    })
}

fn own(parts: &Parts) -> Result<Line, ApiError> {
    let own = parts.uri.path_and_query().map_or("", PathAndQuery::as_str);
    let rest = own.strip_prefix(EXT_AUTHZ).unwrap_or_default();
    // The slash of the original's root path may have been trimmed.
    let slash = if rest.starts_with('/') { "" } else { "/" };
    Ok(Line {
        method: parts.method.clone(),
        target: target(&format!("{slash}{rest}"), "path")?,
        host: None,
    })
}

fn absolute(url: &str) -> Result<(PathAndQuery, Option<String>), ApiError> {
    let expected = "Expected an URL, as https://host/path?query.";
    let uri: Uri = url.parse().map_err(|_| malformed(ORIGINAL_URL, expected))?;
    match (uri.authority(), uri.path_and_query()) {
        (Some(authority), Some(target)) if !url.contains('#') => {
            let authority = Authority::parse(authority.as_str());
            let authority = authority.ok_or_else(|| malformed(ORIGINAL_URL, expected))?;
            Ok((target.clone(), Some(authority.host.to_owned())))
        }
        _ => Err(malformed(ORIGINAL_URL, expected)),
    }
}

fn method(headers: &HeaderMap, name: &'static str) -> Result<Method, ApiError> {
    required(headers, name)?
        .parse()
        .map_err(|_| malformed(name, "Expected an HTTP method."))
}

/// Parses a target. A fragment is refused: servers disagree on its meaning in a request line.
fn target(text: &str, name: &'static str) -> Result<PathAndQuery, ApiError> {
    let malformed = || malformed(name, "Expected a path, as /path?query.");
    if !text.starts_with('/') || text.contains('#') {
        return Err(malformed());
    }
    text.parse().map_err(|_| malformed())
}

fn without_port(host: &str) -> Result<String, ApiError> {
    let expected = "Expected a host, as host or host:port.";
    let authority = Authority::parse(host);
    let authority = authority.ok_or_else(|| malformed(FORWARDED_HOST, expected))?;
    Ok(authority.host.to_owned())
}

fn required<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<&'a str, ApiError> {
    value(headers, name)?.ok_or_else(|| missing(name))
}

/// The only value of a header; an empty one counts as absent.
fn value<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<Option<&'a str>, ApiError> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(malformed(name, "It was sent more than once."));
    }
    let text = value
        .to_str()
        .map_err(|_| malformed(name, "It is not ASCII."))?;
    Ok(Some(text).filter(|text| !text.is_empty()))
}

fn missing(header: &'static str) -> ApiError {
    GatewayError::NoOriginal { header }.about(header)
}

fn malformed(header: &'static str, why: &'static str) -> ApiError {
    GatewayError::MalformedOriginal { header, why }.about(header)
}

#[cfg(test)]
mod tests;
