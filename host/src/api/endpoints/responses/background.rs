//! Responses in the background: answers at once, and cancels one when its client asks for that.

use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;

use super::not_found;
use crate::api::choices::{self, Choices};
use crate::api::generate::Generate;
use crate::api::id::Id;
use crate::api::request::AtOnce;
use crate::api::request_context::Authenticated;
use crate::api::response_store::Job;
use crate::api::{Shared, error};
use crate::openai::responses::{Context, ResponseObject};
use crate::openai::{ApiError, GatewayError, Head};

/// Begins a response, and answers with its state. Its turn goes on without the client.
pub(super) async fn begin(
    shared: &Shared,
    intake: &mut Generate<'_>,
    choices: Choices,
    (head, context): (Head, Context),
) -> Result<Response, ApiError> {
    let (id, model) = (head.id.clone(), head.model.clone());
    let object = ResponseObject::new(head, context).queued();
    let owner = choices::key(&intake.caller);
    let key = (owner.as_str(), id.as_str());
    let job = Job::new(shared, key, object, intake.bytes)?;
    let beginning = intake.launch(&model, false, choices, false).await?;
    let mut response = error::json(job.json());
    job.launch(beginning);
    response.extensions_mut().insert(AtOnce);
    Ok(response)
}

/// The members of a kept response that are read again.
#[derive(Deserialize)]
struct Kept {
    background: bool,
}

/// `POST /v1/responses/{id}/cancel`: ends a response, unless it has ended, and answers with its state.
pub(in crate::api) async fn cancel(
    State(shared): State<Shared>,
    Id(id): Id,
    Authenticated(caller): Authenticated,
) -> Result<Response, ApiError> {
    let owner = choices::key(&caller);
    if let Some(object) = shared.responses.cancel(&owner, &id) {
        return Ok(error::json(object));
    }
    let object = shared.responses.object(&owner, &id);
    let object = object.ok_or_else(|| not_found(&id))?;
    match serde_json::from_str(&object) {
        Ok(Kept { background: true }) => Ok(error::json(object)),
        _ => Err(GatewayError::NotInBackground.into()),
    }
}
