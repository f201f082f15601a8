//! `/v1/responses`: runs a request as one turn, answered as events or one object, and keeps the response to be continued.

mod background;
mod compact;
mod input_items;
mod input_tokens;
mod socket;

pub(in crate::api) use background::cancel;
pub(in crate::api) use compact::compact;
pub(in crate::api) use input_items::list as list_input;
pub(in crate::api) use input_tokens::count as count_input;
pub(in crate::api) use socket::open as open_socket;

use axum::extract::{Request, State};
use axum::http::Uri;
use axum::http::request::Parts;
use axum::response::Response;
use axum::response::sse::Event;
use serde_json::{Value, json};

use crate::api::choices::{self, Choices};
use crate::api::facts::Fact;
use crate::api::generate::{self, Generate};
use crate::api::id::Id;
use crate::api::request_context::Authenticated;
use crate::api::socket::OnSocket;
use crate::api::{Shared, error, left_out, query, sse};
use crate::codex::Plan;
use crate::openai::responses::{
    self, Context, Events, Memory, ResponseObject, ResponsesRequest, Transport,
};
use crate::openai::{ApiError, GatewayError, id};
use crate::policy::Caller;
use crate::turn::{Delta, Rules};

/// `POST`: answers a request and keeps the response.
pub(in crate::api) async fn create(
    State(shared): State<Shared>,
    request: Request,
) -> Result<Response, ApiError> {
    let answer = answer(shared, request).await;
    answer.map_err(|error| error.in_words(&responses::WORDS))
}

async fn answer(shared: Shared, request: Request) -> Result<Response, ApiError> {
    let on_socket = request.extensions().get::<OnSocket>().copied();
    let (mut intake, request) = Generate::open(&shared, request, ResponsesRequest::parse).await?;
    if on_socket.is_some() {
        request.check_event()?;
    }
    intake
        .context
        .record(Fact::Metadata(request.metadata.clone()));
    left_out::tell(&intake.context, &request.left_out);
    let (stream, background) = (request.stream, request.background);
    let (stored, transport) = (request.store, request.transport.clone());
    let Planned {
        model,
        plan,
        mut rules,
        context,
    } = plan(&shared, &intake, request, on_socket).await?;
    let head = generate::head(id::response(), model.clone());
    intake.rule_textual_calls(shared.config.responses_output_mode, &head, &mut rules);
    let choices = Choices::one(plan, rules);
    if background {
        let asked = (choices, stream);
        return background::begin(&shared, &mut intake, asked, (head, context)).await;
    }
    let keep = Keep {
        shared: shared.clone(),
        owner: choices::key(&intake.caller),
        id: head.id.clone(),
        only_on: on_socket.filter(|_| !stored),
    };
    if on_socket.is_some() {
        let writer = Writer::new(Events::new(head, context), keep);
        return socket::answer(&mut intake, &model, choices, (writer, transport)).await;
    }
    let deltas = intake.begin(&model, stream, choices).await?;
    if stream {
        let writer = Writer::new(Events::new(head, context), keep);
        return sse::respond(deltas, writer, intake.keepalive()).await;
    }
    let mut object = ResponseObject::new(head, context);
    deltas.fold(|_, delta| object.push(delta)).await?;
    let (object, memory) = object.into_json()?;
    if let Some(memory) = memory {
        keep.put(object.clone(), memory);
    }
    Ok(error::json(object))
}

/// A request whose model is decided.
struct Planned {
    /// The model's name for the client.
    model: String,
    plan: Plan,
    rules: Rules,
    context: Context,
}

/// Recalls the conversation that the request continues, asks the model policy, and puts the prompt together.
async fn plan(
    shared: &Shared,
    intake: &Generate<'_>,
    mut request: ResponsesRequest,
    on_socket: Option<OnSocket>,
) -> Result<Planned, ApiError> {
    let past = recall(shared, &intake.caller, &request, on_socket)?;
    let (model, target) = intake
        .resolve(request.model.clone(), request.effort.clone())
        .await?;
    match on_socket {
        // The same connection may continue an answer that is not stored.
        Some(_) => request.store = true,
        None => request.transport = Transport::default(),
    }
    let plan = intake.work(move || request.into_plan(target, past));
    let (plan, rules, context) = plan.await??;
    Ok(Planned {
        model,
        plan,
        rules,
        context,
    })
}

/// `GET /v1/responses/{id}`: a kept response, or the events of one in the background.
pub(in crate::api) async fn show(
    State(shared): State<Shared>,
    Id(id): Id,
    Authenticated(caller): Authenticated,
    parts: Parts,
) -> Result<Response, ApiError> {
    let owner = choices::key(&caller);
    if let Some(Replay { after }) = Replay::read(&parts.uri)? {
        let events = shared.responses.read_events(&owner, &id, after)?;
        let keepalive = shared.config.timers.keepalive(&parts);
        return Ok(background::told(events, keepalive));
    }
    let object = shared.responses.object(&owner, &id);
    object.map(error::json).ok_or_else(|| not_found(&id))
}

/// A wish for the events of a response.
struct Replay {
    /// The sequence number of the last event that the client has.
    after: Option<u64>,
}

impl Replay {
    fn read(uri: &Uri) -> Result<Option<Self>, ApiError> {
        let pairs: Vec<(String, String)> = query::parameters(uri)?;
        let streams = match query::last(&pairs, "stream") {
            None | Some("false") => false,
            Some("true") => true,
            Some(other) => return Err(query::wrong("stream", "true or false", other)),
        };
        let after = query::last(&pairs, "starting_after").map(|text| {
            let number = text.parse::<u64>();
            number.map_err(|_| query::wrong("starting_after", "a whole number", text))
        });
        // OpenAI's own SDK sends both: without a stream there is nothing to start after.
        let after = after.transpose()?;
        Ok(streams.then_some(Self { after }))
    }
}

/// `DELETE /v1/responses/{id}`: forgets a kept response.
pub(in crate::api) async fn delete(
    State(shared): State<Shared>,
    Id(id): Id,
    Authenticated(caller): Authenticated,
) -> Result<Response, ApiError> {
    if !shared.responses.delete(&choices::key(&caller), &id) {
        return Err(not_found(&id));
    }
    let deleted = json!({"id": id, "object": "response", "deleted": true});
    Ok(error::json(deleted.to_string()))
}

fn not_found(id: &str) -> ApiError {
    GatewayError::ResponseNotFound { id: id.to_owned() }.into()
}

/// The conversation and items the request refers to. Unknown items become an error when the input is put together.
fn recall(
    shared: &Shared,
    caller: &Caller,
    request: &ResponsesRequest,
    on_socket: Option<OnSocket>,
) -> Result<Memory, ApiError> {
    let (responses, owner) = (&shared.responses, choices::key(caller));
    let of_socket = |id: &str| {
        let OnSocket(socket) = on_socket?;
        responses.take_for_socket(socket, &owner, id)
    };
    let conversation = match &request.previous_response_id {
        None => Vec::new(),
        Some(id) => of_socket(id)
            .or_else(|| responses.conversation(&owner, id))
            .ok_or_else(|| previous_not_found(id))?,
    };
    let items = request
        .references()
        .filter_map(|id| Some((id.to_owned(), responses.item(&owner, id)?)))
        .collect();
    Ok(Memory {
        conversation,
        items,
        ..Memory::default()
    })
}

fn previous_not_found(id: &str) -> ApiError {
    GatewayError::PreviousNotFound { id: id.to_owned() }.about("previous_response_id")
}

/// The key under which an answer is kept.
struct Keep {
    shared: Shared,
    /// The key of the caller.
    owner: String,
    id: String,
    /// The WebSocket that alone may continue the answer, since it is not stored.
    only_on: Option<OnSocket>,
}

impl Keep {
    fn put(&self, object: String, memory: Memory) {
        let (responses, owner) = (&self.shared.responses, &self.owner);
        match self.only_on {
            Some(OnSocket(socket)) => responses.put_for_socket(socket, owner, &self.id, memory),
            None => responses.put(owner, &self.id, object, memory),
        }
    }
}

struct Writer {
    events: Events,
    keep: Keep,
}

impl Writer {
    /// Keeps the response before its last event is sent: clients may continue it at once.
    fn remember(&mut self, last: &responses::Event) {
        let Some(memory) = self.events.take_memory() else {
            return;
        };
        let object = serde_json::from_str::<Value>(&last.data)
            .ok()
            .and_then(|mut event| event.get_mut("response").map(Value::take));
        if let Some(object) = object {
            self.keep.put(object.to_string(), memory);
        }
    }
}

impl Writer {
    fn new(events: Events, keep: Keep) -> Self {
        Self { events, keep }
    }

    /// The events before the first delta.
    fn begun(&mut self) -> Vec<responses::Event> {
        let mut written = Vec::new();
        self.events.begin(&mut written);
        written
    }

    /// The events for a delta.
    fn write(&mut self, delta: Delta) -> Vec<responses::Event> {
        let mut written = Vec::new();
        self.events.push(delta, &mut written);
        if let Some(last) = written.last() {
            self.remember(last);
        }
        written
    }
}

impl sse::Writer for Writer {
    fn begin(&mut self, out: &mut Vec<Event>) {
        out.extend(self.begun().into_iter().map(named));
    }

    fn push(&mut self, _: u32, delta: Delta, out: &mut Vec<Event>) {
        out.extend(self.write(delta).into_iter().map(named));
    }
}

fn named(event: responses::Event) -> Event {
    Event::default().event(event.name).data(event.data)
}
