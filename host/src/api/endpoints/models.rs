//! `/v1/models`: the models that this caller may use, in the form of the client's API.

use axum::Json;
use axum::body::Bytes;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};

use crate::api::id::Id;
use crate::api::request_context::{Authenticated, RequestContext};
use crate::api::{client_addr, dialect, error};
use crate::openai::ApiError;
use crate::openai::messages::{ModelInfo, ModelPage};
use crate::openai::models::{Model, ModelList};
use crate::policy::model::{self, Card};
use crate::policy::{Caller, Cards};

/// The form in which the models are shown.
pub(in crate::api) enum Form {
    OpenAi,
    Anthropic,
}

impl<S: Sync> FromRequestParts<S> for Form {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(
            match dialect::is_anthropics(parts, Some(parts.uri.path())) {
                true => Self::Anthropic,
                false => Self::OpenAi,
            },
        )
    }
}

async fn cards(context: &RequestContext, caller: Caller) -> Result<Cards, ApiError> {
    Ok(context
        .generation()
        .catalog(Some(caller), client_addr::now_ms())
        .await?)
}

fn entry(card: &Card) -> Model {
    Model::new(card.id.clone(), card.created, card.owned_by.clone())
}

fn info(card: &Card) -> ModelInfo {
    ModelInfo::new(card.id.clone(), card.created)
}

/// `GET /v1/models`: all models of the caller.
pub(in crate::api) async fn list(
    form: Form,
    context: RequestContext,
    Authenticated(caller): Authenticated,
) -> Result<Response, ApiError> {
    let cards = cards(&context, caller).await?;
    Ok(match form {
        Form::OpenAi => error::json(cards.sent(written)),
        Form::Anthropic => Json(ModelPage::new(cards.iter().map(info).collect())).into_response(),
    })
}

/// The body of the list. It can always be written.
fn written(cards: &[Card]) -> Bytes {
    let list = ModelList::new(cards.iter().map(entry).collect());
    serde_json::to_vec(&list).unwrap_or_default().into()
}

/// `GET /v1/models/{id}`: a listed model, or one that the policy resolves without listing it (another spelling, say).
pub(in crate::api) async fn show(
    Id(id): Id,
    form: Form,
    context: RequestContext,
    Authenticated(caller): Authenticated,
) -> Result<Response, ApiError> {
    let card = find(id, &context, caller).await?;
    Ok(match form {
        Form::OpenAi => Json(entry(&card)).into_response(),
        Form::Anthropic => Json(info(&card)).into_response(),
    })
}

async fn find(id: String, context: &RequestContext, caller: Caller) -> Result<Card, ApiError> {
    let cards = cards(context, caller.clone()).await?;
    if let Some(card) = cards.iter().find(|card| card.id.eq_ignore_ascii_case(&id)) {
        return Ok(card.clone());
    }
    let owner = cards.first().map(|card| card.owned_by.clone());
    let ask = model::Ask {
        caller,
        requested: Some(id),
        effort: None,
    };
    let target = context
        .generation()
        .resolve(ask, client_addr::now_ms())
        .await?;
    Ok(Card {
        id: target.id,
        owned_by: owner.unwrap_or_default(),
        created: 0,
    })
}
