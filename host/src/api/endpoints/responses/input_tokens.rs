//! `POST /v1/responses/input_tokens`: estimates the tokens of a request's prompt, without a turn.

use axum::extract::{Request, State};
use axum::response::Response;
use serde_json::json;

use crate::api::generate::Generate;
use crate::api::{Shared, error};
use crate::openai::ApiError;
use crate::openai::responses::{self, ResponsesRequest};

/// Answers the estimate that limits use. Codex has no count of a prompt before it is sent.
pub(in crate::api) async fn count(
    State(shared): State<Shared>,
    request: Request,
) -> Result<Response, ApiError> {
    let tokens = estimate(&shared, request).await;
    let tokens = tokens.map_err(|error| error.in_words(&responses::WORDS))?;
    let counted = json!({"object": "response.input_tokens", "input_tokens": tokens});
    Ok(error::json(counted.to_string()))
}

async fn estimate(shared: &Shared, request: Request) -> Result<u64, ApiError> {
    let (intake, request) = Generate::open(shared, request, ResponsesRequest::parse).await?;
    let planned = super::plan(shared, &intake, request, None).await?;
    Ok(planned.rules.prompt_tokens_estimate)
}
