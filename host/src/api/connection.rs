//! Connections between requests: one on which nothing is asked for long enough is closed, whatever it trickles.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use axum::http::Version;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// Longer than the proxies in front keep a connection that they may use again (Caddy two minutes, Traefik 90 seconds):
/// who closes first should be the one who would use it.
const IDLE: Duration = Duration::from_secs(300);

/// The same once intake has closed. A request that was sent before its peer could know is answered; busy peers use up their
/// connections within it, since each answer then closes its own. It is longer than a proxy on a busy machine takes to use a
/// connection it has chosen: with 250 ms Traefik lost one request beside two compilers.
const FAREWELL: Duration = Duration::from_secs(1);

/// Who is connected, as requests see it.
#[derive(Debug, Clone)]
pub(super) struct Peer {
    pub(super) address: SocketAddr,
    requests: Requests,
}

impl Peer {
    pub(super) fn new<I>(address: SocketAddr, connection: &Connection<I>) -> Self {
        let requests = connection.requests.clone();
        Self { address, requests }
    }

    /// Cancelled by the first request of HTTP/2.
    pub(super) fn multiplexed(&self) -> CancellationToken {
        self.requests.state().multiplexed.clone()
    }

    /// A request has come: it is under way until this is dropped.
    pub(super) fn begin(&self, version: Version) -> Underway {
        let mut state = self.requests.state();
        state.underway += 1;
        if version == Version::HTTP_2 {
            state.multiplexed.cancel();
        }
        drop(state);
        Underway(self.requests.clone())
    }
}

#[cfg(test)]
impl From<SocketAddr> for Peer {
    fn from(address: SocketAddr) -> Self {
        let requests = Requests::default();
        Self { address, requests }
    }
}

/// The requests of one connection.
#[derive(Debug, Clone, Default)]
struct Requests(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    underway: usize,
    /// When the last one ended, or the connection began.
    since: Instant,
    /// Who reads, and is to know when the last one ends.
    reader: Option<Waker>,
    multiplexed: CancellationToken,
}

impl Default for State {
    fn default() -> Self {
        Self {
            underway: 0,
            since: Instant::now(),
            reader: None,
            multiplexed: CancellationToken::new(),
        }
    }
}

impl Requests {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Since when nothing is asked. Ready when nothing is any more.
    fn poll_idle(&self, cx: &mut Context<'_>) -> Poll<Instant> {
        let mut state = self.state();
        if state.underway == 0 {
            return Poll::Ready(state.since);
        }
        state.reader = Some(cx.waker().clone());
        Poll::Pending
    }
}

/// A request that is being answered.
#[derive(Debug)]
pub(super) struct Underway(Requests);

impl Drop for Underway {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.underway -= 1;
        state.since = Instant::now();
        if state.underway == 0
            && let Some(reader) = state.reader.take()
        {
            reader.wake();
        }
    }
}

/// One connection. Half a request is no request: reading ends when the next one takes too long to be complete.
pub(super) struct Connection<I> {
    io: I,
    requests: Requests,
    patience: Pin<Box<Sleep>>,
    closing: Pin<Box<WaitForCancellationFutureOwned>>,
    /// Since when intake is closed.
    closed: Option<Instant>,
}

impl<I> Connection<I> {
    pub(super) fn new(io: I, closing: CancellationToken) -> Self {
        Self {
            io,
            requests: Requests::default(),
            patience: Box::pin(tokio::time::sleep(IDLE)),
            closing: Box::pin(closing.cancelled_owned()),
            closed: None,
        }
    }

    /// When a connection that is idle since then ends.
    fn deadline(&mut self, since: Instant, cx: &mut Context<'_>) -> Instant {
        if self.closed.is_none() && self.closing.as_mut().poll(cx).is_ready() {
            self.closed = Some(Instant::now());
        }
        match self.closed {
            Some(closed) => since.max(closed) + FAREWELL,
            None => since + IDLE,
        }
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Connection<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Poll::Ready(read) = Pin::new(&mut self.io).poll_read(cx, buffer) {
            return Poll::Ready(read);
        }
        let since = std::task::ready!(self.requests.poll_idle(cx));
        let deadline = self.deadline(since, cx);
        if self.patience.deadline() != deadline {
            self.patience.as_mut().reset(deadline);
        }
        std::task::ready!(self.patience.as_mut().poll(cx));
        Poll::Ready(match self.closed {
            // As if the peer had closed it.
            Some(_) => Ok(()),
            None => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "nothing was asked for too long",
            )),
        })
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Connection<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
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
        Pin::new(&mut self.io).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    fn open<I>(io: I) -> Connection<I> {
        Connection::new(io, CancellationToken::new())
    }

    fn peer<I>(connection: &Connection<I>) -> Peer {
        Peer::new(SocketAddr::from(([127, 0, 0, 1], 1)), connection)
    }

    /// Reads until the connection is closed: after how long.
    async fn outlived(connection: &mut Connection<impl AsyncRead + Unpin>) -> Duration {
        let began = Instant::now();
        let mut rest = Vec::new();
        let error = connection.read_to_end(&mut rest).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        began.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_trickles_half_a_request_is_closed_like_a_silent_one() {
        let (mut client, io) = duplex(64);
        let trickle = tokio::spawn(async move {
            while client.write_all(b"x").await.is_ok() {
                tokio::time::sleep(IDLE / 10).await;
            }
        });
        let mut connection = open(io);
        assert!(outlived(&mut connection).await <= IDLE + Duration::from_millis(1));
        drop(connection);
        trickle.await.unwrap();
        let (_silent, io) = duplex(64);
        assert!(outlived(&mut open(io)).await >= IDLE);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_may_take_its_time_and_the_next_request_has_as_long_as_the_first() {
        let (_client, io) = duplex(64);
        let mut connection = open(io);
        let answering = peer(&connection).begin(Version::HTTP_11);
        tokio::spawn(async move {
            tokio::time::sleep(3 * IDLE).await;
            drop(answering);
        });
        let lived = outlived(&mut connection).await;
        assert!(lived >= 4 * IDLE, "{lived:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn when_intake_closes_an_idle_connection_ends_soon_and_an_answer_first() {
        let (mut client, io) = duplex(64);
        let closing = CancellationToken::new();
        let mut connection = Connection::new(io, closing.clone());
        let answering = peer(&connection).begin(Version::HTTP_11);
        let reading = tokio::spawn(async move {
            let mut read = Vec::new();
            connection.read_to_end(&mut read).await.unwrap();
            (read, Instant::now())
        });
        tokio::time::sleep(IDLE / 2).await;
        closing.cancel();
        tokio::time::sleep(IDLE / 2).await;
        drop(answering);
        let answered = Instant::now();
        // Sent by a peer that had not seen the end of the connection.
        tokio::time::sleep(FAREWELL / 2).await;
        client.write_all(b"late").await.unwrap();
        let (read, ended) = reading.await.unwrap();
        assert_eq!(read, b"late");
        let lived = ended - answered;
        assert!((FAREWELL..2 * FAREWELL).contains(&lived), "{lived:?}");
    }
}
