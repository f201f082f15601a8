//! Sends a stream of deltas as server-sent events, in the dialect of a writer.

use std::convert::Infallible;
use std::time::Duration;

use axum::http::HeaderValue;
use axum::http::header::CACHE_CONTROL;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, StreamExt, stream};

use super::turn_stream::Deltas;
use crate::openai::ApiError;
use crate::turn::Delta;

/// Writes one answer in its dialect.
pub(super) trait Writer: Send + 'static {
    /// Appends the events before the first delta.
    fn begin(&mut self, out: &mut Vec<Event>);

    /// The sign that a silent stream is alive.
    fn keep_alive() -> KeepAlive {
        comment()
    }

    /// Appends the events for a delta of a choice. A dialect with one choice only gets 0.
    fn push(&mut self, choice: u32, delta: Delta, out: &mut Vec<Event>);
}

/// A comment, which clients ignore.
pub(super) fn comment() -> KeepAlive {
    KeepAlive::new().text("keepalive")
}

/// An event without a name.
pub(super) fn data(data: String) -> Event {
    Event::default().data(data)
}

/// How long the status line may wait for the first delta, if no keep-alive is due earlier.
pub(super) const PATIENCE: Duration = Duration::from_secs(15);

/// Answers with a stream. The status line waits for the first delta, so that an error before it gets its own status. If the model
/// takes longer, the stream begins with 200 and the client gets its first bytes.
pub(super) async fn respond<W: Writer>(
    deltas: Deltas,
    writer: W,
    keepalive: Duration,
) -> Result<Response, ApiError> {
    let patience = if keepalive.is_zero() {
        PATIENCE
    } else {
        keepalive.min(PATIENCE)
    };
    let deltas = begun(deltas.into_stream(), patience).await?;
    Ok(answer(events(deltas, writer), keepalive, W::keep_alive()))
}

/// The answer with these events; silence of this length is filled with a sign, never if it is zero.
pub(super) fn answer(
    events: impl Stream<Item = Event> + Send + 'static,
    keepalive: Duration,
    sign: KeepAlive,
) -> Response {
    let events = Sse::new(events.map(Ok::<_, Infallible>));
    let mut response = match keepalive.is_zero() {
        true => events.into_response(),
        false => events.keep_alive(sign.interval(keepalive)).into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(
        CACHE_CONTROL,
        HeaderValue::from_static("no-cache, no-transform"),
    );
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

/// Waits for the first delta, for as long as an error may have a status of its own.
pub(super) async fn begun(
    mut deltas: impl Stream<Item = (u32, Delta)> + Unpin,
    patience: Duration,
) -> Result<impl Stream<Item = (u32, Delta)>, ApiError> {
    let first = match tokio::time::timeout(patience, deltas.next()).await {
        Ok(Some((_, Delta::Failed(error)))) => return Err(error.into()),
        Ok(first) => first,
        Err(_) => None,
    };
    Ok(stream::iter(first).chain(deltas))
}

fn events(
    deltas: impl Stream<Item = (u32, Delta)>,
    mut writer: impl Writer,
) -> impl Stream<Item = Event> {
    let mut first = Vec::new();
    writer.begin(&mut first);
    let rest = deltas.flat_map(move |(choice, delta)| {
        let mut written = Vec::new();
        writer.push(choice, delta, &mut written);
        stream::iter(written)
    });
    stream::iter(first).chain(rest)
}
