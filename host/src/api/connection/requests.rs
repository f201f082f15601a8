//! The requests of one connection: how many are under way, and what that says of the connection.

use std::io::IoSlice;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use axum::http::Version;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Connection;

/// A peer that has taken nothing of its answers for that long gives way to a new connection, if there are too many.
const STUCK: Duration = Duration::from_millis(250);

/// Who is connected, as requests see it.
#[derive(Debug, Clone)]
pub(in crate::api) struct Peer {
    pub(in crate::api) address: SocketAddr,
    requests: Requests,
}

impl Peer {
    pub(in crate::api) fn new<I>(address: SocketAddr, connection: &Connection<I>) -> Self {
        let requests = connection.requests.clone();
        Self { address, requests }
    }

    /// Cancelled by the first request of HTTP/2.
    pub(in crate::api) fn multiplexed(&self) -> CancellationToken {
        self.requests.state().multiplexed.clone()
    }

    /// A request has come: it is under way until this is dropped.
    pub(in crate::api) fn begin(&self, version: Version) -> Underway {
        let mut state = self.requests.state();
        state.underway += 1;
        state.asked = true;
        state.read();
        state.head_since = None;
        state.answering = false;
        state.version = version;
        if version == Version::HTTP_2 {
            state.multiplexed.cancel();
        }
        drop(state);
        Underway {
            requests: self.requests.clone(),
            is_stuck: false,
        }
    }

    /// Holds this until the connection has been read for the first time, and found to be silent or to ask for something.
    pub(in crate::api) fn awaits_its_turn(&self, turn: OwnedSemaphorePermit) {
        self.requests.state().turn = Some(turn);
    }

    /// Since when nothing is asked, and whether anything ever was; nothing while something is that its peer waits for. One that
    /// takes none of its answers waits for none, and is as one that never asked.
    pub(in crate::api) fn idle(&self) -> Option<(bool, Instant)> {
        let state = self.requests.state();
        match state.underway {
            0 if state.unread => None,
            0 => Some((state.asked, state.since)),
            _ => state
                .stuck_since()
                .filter(|since| since.elapsed() > STUCK)
                .map(|since| (false, since)),
        }
    }

    /// Returns when the peer has taken nothing of its answers for that long, or up to twice as long.
    pub(in crate::api) async fn takes_nothing_for(&self, long: Duration) {
        loop {
            tokio::time::sleep(long).await;
            let since = self.requests.state().stuck_since();
            if since.is_some_and(|since| since.elapsed() >= long) {
                return;
            }
        }
    }
}

#[cfg(test)]
impl Peer {
    /// One that has just connected.
    pub(in crate::api) fn unread(address: SocketAddr) -> Self {
        let requests = Requests::default();
        Self { address, requests }
    }
}

#[cfg(test)]
impl From<SocketAddr> for Peer {
    fn from(address: SocketAddr) -> Self {
        let peer = Self::unread(address);
        peer.requests.silent();
        peer
    }
}

/// What a connection knows of its requests.
#[derive(Debug, Clone, Default)]
pub(super) struct Requests(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    underway: usize,
    /// It has just come: nobody has looked yet whether there is a request.
    unread: bool,
    /// Held as long.
    turn: Option<OwnedSemaphorePermit>,
    /// There was a request.
    asked: bool,
    /// When the last one ended, or the connection began.
    since: Instant,
    /// When the first part of the next request's head came.
    head_since: Option<Instant>,
    /// Bodies that have not come whole.
    arriving: usize,
    /// Of the last request.
    version: Version,
    /// Some of the last request's answer has gone out.
    answering: bool,
    /// Who reads, and is to know when the last one ends.
    reader: Option<Waker>,
    multiplexed: CancellationToken,
    /// Requests whose answers wait for the peer to take more of them.
    stuck: usize,
    /// When the peer last took something.
    taken: Instant,
}

impl State {
    fn read(&mut self) {
        if std::mem::take(&mut self.unread) {
            self.turn = None;
            // It could not have been heard before.
            self.since = Instant::now();
        }
    }

    /// Since when all answers wait for the peer.
    fn stuck_since(&self) -> Option<Instant> {
        (self.underway > 0 && self.stuck == self.underway).then_some(self.taken)
    }
}

impl Default for State {
    fn default() -> Self {
        Self {
            underway: 0,
            unread: true,
            turn: None,
            asked: false,
            since: Instant::now(),
            head_since: None,
            arriving: 0,
            version: Version::HTTP_11,
            answering: false,
            reader: None,
            multiplexed: CancellationToken::new(),
            stuck: 0,
            taken: Instant::now(),
        }
    }
}

impl Requests {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock()
    }

    /// Since when nothing is asked. Ready when nothing is any more.
    pub(super) fn poll_idle(&self, cx: &mut Context<'_>) -> Poll<Instant> {
        let mut state = self.state();
        if state.underway == 0 {
            return Poll::Ready(state.since);
        }
        state.reader = Some(cx.waker().clone());
        Poll::Pending
    }

    /// There is nothing to read now.
    pub(super) fn silent(&self) {
        self.state().read();
    }

    /// Bytes have come, which end within a head or not. The rest of a body that nobody wants is none.
    pub(super) fn heard(&self, open: bool) {
        let mut state = self.state();
        if !open {
            state.head_since = None;
        } else if state.underway == 0 && state.arriving == 0 {
            state.head_since.get_or_insert_with(Instant::now);
        }
    }

    /// When the first part of a head came that is not whole.
    pub(super) fn head_since(&self) -> Option<Instant> {
        self.state().head_since
    }

    /// Whether a peer that sends nothing more may be waiting for the answer to all it has sent, and can be sent an interim
    /// answer: HTTP/1.0 has none.
    pub(super) fn may_be_awaited(&self) -> bool {
        let state = self.state();
        state.underway > 0
            && state.arriving == 0
            && !state.answering
            && state.version == Version::HTTP_11
    }

    /// Bytes go out. Says whether they answer a request.
    pub(super) fn answers(&self, slices: &[IoSlice<'_>]) -> bool {
        let interim = slices
            .first()
            .is_some_and(|slice| slice.starts_with(b"HTTP/1.1 100"));
        let mut state = self.state();
        state.answering |= state.underway > 0 && !interim;
        state.underway > 0
    }
}

/// A request that is being answered.
#[derive(Debug)]
pub(in crate::api) struct Underway {
    requests: Requests,
    is_stuck: bool,
}

impl Underway {
    /// Its body is on its way until what this returns is dropped.
    pub(in crate::api) fn arriving(&self) -> Arriving {
        self.requests.state().arriving += 1;
        Arriving(self.requests.clone())
    }

    /// Its answer has more for the peer now, or waits for what is still to come.
    pub(in crate::api) fn offers(&mut self, more: bool) {
        let mut state = self.requests.state();
        state.taken = Instant::now();
        match (std::mem::replace(&mut self.is_stuck, more), more) {
            (false, true) => state.stuck += 1,
            (true, false) => state.stuck -= 1,
            _ => {}
        }
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        let mut state = self.requests.state();
        state.underway -= 1;
        state.stuck -= usize::from(self.is_stuck);
        state.since = Instant::now();
        if state.underway == 0
            && let Some(reader) = state.reader.take()
        {
            reader.wake();
        }
    }
}

/// A body that is on its way.
#[derive(Debug)]
pub(in crate::api) struct Arriving(Requests);

impl Drop for Arriving {
    fn drop(&mut self) {
        self.0.state().arriving -= 1;
    }
}
