//! `/v1/chat/completions`: one request, one exchange, streamed or folded.

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use http_body_util::{BodyExt, LengthLimitError, Limited};

use super::admission::{self, Ask};
use super::observed::Observed;
use super::record::Record;
use super::{Shared, client, error, sse};
use crate::openai::chat::{ChatRequest, Chunks, Completion};
use crate::openai::{ApiError, Head, Target, id};
use crate::policy::{Caller, model};
use crate::turn::Delta;
use crate::turn::drive::{Exchange, Judge, Limits};

/// `HEAD`: some clients ask whether the endpoint is there.
pub(super) async fn probe() -> impl IntoResponse {
    [(CONTENT_TYPE, "application/json")]
}

/// `POST`
pub(super) async fn complete(
    State(shared): State<Shared>,
    Extension(record): Extension<Record>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let body = read(body, &parts.headers, shared.config.max_body).await?;
    let chat = ChatRequest::parse(&body)?;
    drop(body);
    let ask = model::Ask {
        caller: caller.clone(),
        requested: chat.model.clone(),
        effort: chat.effort.clone(),
    };
    let target = record.generation().resolve(ask, client::now_ms()).await?;
    record.set_model(&target.id);
    let ask = Ask {
        client: client::address(&parts, &shared.config.trusted),
        caller: Some(caller.clone()),
        endpoint: parts.uri.path().to_owned(),
        model: Some(target.id.clone()),
        streaming: chat.form.stream,
        estimated_tokens: chat
            .prompt_tokens_estimate()
            .saturating_add(chat.max_tokens().unwrap_or_default()),
    };
    admission::ask(&shared, &record, ask).await?;
    answer(&shared, record, caller, chat, target).await
}

async fn answer(
    shared: &Shared,
    record: Record,
    caller: Caller,
    chat: ChatRequest,
    target: model::Target,
) -> Result<Response, ApiError> {
    let head = Head {
        id: id::chat_completion(),
        created: client::now_ms() / 1_000,
        model: target.id.clone(),
    };
    let form = chat.form;
    let judge = Judge::new(record.generation().clone(), caller, target.id, form.stream);
    let limits = Limits {
        total: shared.config.turn_timeout,
        idle: shared.config.idle_timeout,
        ending: shared.ending.clone(),
    };
    let target = Target {
        model: target.model,
        effort: target.effort,
        provider: target.provider,
    };
    let (plan, rules) = chat.into_plan(target);
    let exchange = Exchange::start(&shared.backend, plan, rules, judge, limits).await;
    let exchange = exchange.map_err(|error| record.fail(error))?;
    let mut exchange = Observed::new(exchange, record);
    if form.stream {
        return sse::respond(exchange, Chunks::new(head, form), shared.config.keepalive).await;
    }
    let mut completion = Completion::new(head, form);
    while let Some(delta) = exchange.next().await {
        if let Delta::Failed(error) = delta {
            return Err(error.into());
        }
        completion.push(delta);
    }
    completion.into_json().map(error::json)
}

/// The whole body, if it is not too large. Which words say so does not depend on whether its length was announced.
async fn read(body: Body, headers: &HeaderMap, limit: usize) -> Result<Bytes, ApiError> {
    let too_large = || {
        let message =
            format!("The request body is larger than {limit} bytes, the limit of this gateway.");
        ApiError::new(413, "invalid_request_error", "request_too_large", message)
    };
    let announced = headers
        .get(axum::http::header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse().ok());
    if announced.is_some_and(|length: usize| length > limit) {
        return Err(too_large());
    }
    match Limited::new(body, limit).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(too_large()),
        Err(_) => Err(ApiError::invalid_request(
            "request_aborted",
            "The request body ended before it was complete.",
        )),
    }
}
