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

/// The most connections of operators.
const OPERATORS: usize = 64;

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

    /// For the listener for operators.
    #[must_use]
    pub fn of_operators() -> Self {
        Self::of(OPERATORS)
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
mod tests;
