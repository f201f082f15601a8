//! The body of an answer, in pieces: its request is under way until the system has taken the last one.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes, HttpBody};
use bytes::Buf;
use http_body::{Frame, SizeHint};

use super::connection::{Offer, Underway};

/// Bytes of an answer that are handed over at once, and that HTTP/2 may keep for each.
pub(super) const PIECE: usize = 16 << 10;

/// The body of an answer.
pub(super) struct Departure {
    body: Body,
    /// The part of the last frame that is still to come.
    rest: Bytes,
    /// The answer's head, until the first piece is asked for.
    head: Option<Offer>,
    underway: Arc<Underway>,
}

impl Departure {
    /// The body of the answer to this request.
    pub(super) fn of(body: Body, underway: Underway) -> Self {
        let underway = Arc::new(underway);
        Self {
            body,
            rest: Bytes::new(),
            head: Some(underway.offer()),
            underway,
        }
    }

    fn piece(&self, bytes: Bytes) -> Piece {
        let offer = self.underway.offer();
        Piece { bytes, offer }
    }
}

impl HttpBody for Departure {
    type Data = Piece;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Piece>, axum::Error>>> {
        self.head = None;
        if self.rest.is_empty() {
            let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
            match frame.map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(data))) => self.rest = data,
                Some(Ok(Err(trailers))) => {
                    let trailers = trailers.map_data(|data| self.piece(data));
                    return Poll::Ready(Some(Ok(trailers)));
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
        let bytes = PIECE.min(self.rest.len());
        let bytes = self.rest.split_to(bytes);
        Poll::Ready(Some(Ok(Frame::data(self.piece(bytes)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (rest, body) = (self.rest.len() as u64, self.body.size_hint());
        let mut hint = SizeHint::new();
        hint.set_lower(body.lower() + rest);
        if let Some(upper) = body.upper() {
            hint.set_upper(upper + rest);
        }
        hint
    }
}

/// A piece of an answer. In HTTP/2 the library keeps it until the peer's window has room for all of it.
#[derive(Debug)]
pub(super) struct Piece {
    bytes: Bytes,
    offer: Offer,
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, bytes: usize) {
        self.bytes.advance(bytes);
        self.offer.taken(bytes, self.bytes.is_empty());
    }
}
