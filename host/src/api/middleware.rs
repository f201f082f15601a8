//! The middleware that a request passes before and after its endpoint: `surround`, then `check`, then `auth` on guarded routes.
//!
//! For each request, axum copies all layers below a layer; so there are few layers, each of several steps.

pub(super) mod auth;
pub(super) mod cors;
pub(super) mod drain_body;
pub(super) mod head;
mod request_context;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Shared;

/// The steps around every request: its body is drained, its answer gets the CORS headers (refusals and streams, too), and the
/// request its context and owner.
pub(super) async fn surround(
    State(shared): State<Shared>,
    request: Request,
    next: Next,
) -> Response {
    let request = drain_body::draining(request, shared.config.max_body);
    let origins = shared.config.origins.as_ref();
    let sharing = origins.map(|origins| (cors::Asked::of(&request), origins));
    let mut response = request_context::attach(&shared, request, next).await;
    if let Some((asked, origins)) = sharing {
        asked.answer(origins, response.headers_mut());
    }
    response
}

/// The steps before every route but those of edge proxies: an unclear head is refused, and a preflight answered.
pub(super) async fn check(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    if let Err(unclear) = head::check(&parts, &shared.config.trusted) {
        return unclear.into_response();
    }
    match cors::preflight(&parts.method) {
        Some(answer) => answer,
        None => next.run(Request::from_parts(parts, body)).await,
    }
}
