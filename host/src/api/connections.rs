//! Limits the number of connections, and chooses the idle ones that are closed for new ones.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::connection::Peer;

/// More than the turns of one gateway will ever need; each costs some kilobytes.
const MOST: u64 = 10_000;

/// Descriptors that are kept for other uses: children's pipes, files, listeners. At most one in `SHARE` of all is kept.
const RESERVE: u64 = 512;
const SHARE: u64 = 4;

/// Connections beyond the limit: each is closed after one answer, so that a full gateway still answers health checks.
const EXTRA: usize = 16;

/// The most new connections that have not been read yet, and at most one in `SHARE` of all; the next ones wait in the system's
/// queue. Without this limit, a busy machine would take a connection for silent that has already sent a request.
const UNREAD: usize = 64;

/// The least of them: each listener holds one permit while it waits for a connection.
const LISTENERS: usize = 4;

/// One in this many of all connections is closed at once: choosing has to look at each connection.
const BATCH: usize = 32;

/// How long a connection that was chosen is read on: a request may have come that nobody has seen yet.
const LAST_LOOK: Duration = Duration::from_millis(5);

/// A client that opened its connection for a request sends it within this time.
const FRESH: Duration = Duration::from_millis(100);

/// The open connections of all listeners.
#[derive(Debug, Clone)]
pub struct Connections(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    most: usize,
    places: Mutex<Places>,
    unread: Arc<Semaphore>,
    /// Notified when a connection that gave way has closed.
    left: Notify,
    displaced: AtomicU64,
    turned_away: AtomicU64,
}

#[derive(Debug, Default)]
struct Places {
    last: u64,
    taken: HashMap<u64, Taken>,
    /// Connections that gave way and have not closed yet.
    leaving: usize,
}

#[derive(Debug)]
struct Taken {
    peer: Peer,
    leave: CancellationToken,
}

/// The place of one connection, released on drop.
#[derive(Debug)]
pub(super) struct Place {
    connections: Connections,
    number: u64,
    leave: CancellationToken,
    /// Beyond the limit: the connection gets one answer, and no more.
    pub(super) is_extra: bool,
}

/// The number of connections, and how many were closed because there were too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Occupancy {
    /// Open connections.
    pub(super) open: usize,
    /// Idle connections that gave way to new ones.
    pub(super) displaced: u64,
    /// New connections that were closed at once because all others were busy.
    pub(super) turned_away: u64,
}

impl Connections {
    /// For a process that may have `limit` descriptors.
    #[must_use]
    pub fn of_descriptors(limit: u64) -> Self {
        let reserve = RESERVE.min(limit / SHARE);
        let most = limit
            .saturating_sub(reserve)
            .saturating_sub(2 * EXTRA as u64);
        Self::of(usize::try_from(most.clamp(1, MOST)).unwrap_or(usize::MAX))
    }

    fn of(most: usize) -> Self {
        Self(Arc::new(Inner {
            most,
            places: Mutex::default(),
            unread: Arc::new(Semaphore::new(
                (most / SHARE as usize).clamp(LISTENERS, UNREAD),
            )),
            left: Notify::new(),
            displaced: AtomicU64::new(0),
            turned_away: AtomicU64::new(0),
        }))
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        self.0.places.lock()
    }

    /// Waits until fewer than [`EXTRA`] connections that gave way are still open (they still use descriptors), and until the
    /// unread new connections are fewer than their limit. The permit is held until the next connection was read.
    pub(super) async fn ready(&self) -> Option<OwnedSemaphorePermit> {
        loop {
            let mut left = pin!(self.0.left.notified());
            left.as_mut().enable();
            if self.places().leaving < EXTRA {
                break;
            }
            left.await;
        }
        // The semaphore is never closed.
        Arc::clone(&self.0.unread).acquire_owned().await.ok()
    }

    /// Gives a new connection its place. At the limit, some idle connections give way; if none is idle, there are [`EXTRA`] more
    /// places, and then none.
    pub(super) fn enter(&self, peer: &Peer) -> Option<Place> {
        let mut places = self.places();
        if places.taken.len() >= self.0.most {
            let displaced = places.displace(self.0.most.div_ceil(BATCH));
            self.0
                .displaced
                .fetch_add(displaced as u64, Ordering::Relaxed);
        }
        if places.taken.len() >= self.0.most + EXTRA {
            self.0.turned_away.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        let is_extra = places.taken.len() >= self.0.most;
        places.last += 1;
        let number = places.last;
        Some(Place {
            connections: self.clone(),
            number,
            leave: places.take(number, peer),
            is_extra,
        })
    }

    /// Closes some idle connections: no descriptors are left, whatever the limit is.
    pub(super) fn make_way(&self) {
        let displaced = self.places().displace(self.0.most.div_ceil(BATCH));
        self.0
            .displaced
            .fetch_add(displaced as u64, Ordering::Relaxed);
    }

    pub(super) fn occupancy(&self) -> Occupancy {
        let places = self.places();
        Occupancy {
            open: places.taken.len() + places.leaving,
            displaced: self.0.displaced.load(Ordering::Relaxed),
            turned_away: self.0.turned_away.load(Ordering::Relaxed),
        }
    }
}

impl Places {
    fn take(&mut self, number: u64, peer: &Peer) -> CancellationToken {
        let leave = CancellationToken::new();
        let taken = Taken {
            peer: peer.clone(),
            leave: leave.clone(),
        };
        self.taken.insert(number, taken);
        leave
    }

    /// Chooses by rank, then the connections of the network that has most, then the longest idle.
    fn displace(&mut self, most: usize) -> usize {
        let idle = self.taken.iter();
        let idle = idle.filter_map(|(number, taken)| {
            let (rank, since) = taken.peer.idle()?;
            Some((*number, network(taken.peer.address.ip()), rank, since))
        });
        let mut idle: Vec<_> = idle.collect();
        let mut of: HashMap<IpAddr, usize> = HashMap::new();
        for (_, network, ..) in &idle {
            *of.entry(*network).or_default() += 1;
        }
        idle.sort_unstable_by_key(|(_, network, rank, since)| {
            (*rank, Reverse(of[network]), *since)
        });
        // Of the new connections at most one gives way: they may be about to send a request.
        let is_fresh = |since: &Instant| since.elapsed() < FRESH;
        let old = idle.iter().take(most);
        let old = old.take_while(|(.., since)| !is_fresh(since)).count();
        idle.truncate(old.max(1));
        for (number, ..) in &idle {
            if let Some(taken) = self.taken.remove(number) {
                taken.leave.cancel();
                self.leaving += 1;
            }
        }
        idle.len()
    }
}

impl Place {
    /// Ready when the connection has to give way. A connection with a new request in the meantime keeps its place.
    pub(super) async fn displaced(&mut self, peer: &Peer) {
        loop {
            self.leave.cancelled().await;
            tokio::time::sleep(LAST_LOOK).await;
            if peer.idle().is_some() {
                return;
            }
            let mut places = self.connections.places();
            places.leaving = places.leaving.saturating_sub(1);
            self.leave = places.take(self.number, peer);
            self.connections.0.left.notify_waiters();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut places = self.connections.places();
        if places.taken.remove(&self.number).is_none() {
            places.leaving = places.leaving.saturating_sub(1);
            self.connections.0.left.notify_waiters();
        }
    }
}

/// The network that stands for one customer, as far as it can be known: a /64 of IPv6 (RFC 6177).
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let bits = address.to_bits() & (u128::MAX << 64);
            IpAddr::V6(bits.into())
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use axum::http::Version;

    use super::*;

    fn peer(last: u8) -> Peer {
        Peer::from(SocketAddr::from(([192, 0, 2, last], 1)))
    }

    fn has_left(place: &Place) -> bool {
        place.leave.is_cancelled()
    }

    #[test]
    fn descriptors_are_left_for_children_and_files() {
        let most = |limit| Connections::of_descriptors(limit).0.most;
        assert_eq!(most(1_024), 1_024 - 256 - 2 * EXTRA);
        assert_eq!(most(4_096), 4_096 - 512 - 2 * EXTRA);
        assert_eq!(most(1 << 20), 10_000);
        assert_eq!(most(0), 1);
    }

    #[tokio::test]
    async fn who_never_asked_gives_way_first_and_then_who_has_most() {
        let connections = Connections::of(4);
        let (known, crowd) = (peer(1), [peer(2), peer(2)]);
        drop(known.begin(Version::HTTP_11));
        let honest = connections.enter(&known).unwrap();
        let silent = connections.enter(&peer(3)).unwrap();
        let mut many = Vec::new();
        for peer in &crowd {
            drop(peer.begin(Version::HTTP_11));
            many.push(connections.enter(peer).unwrap());
        }
        let fresh = [peer(4), peer(5)].map(|peer| {
            drop(peer.begin(Version::HTTP_11));
            connections.enter(&peer).unwrap()
        });
        assert!(has_left(&silent));
        assert_eq!(many.iter().filter(|place| has_left(place)).count(), 1);
        assert!(!has_left(&honest) && !fresh.iter().any(|place| has_left(place) || place.is_extra));
        assert_eq!(connections.occupancy().displaced, 2);
        assert_eq!(connections.occupancy().open, 6);
        drop((silent, many));
        assert_eq!(connections.occupancy().open, 3);
    }

    #[tokio::test]
    async fn who_was_not_read_from_or_asks_just_then_stays() {
        let connections = Connections::of(3);
        let unread = Peer::unread(SocketAddr::from(([192, 0, 2, 1], 1)));
        let stays = connections.enter(&unread).unwrap();
        let (asks, silent) = (peer(2), peer(3));
        let mut asking = connections.enter(&asks).unwrap();
        let mut gone = connections.enter(&silent).unwrap();
        let busy = peer(4);
        let _answers = busy.begin(Version::HTTP_11);
        let _others = [(); 2].map(|()| connections.enter(&busy).unwrap());
        assert!(!has_left(&stays) && has_left(&asking) && has_left(&gone));
        gone.displaced(&silent).await;
        let underway = asks.begin(Version::HTTP_11);
        let displaced = tokio::time::timeout(FRESH, asking.displaced(&asks)).await;
        assert!(displaced.is_err() && !has_left(&asking));
        assert_eq!(connections.places().leaving, 1);
        drop((underway, asking, gone));
        assert_eq!(connections.occupancy().open, 3);
    }

    #[tokio::test]
    async fn no_more_are_accepted_than_are_read_from() {
        let connections = Connections::of(1_000);
        let mut unread = Vec::new();
        for _ in 0..UNREAD {
            unread.push(connections.ready().await.unwrap());
        }
        let next = tokio::time::timeout(Duration::from_millis(1), connections.ready());
        assert!(next.await.is_err());
        let peer = Peer::unread(SocketAddr::from(([192, 0, 2, 1], 1)));
        peer.awaits_its_turn(unread.pop().unwrap());
        drop(peer.begin(Version::HTTP_11));
        assert!(connections.ready().await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_none_of_its_answers_gives_way() {
        let connections = Connections::of(1);
        let peer = peer(1);
        let mut underway = [peer.begin(Version::HTTP_2), peer.begin(Version::HTTP_2)];
        let place = connections.enter(&peer).unwrap();
        let moment = Duration::from_secs(2);
        underway.iter_mut().for_each(|answer| answer.offers(true));
        underway[0].offers(false);
        tokio::time::sleep(moment).await;
        assert_eq!(peer.idle(), None, "one of them waits for the model");
        underway[0].taken();
        underway[0].offers(true);
        assert_eq!(peer.idle(), None, "it has just taken something");
        tokio::time::sleep(moment).await;
        let mut further = peer.begin(Version::HTTP_2);
        further.offers(true);
        assert!(
            peer.idle().is_some(),
            "a further request is no sign of life"
        );
        drop(further);
        let next = connections.enter(&super::tests::peer(2)).unwrap();
        assert!(has_left(&place) && !next.is_extra);
        drop(underway);
        assert!(peer.idle().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn callers_outlast_strangers_wherever_they_come_from() {
        let connections = Connections::of(3);
        let callers = [peer(1), peer(1)];
        let places = callers.each_ref().map(|caller| {
            drop(caller.begin(Version::HTTP_11));
            caller.authenticated();
            connections.enter(caller).unwrap()
        });
        tokio::time::sleep(FRESH).await;
        let stranger = peer(2);
        drop(stranger.begin(Version::HTTP_11));
        let gone = connections.enter(&stranger).unwrap();
        let _next = connections.enter(&peer(3)).unwrap();
        assert!(has_left(&gone) && !places.iter().any(has_left));
        let mut slow = callers[0].begin(Version::HTTP_11);
        slow.offers(true);
        tokio::time::sleep(Duration::from_secs(4)).await;
        assert_eq!(callers[0].idle(), None, "a caller may be slow");
    }

    #[tokio::test]
    async fn busy_ones_stay_and_a_full_gateway_can_still_be_asked() {
        let connections = Connections::of(2);
        let busy = [peer(1), peer(2)];
        let underway: Vec<_> = busy
            .iter()
            .map(|peer| peer.begin(Version::HTTP_11))
            .collect();
        let stay: Vec<_> = busy
            .iter()
            .map(|peer| connections.enter(peer).unwrap())
            .collect();
        assert!(!stay.iter().any(|place| place.is_extra));
        let asking = peer(3);
        let extra = connections.enter(&asking).unwrap();
        assert!(extra.is_extra);
        let _asked = asking.begin(Version::HTTP_11);
        let more: Vec<_> = (1..EXTRA)
            .map(|_| connections.enter(&asking).unwrap())
            .collect();
        assert!(connections.enter(&asking).is_none());
        assert_eq!(connections.occupancy().turned_away, 1);
        drop((extra, more, stay, underway));
        assert_eq!(connections.occupancy().open, 0);
    }
}
