//! `/v1/chat/completions`: runs a chat request as one turn for each choice, answered as a stream or in one piece.

use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::sse::Event;
use axum::response::{IntoResponse, Response};

use crate::api::choices::Choices;
use crate::api::facts::Fact;
use crate::api::generate::{self, Generate};
use crate::api::{Shared, error, sse};
use crate::openai::chat::{ChatRequest, Chunks, Completion, bound_choices};
use crate::openai::{ApiError, id};
use crate::turn::Delta;

/// `HEAD`: some clients check whether the endpoint exists.
pub(in crate::api) async fn probe() -> impl IntoResponse {
    [(CONTENT_TYPE, "application/json")]
}

/// `POST`: answers a chat request.
pub(in crate::api) async fn complete(
    State(shared): State<Shared>,
    request: Request,
) -> Result<Response, ApiError> {
    let (mut intake, chat) = Generate::open(&shared, request, ChatRequest::parse).await?;
    intake.context.record(Fact::Metadata(chat.metadata.clone()));
    let (form, calls) = (chat.form, chat.calls.clone());
    bound_choices(form, shared.config.max_choices)?;
    let (model, target) = intake
        .resolve(chat.model.clone(), chat.effort.clone())
        .await?;
    let (plan, mut rules) = intake.work(move || chat.into_plan(target)).await?;
    let head = generate::head(id::chat_completion(), model.clone());
    intake.rule_textual_calls(shared.config.output_mode, &head, &mut rules);
    let choices = Choices::new(vec![(plan, rules)], form.choices);
    let deltas = intake.begin(&model, form.stream, choices).await?;
    if form.stream {
        return sse::respond(
            deltas,
            Chunks::new(head, form).with_calls(calls),
            intake.keepalive(),
        )
        .await;
    }
    let mut completion = Completion::new(head, form).with_calls(calls);
    deltas
        .fold(|choice, delta| completion.push(choice, delta))
        .await?;
    completion.into_json().map(error::json)
}

impl sse::Writer for Chunks {
    fn begin(&mut self, out: &mut Vec<Event>) {
        let mut written = Vec::new();
        self.begin(&mut written);
        out.extend(written.into_iter().map(sse::data));
    }

    fn push(&mut self, choice: u32, delta: Delta, out: &mut Vec<Event>) {
        let mut written = Vec::new();
        self.push(choice, delta, &mut written);
        out.extend(written.into_iter().map(sse::data));
    }
}
