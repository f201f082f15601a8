//! `/v1/completions`: answers prompts instead of a conversation, each as a turn, for clients that know only this endpoint.

use axum::extract::{Request, State};
use axum::response::Response;
use axum::response::sse::Event;

use crate::api::choices::Choices;
use crate::api::facts::Fact;
use crate::api::generate::{self, Generate};
use crate::api::{Shared, error, sse};
use crate::openai::completions::{self, Chunks, Completion, CompletionRequest, bound_choices};
use crate::openai::{ApiError, id};
use crate::turn::Delta;

/// `POST`: answers a completion request.
pub(in crate::api) async fn complete(
    State(shared): State<Shared>,
    request: Request,
) -> Result<Response, ApiError> {
    let answer = answer(shared, request).await;
    answer.map_err(|error| error.in_words(&completions::WORDS))
}

async fn answer(shared: Shared, request: Request) -> Result<Response, ApiError> {
    let parse = |body: &[u8], _: &_| CompletionRequest::parse(body);
    let (mut intake, request) = Generate::open(&shared, request, parse).await?;
    intake
        .context
        .record(Fact::Metadata(request.metadata.clone()));
    let form = request.form;
    bound_choices(form, shared.config.max_completion_choices)?;
    let (model, target) = intake.resolve(request.model.clone(), None).await?;
    let head = generate::head(id::completion(), model.clone());
    let plans = intake.work(move || request.into_plans(&target)).await?;
    let samples = u32::try_from(form.samples).unwrap_or(u32::MAX);
    let choices = Choices::new(plans, samples);
    let deltas = intake.begin(&model, form.stream, choices).await?;
    if form.stream {
        return sse::respond(deltas, Chunks::new(head, form), intake.keepalive()).await;
    }
    let mut completion = Completion::new(head, form);
    deltas
        .fold(|choice, delta| completion.push(choice, delta))
        .await?;
    completion.into_json().map(error::json)
}

impl sse::Writer for Chunks {
    fn begin(&mut self, _: &mut Vec<Event>) {}

    fn push(&mut self, choice: u32, delta: Delta, out: &mut Vec<Event>) {
        let mut written = Vec::new();
        self.push(choice, delta, &mut written);
        out.extend(written.into_iter().map(sse::data));
    }
}
