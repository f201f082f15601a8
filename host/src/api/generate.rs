//! The steps that generating endpoints share: read the body, ask the policies, begin the turns.

use std::error::Error;
use std::time::Duration;

use axum::RequestPartsExt;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::header::CONTENT_LENGTH;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Version};
use bytes::BytesMut;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::time::{Instant, timeout};

use super::activity;
use super::admission::{self, Ask};
use super::aliases::ModelOfUrl;
use super::arrival::TooSlow;
use super::bodies::{Room, RoomTaken, UNANNOUNCED};
use super::choices::{Choices, Starter};
use super::content_coding::Coding;
use super::facts::Fact;
use super::output_mode::{self, OutputMode};
use super::request_context::{Authenticated, RequestContext};
use super::turn_stream::{Beginning, Deltas, Turns};
use super::{Shared, client_addr};
use crate::openai::{ApiError, GatewayError, Head, Reading, Target};
use crate::policy::{Caller, model};
use crate::turn::Rules;

/// A request that may generate, from its body to the start of its turns.
pub(super) struct Generate<'a> {
    shared: &'a Shared,
    pub(super) context: RequestContext,
    pub(super) caller: Caller,
    parts: Parts,
    /// The size of the body.
    pub(super) bytes: usize,
    /// The memory for the body and the parsed request, held until Codex has all turns.
    room: Room,
}

impl<'a> Generate<'a> {
    /// Reads the body of an authenticated request, and parses it.
    pub(super) async fn open<T: Send + 'static>(
        shared: &'a Shared,
        request: Request,
        parse: impl FnOnce(&[u8], &Reading) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<(Self, T), ApiError> {
        let (mut parts, body) = request.into_parts();
        let context = parts.extract().await?;
        let Authenticated(caller) = parts.extract().await?;
        let reading = read(body, &parts, shared);
        let (body, room) = timeout(shared.config.timers.total, reading)
            .await
            .map_err(|_| GatewayError::BodyTooSlow)??;
        let intake = Self {
            shared,
            context,
            caller,
            parts,
            bytes: body.len(),
            room,
        };
        let config = shared.clone();
        let parsed = intake.work(move || parse(&body, &config.config.reading));
        let parsed = parsed.await??;
        Ok((intake, parsed))
    }

    /// Runs work on the parsed request: for large requests it takes too long for the serving threads.
    pub(super) async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        self.shared.bodies.work(self.bytes, work).await
    }

    pub(super) fn headers(&self) -> &HeaderMap {
        &self.parts.headers
    }

    /// The silence after which this request's stream gets a comment line; zero is never.
    pub(super) fn keepalive(&self) -> Duration {
        self.shared.config.timers.keepalive(&self.parts)
    }

    /// Decides how calls that the model writes as text reach the client, by the request's header or this setting, and tells the client.
    pub(super) fn rule_textual_calls(&self, setting: OutputMode, answer: &Head, rules: &mut Rules) {
        let mode = OutputMode::of(self.headers(), setting);
        self.context.add_header(output_mode::HEADER, mode.name());
        if !rules.structured {
            rules.textual_tools = mode.textual(&answer.id);
        }
        rules
            .block_delimiter
            .clone_from(&self.shared.config.block_delimiter);
    }

    /// Asks the model policy: returns the model's name for the client, and the model that Codex runs.
    pub(super) async fn resolve(
        &self,
        requested: Option<String>,
        effort: Option<String>,
    ) -> Result<(String, Target), ApiError> {
        let of_url = self.parts.extensions.get::<ModelOfUrl>();
        let ask = model::Ask {
            caller: self.caller.clone(),
            requested: of_url.map(|model| model.0.clone()).or(requested),
            effort,
        };
        let generation = self.context.generation();
        let target = generation.resolve(ask, client_addr::now_ms()).await?;
        self.context.record(Fact::Model {
            answer: target.id.clone(),
            codex: target.model.clone(),
        });
        let runs = Target {
            model: target.model,
            effort: target.effort,
            provider: target.provider,
        };
        Ok((target.id, runs))
    }

    /// Asks the rate-limit policy, now that model and estimate are known, and begins an exchange for each choice.
    pub(super) async fn begin(
        &mut self,
        model: &str,
        streaming: bool,
        choices: Choices,
    ) -> Result<Deltas, ApiError> {
        let outlive = !self.shared.config.kill_on_disconnect;
        let beginning = self.launch(model, streaming, choices, outlive).await?;
        Ok(beginning.begun().await?)
    }

    /// As [`Self::begin`], without waiting for a worker.
    pub(super) async fn launch(
        &mut self,
        model: &str,
        streaming: bool,
        mut choices: Choices,
        outlive: bool,
    ) -> Result<Beginning, ApiError> {
        choices.sign(&self.caller, self.context.id());
        self.admit(model, streaming, &choices).await?;
        let count = choices.count();
        let starter = self.starter(model, streaming, choices);
        let turns = Turns {
            count,
            at_once: self.shared.config.max_choices,
            start: move |choice, follows| starter.start(choice, follows),
        };
        Ok(Deltas::begin(turns, &self.context, self.shared, outlive))
    }

    /// Asks the rate-limit policy about turns, without beginning them.
    pub(super) async fn admit(
        &self,
        model: &str,
        streaming: bool,
        choices: &Choices,
    ) -> Result<(), ApiError> {
        self.bound_prompt(choices)?;
        let ask = Ask {
            client: self.context.client().to_owned(),
            caller: Some(self.caller.clone()),
            endpoint: self.parts.uri.path().to_owned(),
            model: Some(model.to_owned()),
            streaming,
            estimated_tokens: choices.estimated_tokens(),
        };
        admission::ask(self.shared, &self.context, ask).await?;
        self.context.record(Fact::Stream(streaming));
        Ok(())
    }

    fn bound_prompt(&self, choices: &Choices) -> Result<(), ApiError> {
        let tokens = choices.longest_prompt();
        match self.shared.config.max_prompt_tokens {
            Some(most) if tokens > most => {
                Err(GatewayError::PromptTooLong { tokens, most }.about("messages"))
            }
            _ => Ok(()),
        }
    }

    fn starter(&mut self, model: &str, streaming: bool, choices: Choices) -> Starter {
        let shared = self.shared.clone();
        let (timers, ending) = (shared.config.timers, shared.ending.clone());
        Starter {
            limits: timers.limits(streaming, shared.backend.is_proto(), ending),
            shared,
            context: self.context.clone(),
            caller: self.caller.clone(),
            model: model.to_owned(),
            streaming,
            tells_activity: activity::is_wanted(self.headers()),
            choices,
            _room: std::mem::take(&mut self.room),
        }
    }
}

/// The members that every part of the answer repeats.
pub(super) fn head(id: String, model: String) -> Head {
    let clock = || client_addr::now_ms() / 1_000;
    Head {
        id,
        created: clock(),
        model,
        clock,
    }
}

/// Reads the whole body, up to the size limit, and decompresses it within the same limit; returns it with its room.
async fn read(body: Body, parts: &Parts, shared: &Shared) -> Result<(Bytes, Room), ApiError> {
    let limit = shared.config.max_body;
    let Some(coding) = Coding::of(&parts.headers)? else {
        return receive(body, parts, shared, 0).await;
    };
    let (body, mut room) = receive(body, parts, shared, limit).await?;
    if let Some(decoded) = decode_small(coding, &body, limit)? {
        room.shrink(decoded.len());
        return Ok((decoded.into(), room));
    }
    if body.len() <= UNANNOUNCED {
        // See `receive`.
        drop(room);
        room = shared.bodies.room(limit).await?;
    }
    let work = shared
        .bodies
        .work(limit, move || coding.decode(&body, limit));
    let decoded = work.await??;
    room.shrink(decoded.len());
    Ok((decoded.into(), room))
}

/// Decompresses a body that is small in both forms; none if it is not.
fn decode_small(
    coding: Coding,
    body: &[u8],
    limit: usize,
) -> Result<Option<Vec<u8>>, GatewayError> {
    if body.len() > UNANNOUNCED {
        return Ok(None);
    }
    match coding.decode(body, UNANNOUNCED.min(limit)) {
        Ok(decoded) => Ok(Some(decoded)),
        Err(GatewayError::BodyTooLarge { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Receives a body, up to the size limit, whether or not its length was announced; returns it with its room. The room of a large
/// body has `spare` bytes more.
async fn receive(
    body: Body,
    parts: &Parts,
    shared: &Shared,
    spare: usize,
) -> Result<(Bytes, Room), ApiError> {
    let limit = shared.config.max_body;
    let announced = parts
        .headers
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > limit) {
        return Err(GatewayError::BodyTooLarge { limit }.into());
    }
    // A small body that is compressed may become one of `UNANNOUNCED` bytes without further room.
    let whole = |bytes: usize| match bytes > UNANNOUNCED {
        true => bytes.saturating_add(spare),
        false => bytes.max(UNANNOUNCED.min(spare)),
    };
    let needed = announced.map(whole);
    let taken = parts.extensions.get::<RoomTaken>();
    let mut room = match (taken.and_then(RoomTaken::take), parts.version) {
        (Some(room), _) => room,
        (None, Version::HTTP_2) => shared.bodies.room_of_stream(needed).await?,
        (None, _) => shared.bodies.room(needed.unwrap_or_default()).await?,
    };
    let mut body = Limited::new(body, limit);
    let mut read = BytesMut::with_capacity(announced.unwrap_or_default());
    let began = Instant::now();
    loop {
        let frame = tokio::select! {
            frame = body.frame() => frame,
            () = room.outstayed(began, read.len()) => {
                return Err(GatewayError::BodyTooSlow.into());
            }
        };
        let Some(frame) = frame else { break };
        let frame = frame.map_err(|error| unread(&*error, limit))?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if announced.is_none() && (read.len()..read.len() + data.len()).contains(&UNANNOUNCED) {
            // Room that is held while other room is waited for could keep all of them waiting.
            drop(room);
            room = shared.bodies.room(limit.saturating_add(spare)).await?;
        }
        read.extend_from_slice(&data);
    }
    room.shrink(whole(read.len()));
    Ok((read.freeze(), room))
}

/// The error for a body that was not read to its end.
fn unread<'a>(error: &'a (dyn Error + 'static), limit: usize) -> GatewayError {
    if error.is::<LengthLimitError>() {
        return GatewayError::BodyTooLarge { limit };
    }
    let mut causes = std::iter::successors(Some(error), |error| {
        let error: &'a (dyn Error + 'static) = *error;
        error.source()
    });
    if causes.any(|error| error.is::<TooSlow>()) {
        return GatewayError::BodyTooSlow;
    }
    GatewayError::BodyAborted
}
