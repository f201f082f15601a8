//! Refuses requests whose head is too large, or can be read in two ways: servers on the way may have read it in the other.

use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::api::client_addr::{self, TrustedProxies};
use crate::api::{Shared, authority};
use crate::openai::ApiError;

/// Headers of a request, and the bytes of their names and values.
const MAX_HEADERS: usize = 100;
const MAX_BYTES: usize = 64 << 10;

/// Lets only clear requests through.
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

/// Whether it is clear who is asked, and who asks.
///
/// # Errors
/// What is not.
pub(in crate::api) fn check(parts: &Parts, trusted: &TrustedProxies) -> Result<(), ApiError> {
    bound(parts)?;
    host(parts)?;
    if client_addr::is_ambiguous(parts, trusted) {
        let message = "`X-Forwarded-For` and `Forwarded` name different clients. Send neither; the proxy in front of the gateway \
                       should remove the one it does not write.";
        return Err(ApiError::invalid_request(
            "ambiguous_client_address",
            message,
        ));
    }
    Ok(())
}

/// Whether there are no more headers than anybody sends. Over HTTP/1.1 more than a hundred do not come so far.
fn bound(parts: &Parts) -> Result<(), ApiError> {
    let headers = parts.headers.iter();
    let bytes: usize = headers
        .map(|(name, value)| name.as_str().len() + value.len())
        .sum();
    if parts.headers.len() <= MAX_HEADERS && bytes <= MAX_BYTES {
        return Ok(());
    }
    let message = format!(
        "The request has more or longer headers than this gateway takes: at most {MAX_HEADERS}, and {MAX_BYTES} bytes."
    );
    let code = "request_header_fields_too_large";
    Err(ApiError::new(431, "invalid_request_error", code, message))
}

/// Whether it is clear who is asked.
///
/// # Errors
/// If it is nobody or several, or no host at all.
pub(in crate::api) fn host(parts: &Parts) -> Result<(), ApiError> {
    let named = authority::named(parts.version, &parts.uri, &parts.headers);
    named
        .map(drop)
        .map_err(|unclear| ApiError::invalid_request("invalid_host", unclear.to_string()))
}
