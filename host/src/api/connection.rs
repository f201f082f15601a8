//! One connection, wrapped around its socket: closes it after a time without requests, whatever bytes trickle in.

mod head;
mod reject;
mod requests;

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use head::Head;
use reject::Reject;
use requests::Requests;
pub(super) use requests::{Arriving, Offer, Peer, Underway};

/// Longer than proxies keep an idle connection for reuse (Caddy two minutes, Traefik 90 seconds): the side that reuses
/// connections should close first.
const IDLE: Duration = Duration::from_secs(300);

/// The idle timeout once intake has closed. A request that was sent before its peer could know is still answered. Busy peers use
/// up their connections within this time, since each answer then closes its own. It is longer than a proxy on a busy machine
/// takes to use a connection it has chosen: with 250 ms Traefik lost one request beside two compilers.
const FAREWELL: Duration = Duration::from_secs(1);

/// The timeout from the first byte of a request's head to its last. Proxies and clients send the head in one piece.
const HEAD: Duration = Duration::from_secs(10);

/// The first and the longest interval at which a half-closed connection is probed for whether its peer is still there.
const LOOK: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(5)];

/// How long a body may seem incomplete after its peer has closed its sending side: its last bytes may be on their way to the
/// request.
const LAST_BYTES: Duration = Duration::from_secs(1);

/// How long the last frames of a peer in HTTP/2 are read, at most.
const LAST_FRAMES: Duration = Duration::from_secs(5);

/// An interim answer without content. Clients ignore it (RFC 9110 §15.2); the system of a peer that has gone sends a reset.
const INTERIM: &[u8] = b"HTTP/1.1 102 Processing\r\n\r\n";

/// One connection. Reading ends when the head of the next request takes too long to be complete.
pub(super) struct Connection<I> {
    io: I,
    requests: Requests,
    head: Head,
    /// Replaces hyper's own bare refusals with ours.
    reject: Reject,
    /// The timer for whichever check is due next.
    alarm: Pin<Box<Sleep>>,
    /// The end of intake: looked at when it comes, since all connections share its lock.
    closing: FuturesUnordered<WaitForCancellationFutureOwned>,
    /// When intake was closed.
    closed: Option<Instant>,
    /// The peer has closed its sending side and still gets its answer: the interval until the next probe.
    half_closed: Option<Duration>,
    /// The same while a body seems incomplete: until when that is doubted.
    doubted: Option<Instant>,
    /// The last write was only partial, or pending.
    congested: bool,
    /// Everything was sent: since when, and until when the peer's last frames are read.
    last_frames: Option<(Instant, Instant)>,
}

impl<I> Connection<I> {
    pub(super) fn new(io: I, closing: CancellationToken) -> Self {
        Self {
            io,
            requests: Requests::default(),
            head: Head::new(),
            reject: Reject::default(),
            alarm: Box::pin(tokio::time::sleep(IDLE)),
            closing: FuturesUnordered::from_iter([closing.cancelled_owned()]),
            closed: None,
            half_closed: None,
            doubted: None,
            congested: false,
            last_frames: None,
        }
    }

    /// When a connection that is idle since `since` is closed.
    fn deadline(&mut self, since: Instant, cx: &mut Context<'_>) -> Instant {
        if self.closed.is_none() && self.closing.poll_next_unpin(cx).is_ready() {
            self.closed = Some(Instant::now());
        }
        let begun = self.requests.head_since().map(|since| since + HEAD);
        let deadline = match self.closed {
            Some(closed) => since.max(closed) + FAREWELL,
            None => since + IDLE,
        };
        begun.map_or(deadline, |begun| begun.min(deadline))
    }

    /// Ready at this time. An alarm that was set for an earlier time stays, and is set again when it has rung: the deadline moves
    /// with every request, and the runtime's timers are shared.
    fn poll_alarm(&mut self, at: Instant, cx: &mut Context<'_>) -> Poll<()> {
        if self.alarm.deadline() > at {
            self.alarm.as_mut().reset(at);
        }
        loop {
            ready!(self.alarm.as_mut().poll(cx));
            if self.alarm.deadline() >= at {
                return Poll::Ready(());
            }
            self.alarm.as_mut().reset(at);
        }
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> Connection<I> {
    /// Ends reading at the deadline if no more bytes have come.
    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let since = ready!(self.requests.poll_idle(cx));
        let deadline = self.deadline(since, cx);
        ready!(self.poll_alarm(deadline, cx));
        if self.closed.is_some() && self.requests.head_since().is_none() {
            // An end of the stream, as if the peer had closed the connection.
            return Poll::Ready(Ok(()));
        }
        if self.head.is_text() && self.requests.head_since().is_some() {
            // A failed write is ignored: the connection is closed anyway.
            let _ = Pin::new(&mut self.io).poll_write(cx, &reject::head_too_slow());
        }
        Poll::Ready(Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "nothing was asked for too long",
        )))
    }

    /// Waits for a body whose last bytes were read and have not reached its request yet. The library may just have read them, and
    /// reads on; or it reads on for a part that will never come.
    fn poll_last_bytes(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.requests.poll_arrived(cx).is_ready() {
            return Poll::Ready(());
        }
        let until = *self
            .doubted
            .get_or_insert_with(|| Instant::now() + LAST_BYTES);
        self.poll_alarm(until, cx)
    }

    /// The peer has closed its sending side. A peer that closed the whole connection looks the same until something is sent to
    /// it. If no interim answer can be sent, the peer counts as gone.
    fn poll_half_closed(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.half_closed.is_none() {
            ready!(self.poll_last_bytes(cx));
        }
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
            // Reading gives the same result in both cases (Linux gives no error after the end); a write of zero bytes does not.
            if let Poll::Ready(Err(error)) = Pin::new(&mut self.io).poll_write(cx, &[]) {
                return Poll::Ready(Err(error));
            }
            look = LOOK[1].min(look * 2);
            self.alarm.as_mut().reset(Instant::now() + look);
        }
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> Connection<I> {
    /// Reads the frames that a peer in HTTP/2 sends while it still reads its last answer. Closing the connection before would reset it,
    /// and the peer could lose what it has not read.
    fn poll_last_frames(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let now = Instant::now();
        let (began, mut until) = self.last_frames.unwrap_or((now, now + FAREWELL));
        let mut bytes = [0; 1 << 10];
        loop {
            self.last_frames = Some((began, until));
            if self.poll_alarm(until, cx).is_ready() {
                return Poll::Ready(Ok(()));
            }
            let mut buffer = ReadBuf::new(&mut bytes);
            let read = ready!(Pin::new(&mut self.io).poll_read(cx, &mut buffer));
            if read.is_err() || buffer.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            until = (Instant::now() + FAREWELL).min(began + LAST_FRAMES);
        }
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> AsyncRead for Connection<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.requests.are_over() {
            return Pin::new(&mut self.io).poll_read(cx, buffer);
        }
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
    /// Writes part of an answer, or of a refusal that hyper sends by itself.
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
        let bytes = match &sent {
            Poll::Ready(Ok(bytes)) => *bytes,
            _ => 0,
        };
        self.requests.sent(bytes, !self.congested);
        sent
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Connection<I> {
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
        ready!(Pin::new(&mut self.io).poll_shutdown(cx))?;
        if self.head.is_text() {
            return Poll::Ready(Ok(()));
        }
        self.poll_last_frames(cx)
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
