//! `GET events`: the events of policies' lives, as server-sent events until the gateway drains.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, StreamExt, stream};
use serde::Serialize;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::super::Admin;
use crate::openai::{ApiError, GatewayError};

/// The most readers of one kind of events.
pub(super) const MOST: usize = 16;
/// The interval of comments while nothing happens.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

static READERS: Semaphore = Semaphore::const_new(MOST);

/// So many events came faster than they were read.
#[derive(Serialize)]
struct Missed {
    what: &'static str,
    missed: u64,
}

/// All events from now on. The first line is a comment: events after it are not missed.
pub(in crate::api::admin) async fn watch(State(admin): State<Admin>) -> Result<Response, ApiError> {
    let place = place(&READERS)?;
    let lives = admin.shared.live.lives();
    let events = stream::unfold((lives, place), |(mut lives, place)| async move {
        let event = match lives.recv().await {
            Ok(life) => event(&life),
            Err(RecvError::Lagged(count)) => missed(count),
            Err(RecvError::Closed) => return None,
        };
        Some((event, (lives, place)))
    });
    Ok(respond(&admin, "events from now on", events))
}

/// A place for another reader.
pub(super) fn place(places: &'static Semaphore) -> Result<SemaphorePermit<'static>, ApiError> {
    let place = places.try_acquire();
    place.map_err(|_| GatewayError::TooManyReaders { most: MOST }.into())
}

/// An event with this value as its data. The gateway's own types can all be written.
pub(super) fn event(value: &impl Serialize) -> Event {
    Event::default().json_data(value).unwrap_or_default()
}

/// The event for those that came too fast.
pub(super) fn missed(missed: u64) -> Event {
    let what = "missed";
    event(&Missed { what, missed })
}

/// Answers with a comment, then the events until the gateway drains.
pub(super) fn respond(
    admin: &Admin,
    begun: &str,
    events: impl Stream<Item = Event> + Send + 'static,
) -> Response {
    let begun = stream::iter([Event::default().comment(begun)]);
    let drains = admin.shared.draining.clone().cancelled_owned();
    let events = begun.chain(events).map(Ok::<_, Infallible>);
    let events = Sse::new(events.take_until(drains));
    let keep_alive = KeepAlive::new().interval(KEEP_ALIVE);
    events.keep_alive(keep_alive).into_response()
}
