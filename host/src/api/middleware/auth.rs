//! Authenticates requests, after the rate limit of their address; rate-limits those that start no turn.

use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::api::admission::{self, Ask};
use crate::api::record::Record;
use crate::api::{Shared, client_addr, error};
use crate::openai::ApiError;
use crate::policy::Caller;

/// Asks the auth policy of the request's own generation who is calling, before a byte of the body is read.
pub(in crate::api) async fn authenticate(
    State(shared): State<Shared>,
    request: Request,
    next: Next,
) -> Response {
    let (mut parts, body) = request.into_parts();
    match admit(&shared, &parts).await {
        Ok(caller) => {
            parts.extensions.insert(caller);
            next.run(Request::from_parts(parts, body)).await
        }
        Err(error) => error.into_response(),
    }
}

/// Rate-limits authenticated requests that start no turn.
pub(in crate::api) async fn rate_limit(
    State(shared): State<Shared>,
    request: Request,
    next: Next,
) -> Response {
    let (parts, body) = request.into_parts();
    match spend(&shared, &parts).await {
        Ok(()) => next.run(Request::from_parts(parts, body)).await,
        Err(error) => error.into_response(),
    }
}

async fn spend(shared: &Shared, parts: &Parts) -> Result<(), ApiError> {
    let record = parts.extensions.get::<Record>();
    let caller = parts.extensions.get::<Caller>();
    let (Some(record), Some(caller)) = (record, caller) else {
        return Err(error::internal());
    };
    let ask = Ask {
        client: client_addr::address(parts, &shared.config.trusted),
        caller: Some(caller.clone()),
        endpoint: parts.uri.path().to_owned(),
        ..Ask::default()
    };
    admission::ask(shared, record, ask).await
}

async fn admit(shared: &Shared, parts: &Parts) -> Result<Caller, ApiError> {
    let record = parts
        .extensions
        .get::<Record>()
        .ok_or_else(error::internal)?;
    let address = client_addr::address(parts, &shared.config.trusted);
    let request = client_addr::describe(parts, record.id(), address.clone());
    let ask = Ask {
        client: address,
        endpoint: request.path.clone(),
        ..Ask::default()
    };
    admission::ask(shared, record, ask).await?;
    let caller = record.generation().authenticate(request).await?;
    record.set_caller(&caller);
    Ok(caller)
}
