//! `/v1/models`: what this caller may use.

use axum::extract::Path;
use axum::{Extension, Json};

use super::record::Record;
use super::{client, error};
use crate::openai::ApiError;
use crate::openai::models::{Model, ModelList};
use crate::policy::{Caller, model::Card};

async fn cards(record: &Record, caller: Caller) -> Result<Vec<Card>, ApiError> {
    Ok(record
        .generation()
        .catalog(Some(caller), client::now_ms())
        .await?)
}

fn entry(card: Card) -> Model {
    Model::new(card.id, card.created, card.owned_by)
}

/// All of them.
pub(super) async fn list(
    Extension(record): Extension<Record>,
    Extension(caller): Extension<Caller>,
) -> Result<Json<ModelList>, ApiError> {
    let cards = cards(&record, caller).await?;
    Ok(Json(ModelList::new(cards.into_iter().map(entry).collect())))
}

/// One of them.
pub(super) async fn show(
    Path(id): Path<String>,
    Extension(record): Extension<Record>,
    Extension(caller): Extension<Caller>,
) -> Result<Json<Model>, ApiError> {
    let cards = cards(&record, caller).await?;
    let found = cards
        .into_iter()
        .find(|card| card.id.eq_ignore_ascii_case(&id));
    found
        .map(|card| Json(entry(card)))
        .ok_or_else(|| error::model_not_found(&id))
}
