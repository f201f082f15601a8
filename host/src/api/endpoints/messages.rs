//! `/v1/messages`: runs a request of Anthropic's API as one turn, answered as events or one message, and counts its tokens.

use axum::extract::{Request, State};
use axum::response::Response;
use axum::response::sse::{Event, KeepAlive};

use crate::api::choices::Choices;
use crate::api::facts::Fact;
use crate::api::generate::{self, Generate};
use crate::api::{Shared, error, left_out, sse};
use crate::openai::messages::{self, Events, Message, MessagesRequest};
use crate::openai::{ApiError, id};
use crate::turn::Delta;

/// `POST`: answers a request.
pub(in crate::api) async fn create(
    State(shared): State<Shared>,
    request: Request,
) -> Result<Response, ApiError> {
    let answer = answer(shared, request).await;
    answer.map_err(|error| error.in_words(&messages::WORDS))
}

async fn answer(shared: Shared, request: Request) -> Result<Response, ApiError> {
    let (mut intake, request) = Generate::open(&shared, request, MessagesRequest::parse).await?;
    intake
        .context
        .record(Fact::Metadata(request.metadata.clone()));
    left_out::tell(&intake.context, &request.left_out);
    let (model, target) = intake
        .resolve(request.model.clone(), request.effort.clone())
        .await?;
    let (stream, form) = (request.stream, request.form.clone());
    let (plan, mut rules) = intake.work(move || request.into_plan(target)).await?;
    let head = generate::head(id::message(), model.clone());
    intake.rule_textual_calls(shared.config.responses_output_mode, &head, &mut rules);
    let prompt = rules.prompt_tokens_estimate;
    let choices = Choices::one(plan, rules);
    let deltas = intake.begin(&model, stream, choices).await?;
    if stream {
        let request_id = intake.context.id().to_owned();
        let events = Events::new(head, form, request_id, prompt);
        return sse::respond(deltas, events, intake.keepalive()).await;
    }
    let mut message = Message::new(head, form);
    deltas.fold(|_, delta| message.push(delta)).await?;
    message.into_json().map(error::json)
}

/// `POST /v1/messages/count_tokens`: the estimate of a prompt's tokens that limits use, too.
pub(in crate::api) async fn count_tokens(
    State(shared): State<Shared>,
    request: Request,
) -> Result<Response, ApiError> {
    let counted = count(shared, request).await;
    counted.map_err(|error| error.in_words(&messages::WORDS))
}

async fn count(shared: Shared, request: Request) -> Result<Response, ApiError> {
    let (intake, request) = Generate::open(&shared, request, MessagesRequest::parse_part).await?;
    let (_, target) = intake
        .resolve(request.model.clone(), request.effort.clone())
        .await?;
    let (_, rules) = intake.work(move || request.into_plan(target)).await?;
    Ok(error::json(messages::count(rules.prompt_tokens_estimate)))
}

impl sse::Writer for Events {
    fn begin(&mut self, out: &mut Vec<Event>) {
        let mut written = Vec::new();
        self.begin(&mut written);
        out.extend(written.into_iter().map(named));
    }

    fn keep_alive() -> KeepAlive {
        KeepAlive::new().event(named(messages::Event::ping()))
    }

    fn push(&mut self, _: u32, delta: Delta, out: &mut Vec<Event>) {
        let mut written = Vec::new();
        self.push(delta, &mut written);
        out.extend(written.into_iter().map(named));
    }
}

fn named(event: messages::Event) -> Event {
    Event::default().event(event.name).data(event.data)
}
