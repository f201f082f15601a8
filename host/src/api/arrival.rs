//! Limits how slowly a request's body may arrive, and tells its connection when the body is complete.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use http_body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep};

use super::connection::{Arriving, Underway};

/// How long a body may be waited for in all, whatever its size: congested networks pause that long.
const PATIENCE: Duration = Duration::from_secs(20);

/// The additional time for each byte received: 500 bytes a second, Apache's default (`RequestReadTimeout`), is slower than any
/// network in use.
const PER_BYTE: Duration = Duration::from_millis(2);

/// The body came too slowly.
#[derive(Debug, thiserror::Error)]
#[error("the request body came too slowly")]
pub(super) struct TooSlow;

/// A body with a limited waiting time. Only the time in which the body is read and no data is there counts.
pub(super) struct Arrival {
    body: Body,
    arriving: Option<Arriving>,
    /// The waiting time that is left.
    left: Duration,
    /// The start of the present wait, and the timer for its end.
    waiting: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl Arrival {
    /// Watches the body of a request. An empty body is returned as it is.
    pub(super) fn watch(body: Body, underway: &Underway) -> Body {
        if body.is_end_stream() {
            return body;
        }
        Body::new(Self {
            body,
            arriving: Some(underway.arriving()),
            left: PATIENCE,
            waiting: None,
        })
    }

    fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let left = self.left;
        let (_, alarm) = self.waiting.get_or_insert_with(|| {
            let now = Instant::now();
            (now, Box::pin(tokio::time::sleep_until(now + left)))
        });
        alarm.as_mut().poll(cx)
    }
}

impl HttpBody for Arrival {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) else {
            std::task::ready!(self.poll_patience(cx));
            (self.body, self.arriving) = (Body::empty(), None);
            return Poll::Ready(Some(Err(axum::Error::new(TooSlow))));
        };
        if let Some((since, _)) = self.waiting.take() {
            self.left = self.left.saturating_sub(since.elapsed());
        }
        match &frame {
            Some(Ok(frame)) => {
                let bytes = frame.data_ref().map_or(0, Bytes::len);
                let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
                self.left = self.left.saturating_add(PER_BYTE.saturating_mul(bytes));
                if self.body.is_end_stream() {
                    self.arriving = None;
                }
            }
            Some(Err(_)) | None => self.arriving = None,
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use axum::http::Version;
    use futures_util::{StreamExt, stream};
    use http_body_util::BodyExt;

    use super::*;
    use crate::api::connection::Peer;

    /// Reads a body of `pieces` pieces, with `pause` before each. Returns how long that took, and whether the body was complete.
    async fn read(pieces: usize, bytes: usize, pause: Duration) -> (Duration, bool) {
        let pieces = stream::iter(0..pieces).then(move |_| async move {
            tokio::time::sleep(pause).await;
            Ok::<_, std::io::Error>(vec![b'x'; bytes])
        });
        let peer = Peer::from(SocketAddr::from(([127, 0, 0, 1], 1)));
        let underway = peer.begin(Version::HTTP_11);
        let began = Instant::now();
        let body = Arrival::watch(Body::from_stream(pieces), &underway);
        let whole = body.collect().await.is_ok();
        (began.elapsed(), whole)
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_trickles_is_given_up_and_a_slow_one_is_not() {
        let (read_for, whole) = read(10_000, 1, Duration::from_secs(1)).await;
        assert!(!whole && read_for < PATIENCE * 2, "{read_for:?}");
        let (read_for, whole) = read(1, 1, PATIENCE * 2).await;
        assert!(
            !whole && read_for <= PATIENCE + Duration::from_millis(1),
            "{read_for:?}"
        );
        let (read_for, whole) = read(600, 1_024, Duration::from_secs(1)).await;
        assert!(
            whole && read_for >= Duration::from_secs(600),
            "{read_for:?}"
        );
    }
}
