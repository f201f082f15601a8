//! Refuses requests whose head is too large or ambiguous: another server on the way may have read it differently.

use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::api::client_addr::{self, TrustedProxies};
use crate::api::{Shared, authority};
use crate::openai::{ApiError, GatewayError};

/// The most headers of a request, and the most bytes of their names and values.
const MAX_HEADERS: usize = 100;
const MAX_BYTES: usize = 64 << 10;

/// [`check`] as a layer.
pub(in crate::api) async fn head(
    State(shared): State<Shared>,
    request: Request,
    next: Next,
) -> Response {
    let (parts, body) = request.into_parts();
    match check(&parts, &shared.config.trusted) {
        Ok(()) => next.run(Request::from_parts(parts, body)).await,
        Err(error) => error.into_response(),
    }
}

/// Checks the head: its size, its host, and the client's address.
///
/// # Errors
/// The first of these that is too large or unclear.
pub(in crate::api) fn check(parts: &Parts, trusted: &TrustedProxies) -> Result<(), ApiError> {
    bound(parts)?;
    host(parts)?;
    if client_addr::is_ambiguous(parts, trusted) {
        return Err(GatewayError::AmbiguousClient.into());
    }
    Ok(())
}

/// Checks the number and size of the headers. Over HTTP/1.1, hyper refuses more than a hundred headers before.
fn bound(parts: &Parts) -> Result<(), ApiError> {
    let headers = parts.headers.iter();
    let bytes: usize = headers
        .map(|(name, value)| name.as_str().len() + value.len())
        .sum();
    if parts.headers.len() <= MAX_HEADERS && bytes <= MAX_BYTES {
        return Ok(());
    }
    let (headers, bytes) = (MAX_HEADERS, MAX_BYTES);
    Err(GatewayError::HeadTooLarge { headers, bytes }.into())
}

/// Checks that the host is clear.
///
/// # Errors
/// If the request names no host, several, or an invalid one.
pub(in crate::api) fn host(parts: &Parts) -> Result<(), ApiError> {
    let named = authority::named(parts.version, &parts.uri, &parts.headers);
    named.map(drop).map_err(|unclear| {
        let why = unclear.to_string();
        GatewayError::InvalidHost { why }.into()
    })
}
