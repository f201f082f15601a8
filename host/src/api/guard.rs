//! The gate before every closed route: may this address call now, and who is calling?

use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::admission::{self, Ask};
use super::record::Record;
use super::{Shared, client, error};
use crate::openai::ApiError;
use crate::policy::Caller;

/// Decides with the request's own generation, before a byte of the body is read.
pub(super) async fn guard(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    match admit(&shared, &parts).await {
        Ok(caller) => {
            parts.extensions.insert(caller);
            next.run(Request::from_parts(parts, body)).await
        }
        Err(error) => error.into_response(),
    }
}

/// Asks the second question about limits, of a request that asks for no answer of a model.
pub(super) async fn charge(State(shared): State<Shared>, request: Request, next: Next) -> Response {
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
        client: client::address(parts, &shared.config.trusted),
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
    let address = client::address(parts, &shared.config.trusted);
    let request = client::describe(parts, record.id(), address.clone());
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
