//! Refuses requests whose head can be read in two ways: servers on the way may have read it in the other one.

use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Shared;
use super::client::{self, TrustedProxies};
use crate::openai::ApiError;

/// Lets only clear requests through.
pub(super) async fn head(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    match check(&parts, &shared.config.trusted) {
        Ok(()) => next.run(Request::from_parts(parts, body)).await,
        Err(error) => error.into_response(),
    }
}

/// Whether who asks is clear.
///
/// # Errors
/// What is not.
pub(super) fn check(parts: &Parts, trusted: &TrustedProxies) -> Result<(), ApiError> {
    if client::is_ambiguous(parts, trusted) {
        let message = "`X-Forwarded-For` and `Forwarded` name different clients. Send neither; the proxy in front of the gateway \
                       should remove the one it does not write.";
        return Err(ApiError::invalid_request(
            "ambiguous_client_address",
            message,
        ));
    }
    Ok(())
}
