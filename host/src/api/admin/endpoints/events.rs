//! `GET events`: the events of policies' lives, as server-sent events until the gateway drains.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use serde::Serialize;
use tokio::sync::Semaphore;
use tokio::sync::broadcast::error::RecvError;

use super::super::Admin;
use crate::openai::{ApiError, GatewayError};

/// The most readers.
const MOST: usize = 16;
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
    let Ok(place) = READERS.try_acquire() else {
        return Err(GatewayError::TooManyReaders { most: MOST }.into());
    };
    let lives = admin.shared.live.lives();
    let events = stream::unfold((lives, place), |(mut lives, place)| async move {
        let event = match lives.recv().await {
            Ok(life) => Event::default().json_data(&life),
            Err(RecvError::Lagged(missed)) => {
                let what = "missed";
                Event::default().json_data(Missed { what, missed })
            }
            Err(RecvError::Closed) => return None,
        };
        // The gateway's own types can all be written.
        Some((event.unwrap_or_default(), (lives, place)))
    });
    let begun = stream::iter([Event::default().comment("events from now on")]);
    let drains = admin.shared.draining.clone().cancelled_owned();
    let events = begun.chain(events).map(Ok::<_, Infallible>);
    let events = Sse::new(events.take_until(drains));
    let keep_alive = KeepAlive::new().interval(KEEP_ALIVE);
    Ok(events.keep_alive(keep_alive).into_response())
}
