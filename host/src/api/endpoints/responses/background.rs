//! Responses in the background: answers at once, and cancels one when its client asks for that.

use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use axum::response::sse::Event;
use futures_util::stream;
use serde::Deserialize;
use serde_json::json;

use super::{named, not_found};
use crate::api::choices::{self, Choices};
use crate::api::generate::Generate;
use crate::api::id::Id;
use crate::api::request::AtOnce;
use crate::api::request_context::Authenticated;
use crate::api::response_store::{EventReader, Job, Lost};
use crate::api::{Shared, error, sse};
use crate::openai::responses::{Background, Context};
use crate::openai::{ApiError, GatewayError, Head};

/// Begins a response, and answers with its state, or with its events. Its turn goes on without the client.
pub(super) async fn begin(
    shared: &Shared,
    intake: &mut Generate<'_>,
    (choices, streams): (Choices, bool),
    (head, context): (Head, Context),
) -> Result<Response, ApiError> {
    let (id, model) = (head.id.clone(), head.model.clone());
    let object = Background::new(head, context, streams);
    let owner = choices::key(&intake.caller);
    let key = (owner.as_str(), id.as_str());
    let job = Job::new(shared, key, object, intake.bytes)?;
    let beginning = intake.launch(&model, streams, choices, false).await?;
    let response = match job.read_events().transpose()? {
        Some(events) => told(events, intake.keepalive()),
        None => {
            let mut response = error::json(job.json());
            response.extensions_mut().insert(AtOnce);
            response
        }
    };
    job.launch(beginning);
    Ok(response)
}

/// Answers with the events of a response, as they come. The turn does not depend on this reader.
pub(super) fn told(events: EventReader, keepalive: Duration) -> Response {
    let events = stream::unfold(Some(events), async |events| {
        let mut events = events?;
        match events.next().await? {
            Ok(event) => Some((named(event), Some(events))),
            Err(lost) => Some((told_lost(lost), None)),
        }
    });
    sse::answer(events, keepalive, sse::comment())
}

/// The event for a reader that was too slow, or whose response was deleted: this event, and those after it, are lost.
fn told_lost(lost: Lost) -> Event {
    let error = ApiError::from(lost.error);
    let data = json!({
        "type": "error",
        "code": error.code,
        "message": error.message,
        "param": null,
        "sequence_number": lost.number,
    });
    Event::default().event("error").data(data.to_string())
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
