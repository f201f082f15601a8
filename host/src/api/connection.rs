//! Connections between requests: one on which nothing is asked for long enough is closed, whatever it trickles.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// Longer than the proxies in front keep a connection that they may use again (Caddy two minutes, Traefik 90 seconds):
/// who closes first should be the one who would use it.
const IDLE: Duration = Duration::from_secs(300);

/// Accepts connections that are closed when they stay idle.
pub struct Attended<L>(pub L);

impl<L: Listener> Listener for Attended<L> {
    type Io = Connection<L::Io>;
    type Addr = L::Addr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let (io, address) = self.0.accept().await;
        (Connection::new(io), address)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.0.local_addr()
    }
}

/// Who is connected, as requests see it.
#[derive(Debug, Clone)]
pub struct Peer {
    pub(super) address: SocketAddr,
    requests: Requests,
}

impl Peer {
    /// A request has come: it is under way until this is dropped.
    pub(super) fn begin(&self) -> Underway {
        self.requests.state().underway += 1;
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

impl<L> Connected<IncomingStream<'_, Attended<L>>> for Peer
where
    L: Listener<Addr = SocketAddr>,
{
    fn connect_info(stream: IncomingStream<'_, Attended<L>>) -> Self {
        Self {
            address: *stream.remote_addr(),
            requests: stream.io().requests.clone(),
        }
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
}

impl Default for State {
    fn default() -> Self {
        Self {
            underway: 0,
            since: Instant::now(),
            reader: None,
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

/// One connection. Half a request is no request: reading fails when the next one takes too long to be complete.
pub struct Connection<I> {
    io: I,
    requests: Requests,
    patience: Pin<Box<Sleep>>,
}

impl<I> Connection<I> {
    fn new(io: I) -> Self {
        Self {
            io,
            requests: Requests::default(),
            patience: Box::pin(tokio::time::sleep(IDLE)),
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
        if self.patience.deadline() != since + IDLE {
            self.patience.as_mut().reset(since + IDLE);
        }
        self.patience.as_mut().poll(cx).map(|()| {
            Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "nothing was asked for too long",
            ))
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
        let mut connection = Connection::new(io);
        assert!(outlived(&mut connection).await <= IDLE + Duration::from_millis(1));
        drop(connection);
        trickle.await.unwrap();
        let (_silent, io) = duplex(64);
        assert!(outlived(&mut Connection::new(io)).await >= IDLE);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_may_take_its_time_and_the_next_request_has_as_long_as_the_first() {
        let (_client, io) = duplex(64);
        let mut connection = Connection::new(io);
        let peer = Peer {
            address: SocketAddr::from(([127, 0, 0, 1], 1)),
            requests: connection.requests.clone(),
        };
        let answering = peer.begin();
        tokio::spawn(async move {
            tokio::time::sleep(3 * IDLE).await;
            drop(answering);
        });
        let lived = outlived(&mut connection).await;
        assert!(lived >= 4 * IDLE, "{lived:?}");
    }
}
