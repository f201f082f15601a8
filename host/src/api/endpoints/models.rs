//! `/v1/models`: the models that this caller may use.

use axum::Json;
use axum::body::Bytes;
use axum::response::Response;

use crate::api::client_addr;
use crate::api::error;
use crate::api::id::Id;
use crate::api::request_context::{Authenticated, RequestContext};
use crate::openai::ApiError;
use crate::openai::models::{Model, ModelList};
use crate::policy::model::{self, Card};
use crate::policy::{Caller, Cards};

async fn cards(context: &RequestContext, caller: Caller) -> Result<Cards, ApiError> {
    Ok(context
        .generation()
        .catalog(Some(caller), client_addr::now_ms())
        .await?)
}

fn entry(card: &Card) -> Model {
    Model::new(card.id.clone(), card.created, card.owned_by.clone())
}

/// `GET /v1/models`: all models of the caller.
pub(in crate::api) async fn list(
    context: RequestContext,
    Authenticated(caller): Authenticated,
) -> Result<Response, ApiError> {
    let cards = cards(&context, caller).await?;
    Ok(error::json(cards.sent(written)))
}

/// The body of the list. It can always be written.
fn written(cards: &[Card]) -> Bytes {
    let list = ModelList::new(cards.iter().map(entry).collect());
    serde_json::to_vec(&list).unwrap_or_default().into()
}

/// `GET /v1/models/{id}`: a listed model, or one that the policy resolves without listing it (another spelling, say).
pub(in crate::api) async fn show(
    Id(id): Id,
    context: RequestContext,
    Authenticated(caller): Authenticated,
) -> Result<Json<Model>, ApiError> {
    let cards = cards(&context, caller.clone()).await?;
    let owner = cards
        .first()
        .map(|card| card.owned_by.clone())
        .unwrap_or_default();
    if let Some(card) = cards.iter().find(|card| card.id.eq_ignore_ascii_case(&id)) {
        return Ok(Json(entry(card)));
    }
    let ask = model::Ask {
        caller,
        requested: Some(id),
        effort: None,
    };
    let target = context
        .generation()
        .resolve(ask, client_addr::now_ms())
        .await?;
    Ok(Json(Model::new(target.id, 0, owner)))
}
