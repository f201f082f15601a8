//! The gate before every closed route: may this address call now, and who is calling?

use axum::extract::{Request, State};
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

async fn admit(shared: &Shared, parts: &axum::http::request::Parts) -> Result<Caller, ApiError> {
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
