//! `/v1/completions`: answers a prompt instead of a conversation, for clients that know only this endpoint.

use axum::extract::{Request, State};
use axum::response::Response;
use axum::response::sse::Event;

use crate::api::generate::{self, Generate};
use crate::api::request_context::Fact;
use crate::api::{Shared, error, sse};
use crate::openai::completions::{self, Chunks, Completion, CompletionRequest};
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
    let (model, target) = intake.resolve(request.model.clone(), None).await?;
    let form = request.form;
    let head = generate::head(id::completion(), model.clone());
    let plan = intake.work(move || request.into_plan(target)).await?;
    let deltas = intake.begin(&model, form.stream, vec![plan]).await?;
    if form.stream {
        return sse::respond(deltas, Chunks::new(head, form), intake.keepalive()).await;
    }
    let mut completion = Completion::new(head);
    deltas.fold(|_, delta| completion.push(delta)).await?;
    completion.into_json().map(error::json)
}

impl sse::Writer for Chunks {
    fn begin(&mut self, _: &mut Vec<Event>) {}

    fn push(&mut self, _: u32, delta: Delta, out: &mut Vec<Event>) {
        let mut written = Vec::new();
        self.push(delta, &mut written);
        out.extend(written.into_iter().map(sse::data));
    }
}
