//! Connections between requests: one on which nothing is asked for long enough is closed, whatever it trickles.

mod head;
mod reject;
mod requests;

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use head::Head;
use reject::Reject;
use requests::Requests;
pub(super) use requests::{Arriving, Peer, Underway};

/// Longer than the proxies in front keep a connection that they may use again (Caddy two minutes, Traefik 90 seconds):
/// who closes first should be the one who would use it.
const IDLE: Duration = Duration::from_secs(300);

/// The same once intake has closed. A request that was sent before its peer could know is answered; busy peers use up their
/// connections within it, since each answer then closes its own. It is longer than a proxy on a busy machine takes to use a
/// connection it has chosen: with 250 ms Traefik lost one request beside two compilers.
const FAREWELL: Duration = Duration::from_secs(1);

/// From the first byte of a request's head to its last. Proxies and clients send it in one piece.
const HEAD: Duration = Duration::from_secs(10);

/// How often it is looked whether a peer that has closed its sending side is still there, at first and at last.
const LOOK: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(5)];

/// Says nothing, but the system of a peer that has gone answers it with a reset (RFC 9110 §15.2: clients pass it over).
const INTERIM: &[u8] = b"HTTP/1.1 102 Processing\r\n\r\n";

/// One connection. Half a request is no request: reading ends when the next one takes too long to be complete.
pub(super) struct Connection<I> {
    io: I,
    requests: Requests,
    head: Head,
    /// What hyper refuses by itself, in our words.
    reject: Reject,
    /// When it is to be looked again, for whatever reason.
    alarm: Pin<Box<Sleep>>,
    closing: Pin<Box<WaitForCancellationFutureOwned>>,
    /// Since when intake is closed.
    closed: Option<Instant>,
    /// The peer has closed its sending side and is waited for: how long until the next look.
    half_closed: Option<Duration>,
    /// The last write did not go out whole.
    congested: bool,
}

impl<I> Connection<I> {
    pub(super) fn new(io: I, closing: CancellationToken) -> Self {
        Self {
            io,
            requests: Requests::default(),
            head: Head::new(),
            reject: Reject::default(),
            alarm: Box::pin(tokio::time::sleep(IDLE)),
            closing: Box::pin(closing.cancelled_owned()),
            closed: None,
            half_closed: None,
            congested: false,
        }
    }

    /// When a connection that is idle since then ends.
    fn deadline(&mut self, since: Instant, cx: &mut Context<'_>) -> Instant {
        if self.closed.is_none() && self.closing.as_mut().poll(cx).is_ready() {
            self.closed = Some(Instant::now());
        }
        let begun = self.requests.head_since().map(|since| since + HEAD);
        let deadline = match self.closed {
            Some(closed) => since.max(closed) + FAREWELL,
            None => since + IDLE,
        };
        begun.map_or(deadline, |begun| begun.min(deadline))
    }

    fn poll_alarm(&mut self, at: Instant, cx: &mut Context<'_>) -> Poll<()> {
        if self.alarm.deadline() != at {
            self.alarm.as_mut().reset(at);
        }
        self.alarm.as_mut().poll(cx)
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> Connection<I> {
    /// Nothing more has come: until when that may go on.
    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let since = ready!(self.requests.poll_idle(cx));
        let deadline = self.deadline(since, cx);
        ready!(self.poll_alarm(deadline, cx));
        if self.closed.is_some() && self.requests.head_since().is_none() {
            // As if the peer had closed it.
            return Poll::Ready(Ok(()));
        }
        if self.head.is_text() && self.requests.head_since().is_some() {
            // Whether or not it can be sent: there is nobody else to tell.
            let _ = Pin::new(&mut self.io).poll_write(cx, reject::TIMEOUT.as_bytes());
        }
        Poll::Ready(Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "nothing was asked for too long",
        )))
    }

    /// The peer has closed its sending side. One that closed the connection has sent the same: which it was shows when
    /// something is sent to it. If nothing can be said yet, it has gone.
    fn poll_half_closed(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut look = match self.half_closed {
            Some(look) => look,
            None if self.congested || !self.requests.may_be_awaited() => {
                return Poll::Ready(Ok(()));
            }
            None => match Pin::new(&mut self.io).poll_write(cx, INTERIM) {
                Poll::Ready(Ok(sent)) if sent == INTERIM.len() => {
                    self.alarm.as_mut().reset(Instant::now() + LOOK[0]);
                    LOOK[0]
                }
                _ => return Poll::Ready(Ok(())),
            },
        };
        while self.requests.poll_idle(cx).is_pending() {
            self.half_closed = Some(look);
            ready!(self.alarm.as_mut().poll(cx));
            // Reading says the same of both (Linux gives no error after the end); writing nothing does not.
            if let Poll::Ready(Err(error)) = Pin::new(&mut self.io).poll_write(cx, &[]) {
                return Poll::Ready(Err(error));
            }
            look = LOOK[1].min(look * 2);
            self.alarm.as_mut().reset(Instant::now() + look);
        }
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> AsyncRead for Connection<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.half_closed.is_some() {
            return self.poll_half_closed(cx);
        }
        let before = buffer.filled().len();
        match Pin::new(&mut self.io).poll_read(cx, buffer) {
            Poll::Ready(Ok(())) if buffer.filled().len() == before && buffer.remaining() > 0 => {
                self.poll_half_closed(cx)
            }
            Poll::Ready(Ok(())) => {
                let this = &mut *self;
                this.head.read(&buffer.filled()[before..]);
                this.requests.heard(this.head.is_open());
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                self.requests.silent();
                self.poll_silence(cx)
            }
        }
    }
}

impl<I: AsyncWrite + Unpin> Connection<I> {
    /// Something of an answer goes out, or what hyper says to what is no request.
    fn poll_answer(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length = slices.iter().map(|slice| slice.len()).sum();
        if !self.requests.answers(slices) && self.head.is_text() && !self.congested {
            self.reject.look(slices);
        }
        if let Some(rest) = self.reject.rest() {
            let sent = ready!(Pin::new(&mut self.io).poll_write(cx, rest))?;
            if !self.reject.sent(sent) {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            return Poll::Ready(Ok(length));
        }
        let sent = match slices {
            [only] => Pin::new(&mut self.io).poll_write(cx, only),
            _ => Pin::new(&mut self.io).poll_write_vectored(cx, slices),
        };
        self.congested = !matches!(sent, Poll::Ready(Ok(sent)) if sent == length);
        sent
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Connection<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_answer(cx, &[IoSlice::new(bytes)])
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_answer(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

#[cfg(test)]
mod tests;
