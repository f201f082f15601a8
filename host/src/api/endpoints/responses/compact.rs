//! `POST /v1/responses/compact`: shortens a conversation, by a turn that summarises it.

use axum::extract::{Request, State};
use axum::response::Response;

use super::recall;
use crate::api::choices::Choices;
use crate::api::facts::Fact;
use crate::api::generate::{self, Generate};
use crate::api::{Shared, error};
use crate::openai::responses::{self, ResponsesRequest};
use crate::openai::{ApiError, id};

/// Answers the latest user messages and a summary of all, which take the place of the conversation.
pub(in crate::api) async fn compact(
    State(shared): State<Shared>,
    request: Request,
) -> Result<Response, ApiError> {
    let answer = answer(&shared, request).await;
    answer.map_err(|error| error.in_words(&responses::WORDS))
}

async fn answer(shared: &Shared, request: Request) -> Result<Response, ApiError> {
    let parse = ResponsesRequest::parse_compaction;
    let (mut intake, request) = Generate::open(shared, request, parse).await?;
    intake
        .context
        .record(Fact::Metadata(request.metadata.clone()));
    let past = recall(shared, &intake.caller, &request, None)?;
    let (model, target) = intake
        .resolve(request.model.clone(), request.effort.clone())
        .await?;
    let plan = intake.work(move || request.into_compaction(target, past));
    let (plan, rules, mut compaction) = plan.await??;
    let head = generate::head(id::response(), model.clone());
    let choices = Choices::one(plan, rules);
    let deltas = intake.begin(&model, false, choices).await?;
    deltas.fold(|_, delta| compaction.push(delta)).await?;
    compaction.into_json(&head).map(error::json)
}
