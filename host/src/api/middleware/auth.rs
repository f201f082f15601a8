//! Authenticates requests, after the rate limit of their address; rate-limits those that start no turn.

use axum::RequestPartsExt;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::api::admission::{self, Ask};
use crate::api::connection::Peer;
use crate::api::facts::Fact;
use crate::api::request_context::RequestContext;
use crate::api::{Shared, canary, client_addr};
use crate::openai::ApiError;
use crate::policy::Caller;

/// Asks the auth policy of the request's own generation who is calling, before a byte of the body is read.
pub(in crate::api) async fn authenticate(
    State(shared): State<Shared>,
    request: Request,
    next: Next,
) -> Response {
    let (mut parts, body) = request.into_parts();
    match admit(&shared, &mut parts).await {
        Ok(caller) => {
            parts.extensions.insert(caller);
            next.run(Request::from_parts(parts, body)).await
        }
        Err(error) => error.into_response(),
    }
}

/// As [`authenticate`], then rate-limits the caller: for requests that start no turn.
pub(in crate::api) async fn limit(
    State(shared): State<Shared>,
    request: Request,
    next: Next,
) -> Response {
    let (mut parts, body) = request.into_parts();
    match spend(&shared, &mut parts).await {
        Ok(caller) => {
            parts.extensions.insert(caller);
            next.run(Request::from_parts(parts, body)).await
        }
        Err(error) => error.into_response(),
    }
}

async fn spend(shared: &Shared, parts: &mut Parts) -> Result<Caller, ApiError> {
    let caller = admit(shared, parts).await?;
    let context: RequestContext = parts.extract().await?;
    let ask = Ask {
        client: context.client().to_owned(),
        caller: Some(caller.clone()),
        endpoint: parts.uri.path().to_owned(),
        ..Ask::default()
    };
    admission::ask(shared, &context, ask).await?;
    Ok(caller)
}

async fn admit(shared: &Shared, parts: &mut Parts) -> Result<Caller, ApiError> {
    let context: RequestContext = parts.extract().await?;
    let ask = Ask {
        client: context.client().to_owned(),
        endpoint: parts.uri.path().to_owned(),
        ..Ask::default()
    };
    admission::ask(shared, &context, ask).await?;
    let described = || client_addr::describe_clients(parts, context.id(), context.client());
    let mut caller = context.generation().authenticate(described()).await?;
    if canary::switch(shared, &context, &parts.headers, &caller) {
        caller = context.generation().authenticate(described()).await?;
    }
    context.record(Fact::Caller(caller.clone()));
    authenticated(parts);
    Ok(caller)
}

/// The connection of a caller does not give way to those of strangers.
pub(in crate::api) fn authenticated(parts: &Parts) {
    if let Some(ConnectInfo(peer)) = parts.extensions.get::<ConnectInfo<Peer>>() {
        peer.authenticated();
    }
}
