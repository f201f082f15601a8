//! The requests under way on one connection, and whether the connection is idle, stuck or in the middle of a head.

mod underway;

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
pub(in crate::api) use underway::{Arriving, Offer, Underway};

/// A peer that has taken nothing of its answers for this long gives way to a new connection, if there are too many.
const STUCK: Duration = Duration::from_millis(250);

/// The same for a peer that was authenticated: a slow line, or an application that pauses.
const STUCK_CALLER: Duration = Duration::from_secs(5);

/// Requests at the same time from which on a connection has taken memory that is worth returning when it ends.
const MANY: usize = 8;

/// How readily an idle connection gives way: the first rank goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::api) enum Rank {
    /// It never had a request, or its peer takes nothing of its answers.
    Silent,
    /// None of its requests was authenticated.
    Stranger,
    /// At least one was.
    Caller,
}

/// The peer of a connection, as requests see it.
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

    /// Cancelled by the first HTTP/2 request, and when a WebSocket begins: their peers are told that a connection ends.
    pub(in crate::api) fn multiplexed(&self) -> CancellationToken {
        self.requests.state().multiplexed.clone()
    }

    /// Begins a request: it is under way until the result is dropped.
    pub(in crate::api) fn begin(&self, version: Version) -> Underway {
        let mut state = self.requests.state();
        state.underway += 1;
        state.most = state.most.max(state.underway);
        state.asked = true;
        state.read();
        state.head_since = None;
        state.answering = false;
        state.version = version;
        state.recount();
        if version == Version::HTTP_2 {
            state.multiplexed.cancel();
        }
        drop(state);
        Underway::of(self.requests.clone())
    }

    /// Notes that the connection becomes a WebSocket with the present answer: no more requests are read from it.
    pub(in crate::api) fn upgraded(&self) {
        self.requests.state().upgraded = true;
    }

    /// Notes that a request was authenticated.
    pub(in crate::api) fn authenticated(&self) {
        self.requests.state().authenticated = true;
    }

    /// Whether it had so many requests at the same time that their memory is worth returning.
    pub(in crate::api) fn had_many(&self) -> bool {
        self.requests.state().most >= MANY
    }

    /// Holds the permit until the connection was read for the first time, whether or not a request was there.
    pub(in crate::api) fn awaits_its_turn(&self, turn: OwnedSemaphorePermit) {
        self.requests.state().turn = Some(turn);
    }

    /// Since when the connection is idle, and its rank; none while its peer waits for an answer. A peer that takes none of its
    /// answers does not wait for them.
    pub(in crate::api) fn idle(&self) -> Option<(Rank, Instant)> {
        let state = self.requests.state();
        if state.underway == 0 && !state.unsent {
            return (!state.unread).then(|| (state.rank(), state.since));
        }
        let patience = if state.authenticated {
            STUCK_CALLER
        } else {
            STUCK
        };
        state
            .stuck_since()
            .filter(|since| since.elapsed() > patience)
            .map(|since| (Rank::Silent, since))
    }

    /// Returns when the peer has taken nothing of its answers for `long`, at the latest after twice that time.
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
    /// The peer of a connection that has just been accepted.
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

/// The state of a connection's requests.
#[derive(Debug, Clone, Default)]
pub(super) struct Requests(Arc<Mutex<RequestCounts>>);

#[derive(Debug)]
struct RequestCounts {
    underway: usize,
    /// The connection is new and has not been read yet.
    unread: bool,
    /// Held as long as `unread` is set.
    turn: Option<OwnedSemaphorePermit>,
    /// There was a request.
    asked: bool,
    /// At least one request was authenticated.
    authenticated: bool,
    /// The most requests at the same time.
    most: usize,
    /// When the last request ended, or the connection began.
    since: Instant,
    /// When the first part of the next request's head came.
    head_since: Option<Instant>,
    /// Bodies that are not complete.
    arriving: usize,
    /// The connection has become a WebSocket. Each of its turns is a request.
    upgraded: bool,
    /// The version of the last request.
    version: Version,
    /// Part of the last request's answer was sent.
    answering: bool,
    /// The task that reads, woken when the last request ends, or the last body is complete.
    reader: Option<Waker>,
    multiplexed: CancellationToken,
    /// Requests whose answers wait for the peer to take more of them.
    stuck: usize,
    /// When the last of all the requests under way became one of them.
    all_stuck: Option<Instant>,
    /// How long all of them were stuck before, since the peer last took a part of an answer. A further request does not reset it:
    /// one that is sent now and then would keep a connection on which nothing is taken.
    stuck_for: Duration,
    /// Bytes of answers that the peer took since then.
    taken_bytes: usize,
    /// The system has not taken all that was to be sent.
    unsent: bool,
    /// When the system last took bytes.
    sent: Instant,
}

impl RequestCounts {
    fn read(&mut self) {
        if std::mem::take(&mut self.unread) {
            self.turn = None;
            // The idle time begins only now: before the first read no request could be seen.
            self.since = Instant::now();
        }
    }

    fn rank(&self) -> Rank {
        match (self.asked, self.authenticated) {
            (false, _) => Rank::Silent,
            (true, false) => Rank::Stranger,
            (true, true) => Rank::Caller,
        }
    }

    /// Since when all that is to be sent waits for the peer. The time in which a request waited for the model does not count.
    fn stuck_since(&self) -> Option<Instant> {
        match self.underway {
            0 => self.unsent.then_some(self.sent),
            _ => self
                .all_stuck
                .map(|since| since.checked_sub(self.stuck_for).unwrap_or(since)),
        }
    }

    /// Notes a change of the requests under way, or of those that are stuck.
    fn recount(&mut self) {
        let are_all_stuck = self.underway > 0 && self.stuck == self.underway;
        match self.all_stuck {
            None if are_all_stuck => self.all_stuck = Some(Instant::now()),
            Some(since) if !are_all_stuck => {
                self.stuck_for += since.elapsed();
                self.all_stuck = None;
            }
            _ => {}
        }
        if self.underway == 0 {
            self.stuck_for = Duration::ZERO;
        }
    }

    /// The peer took a part of an answer, after which it could have more.
    fn taken(&mut self) {
        self.taken_bytes = 0;
        self.stuck_for = Duration::ZERO;
        self.all_stuck = self.all_stuck.map(|_| Instant::now());
    }

    /// Wakes the reading task if nothing is under way any more.
    fn wake(&mut self) {
        if self.underway == 0
            && !self.unsent
            && let Some(reader) = self.reader.take()
        {
            reader.wake();
        }
    }
}

impl Default for RequestCounts {
    fn default() -> Self {
        Self {
            underway: 0,
            unread: true,
            turn: None,
            asked: false,
            authenticated: false,
            most: 0,
            since: Instant::now(),
            head_since: None,
            arriving: 0,
            upgraded: false,
            version: Version::HTTP_11,
            answering: false,
            reader: None,
            multiplexed: CancellationToken::new(),
            stuck: 0,
            all_stuck: None,
            stuck_for: Duration::ZERO,
            taken_bytes: 0,
            unsent: false,
            sent: Instant::now(),
        }
    }
}

impl Requests {
    fn state(&self) -> MutexGuard<'_, RequestCounts> {
        self.0.lock()
    }

    /// Whether the connection has become a WebSocket, whose bytes are no requests.
    pub(super) fn are_over(&self) -> bool {
        self.state().upgraded
    }

    /// Ready when no request is under way, and all was sent: since when. Frames that are no part of an answer do not count: a peer
    /// that sends PINGs gets some all the time.
    pub(super) fn poll_idle(&self, cx: &mut Context<'_>) -> Poll<Instant> {
        let mut state = self.state();
        if state.underway == 0 && !state.unsent {
            return Poll::Ready(state.since);
        }
        state.reader = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Ready when no body in HTTP/1.1 is incomplete.
    pub(super) fn poll_arrived(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state();
        if state.arriving == 0 || state.version != Version::HTTP_11 {
            return Poll::Ready(());
        }
        state.reader = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Notes that the system took bytes to be sent, if any, and whether it took all.
    pub(super) fn sent(&self, bytes: usize, all: bool) {
        let mut state = self.state();
        if bytes > 0 {
            state.sent = Instant::now();
        }
        state.unsent = !all;
        state.wake();
    }

    /// A read found no bytes.
    pub(super) fn silent(&self) {
        self.state().read();
    }

    /// Notes that bytes came, and whether they end within a head. Bytes of a body that is still arriving begin no head.
    pub(super) fn heard(&self, open: bool) {
        let mut state = self.state();
        if !open {
            state.head_since = None;
        } else if state.underway == 0 && state.arriving == 0 {
            state.head_since.get_or_insert_with(Instant::now);
        }
    }

    /// When the first part of an incomplete head came.
    pub(super) fn head_since(&self) -> Option<Instant> {
        self.state().head_since
    }

    /// Whether a peer that sends nothing more may be waiting for an answer to all it has sent, and may get an interim answer:
    /// HTTP/1.0 has none.
    pub(super) fn may_be_awaited(&self) -> bool {
        let state = self.state();
        state.underway > 0
            && state.arriving == 0
            && !state.answering
            && state.version == Version::HTTP_11
    }

    /// Notes that bytes are sent. Returns whether they are ours: a request is under way, or they are a WebSocket's.
    pub(super) fn answers(&self, slices: &[IoSlice<'_>]) -> bool {
        let interim = slices
            .first()
            .is_some_and(|slice| slice.starts_with(b"HTTP/1.1 100"));
        let mut state = self.state();
        state.answering |= state.underway > 0 && !interim;
        state.underway > 0 || state.upgraded
    }
}
