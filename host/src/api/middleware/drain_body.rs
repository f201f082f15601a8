//! Drains request bodies that no endpoint read, so that the client sees its answer instead of a reset.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Request, State};
use axum::http::header::EXPECT;
use axum::middleware::Next;
use axum::response::Response;
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::runtime::Handle;
use tokio::time::timeout;

use crate::api::Shared;

/// How long the rest of an unread body may take, as in nginx (`lingering_time`).
const LIMIT: Duration = Duration::from_secs(30);

/// [`draining`] as a layer.
pub(in crate::api) async fn drain(
    State(shared): State<Shared>,
    request: Request,
    next: Next,
) -> Response {
    next.run(draining(request, shared.config.max_body)).await
}

/// Reads the part of a body that the handler left: a connection closed with unread bytes is reset, and a client that was still
/// sending sees the reset instead of its answer. `max_body` is the limit for bodies.
pub(super) fn draining(request: Request, max_body: usize) -> Request {
    if request.body().is_end_stream() {
        return request;
    }
    // A client that sent `Expect` has sent no body yet and needs only the answer.
    let wanted = !request.headers().contains_key(EXPECT);
    request.map(|body| {
        Body::new(Draining {
            wanted,
            body,
            // Twice the limit, so that a body that is somewhat too large is read too.
            most: max_body.saturating_mul(2),
        })
    })
}

/// A body whose rest is read when it is dropped.
struct Draining {
    body: Body,
    /// The client is sending the body.
    wanted: bool,
    /// The most bytes of the rest that are read.
    most: usize,
}

impl HttpBody for Draining {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.wanted = true;
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(cx));
        if !matches!(frame, Some(Ok(_))) {
            self.body = Body::empty();
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

impl Drop for Draining {
    fn drop(&mut self) {
        let body = std::mem::take(&mut self.body);
        if self.wanted
            && !body.is_end_stream()
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(timeout(LIMIT, discard(body, self.most)));
        }
    }
}

/// Reads a body to its end, or until more than `most` bytes came.
async fn discard(mut body: Body, most: usize) {
    let mut left = most;
    while let Some(Ok(frame)) = body.frame().await {
        let bytes = frame.data_ref().map_or(0, Bytes::len);
        let Some(rest) = left.checked_sub(bytes) else {
            return;
        };
        left = rest;
    }
}
