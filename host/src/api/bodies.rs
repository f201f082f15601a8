//! Limits the memory of request bodies, and parses large bodies outside the serving threads.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::available_parallelism;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use super::error;
use crate::memory;
use crate::openai::{ApiError, GatewayError};

/// A body up to this size is parsed on the serving thread, which takes less than a millisecond, and in HTTP/1 it is not counted:
/// each connection may have one.
const SMALL: usize = 64 << 10;

/// The room is enough for this many bodies of the largest size, and for at least `LEAST` bytes.
const LARGEST: usize = 4;
const LEAST: usize = 64 << 20;

/// The bytes of one permit: a semaphore counts only up to 2³² permits on 32 bits.
const UNIT: usize = 1 << 10;

/// How long a body waits for room, until other bodies have become requests. Most do within milliseconds.
const WAIT: Duration = Duration::from_secs(10);

/// While others wait for room, a body that holds room may take this long to arrive, and one second more for each `RATE` bytes
/// received: 50 kB a second is the upload rate of a slow line.
const GRACE: Duration = Duration::from_secs(5);
const RATE: usize = 50_000;

/// How often `outstayed` checks whether others wait.
const LOOK: Duration = Duration::from_millis(500);

/// The room for bodies.
#[derive(Debug, Clone)]
pub struct Bodies(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    large: Arc<Space>,
    /// For small bodies in HTTP/2.
    small: Arc<Space>,
    /// Parsing a large body keeps a whole core busy for a while: half of the cores stay free for serving.
    readers: Semaphore,
}

/// The room of one kind of bodies.
#[derive(Debug)]
struct Space {
    /// Its size, in permits.
    total: usize,
    permits: Arc<Semaphore>,
    /// Bodies that wait for a part of it.
    waiting: AtomicUsize,
}

impl Space {
    fn of(bytes: usize) -> Arc<Self> {
        let total = bytes.div_ceil(UNIT);
        Arc::new(Self {
            total,
            permits: Arc::new(Semaphore::new(total)),
            waiting: AtomicUsize::new(0),
        })
    }

    async fn take(self: &Arc<Self>, units: usize) -> Result<Room, ApiError> {
        let units = u32::try_from(units).unwrap_or(u32::MAX);
        let _waiting = Waiting::of(&self.waiting);
        let permit = Arc::clone(&self.permits).acquire_many_owned(units);
        match timeout(WAIT, permit).await {
            Ok(Ok(permit)) => Ok(Room(Some(Part {
                space: Arc::clone(self),
                permit,
            }))),
            // The semaphore is never closed.
            Ok(Err(_)) | Err(_) => Err(GatewayError::NoRoom.into()),
        }
    }
}

/// The room for large bodies, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RoomLeft {
    pub(super) free: usize,
    pub(super) total: usize,
}

/// Room for one body, released on drop.
#[derive(Debug, Default)]
pub(super) struct Room(Option<Part>);

/// Room that was taken for a body before its request: an extension of the request.
#[derive(Debug, Clone)]
pub(super) struct RoomTaken(Arc<Mutex<Option<Room>>>);

impl RoomTaken {
    pub(super) fn new(room: Room) -> Self {
        Self(Arc::new(Mutex::new(Some(room))))
    }

    /// The room, once.
    pub(super) fn take(&self) -> Option<Room> {
        self.0.lock().take()
    }
}

/// The part of a space that one body has.
#[derive(Debug)]
struct Part {
    space: Arc<Space>,
    permit: OwnedSemaphorePermit,
}

impl Bodies {
    /// Room for bodies of at most `largest` bytes.
    #[must_use]
    pub fn new(largest: usize) -> Self {
        let bytes = largest.saturating_mul(LARGEST).max(LEAST);
        let cores = available_parallelism().map_or(1, usize::from);
        Self(Arc::new(Inner {
            large: Space::of(bytes),
            small: Space::of(LEAST),
            readers: Semaphore::new((cores / 2).max(1)),
        }))
    }

    /// The room for large bodies, and how much of it is free.
    pub(super) fn room_left(&self) -> RoomLeft {
        let Space { total, permits, .. } = &*self.0.large;
        RoomLeft {
            free: permits.available_permits() * UNIT,
            total: total * UNIT,
        }
    }

    /// Takes room for a body of `bytes` bytes, after a wait of at most [`WAIT`].
    pub(super) async fn room(&self, bytes: usize) -> Result<Room, ApiError> {
        match units(bytes) {
            0 => Ok(Room::default()),
            units => self.0.large.take(units).await,
        }
    }

    /// The same for a body in HTTP/2, where one connection has many: small bodies are counted, too, but never wait for large ones.
    pub(super) async fn room_of_stream(&self, announced: Option<usize>) -> Result<Room, ApiError> {
        match announced.unwrap_or(UNANNOUNCED) {
            bytes @ 0..=SMALL => self.0.small.take(bytes.div_ceil(UNIT)).await,
            bytes => self.room(bytes).await,
        }
    }

    /// Runs the work on a body of `bytes` bytes: on the serving thread only if the body is small.
    pub(super) async fn work<T: Send + 'static>(
        &self,
        bytes: usize,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        if bytes <= SMALL {
            return Ok(work());
        }
        let _reader = self.0.readers.acquire().await;
        let done = tokio::task::spawn_blocking(work).await;
        done.map_err(|error| {
            tracing::error!(%error, "a request could not be read");
            error::internal()
        })
    }
}

/// Counts one body that waits for room, until dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn of(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Room {
    /// Returns when others wait for room of this kind and this body, which began to arrive at `since`, has arrived too slowly.
    pub(super) async fn outstayed(&self, since: Instant, come: usize) {
        let Some(Part { space, .. }) = &self.0 else {
            return pending().await;
        };
        let bytes = u32::try_from(come / RATE).unwrap_or(u32::MAX);
        tokio::time::sleep_until(since + GRACE + Duration::from_secs(1) * bytes).await;
        while space.waiting.load(Ordering::Relaxed) == 0 {
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Releases the room that the body did not need.
    pub(super) fn shrink(&mut self, bytes: usize) {
        let Some(Part { permit, .. }) = &mut self.0 else {
            return;
        };
        let spare = permit.num_permits().saturating_sub(bytes.div_ceil(UNIT));
        drop(permit.split(spare));
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let part = self.0.as_ref();
        let units = part.map_or(0, |part| part.permit.num_permits());
        if units > SMALL / UNIT {
            memory::give_back_soon();
        }
    }
}

/// The permits for a body of `bytes` bytes; a small one needs none.
fn units(bytes: usize) -> usize {
    match bytes {
        0..=SMALL => 0,
        _ => bytes.div_ceil(UNIT),
    }
}

/// How many bytes of a body without `Content-Length` may arrive before it takes room.
pub(super) const UNANNOUNCED: usize = SMALL;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_does_not_fit_waits_and_is_told_to_come_again() {
        let bodies = Bodies::new(LEAST / LARGEST);
        let mut held = Vec::new();
        for _ in 0..LARGEST {
            held.push(bodies.room(LEAST / LARGEST).await.unwrap());
        }
        let refused = bodies.room(SMALL + 1).await.unwrap_err();
        assert_eq!((refused.status, refused.retry_after_ms), (503, Some(2_000)));
        bodies.room(SMALL).await.unwrap();
        let (waited, ()) = tokio::join!(bodies.room(SMALL + 1), async {
            tokio::time::sleep(WAIT / 2).await;
            held[0].shrink(LEAST / LARGEST / 2);
        });
        waited.unwrap();
        held[1].shrink(1);
        let again = bodies.room(LEAST / LARGEST).await;
        drop(again.unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_trickles_gives_way_to_those_that_wait() {
        let bodies = Bodies::new(1);
        let began = Instant::now();
        let all = bodies.room(LEAST).await.unwrap();
        let outstayed = |come| all.outstayed(began, come);
        let alone = timeout(Duration::from_secs(100), outstayed(1_000)).await;
        assert!(alone.is_err(), "nobody waits");
        let began = Instant::now();
        let outstayed = |come| all.outstayed(began, come);
        let ((), waited) = tokio::join!(outstayed(1_000), bodies.room(LEAST));
        assert!(began.elapsed() < WAIT + GRACE && waited.is_err());
        let began = Instant::now();
        let outstayed = |come| all.outstayed(began, come);
        let fast = tokio::join!(timeout(WAIT, outstayed(20 * RATE)), bodies.room(LEAST)).0;
        assert!(fast.is_err(), "it comes fast enough");
    }

    #[tokio::test(start_paused = true)]
    async fn a_large_body_gives_no_way_to_small_ones() {
        let bodies = Bodies::new(1);
        let began = Instant::now();
        let large = bodies.room(LEAST).await.unwrap();
        let mut crowd = Vec::new();
        for _ in 0..LEAST / SMALL {
            crowd.push(bodies.room_of_stream(Some(SMALL)).await.unwrap());
        }
        let small = bodies.room_of_stream(Some(1));
        let (slow, refused) = tokio::join!(timeout(WAIT, large.outstayed(began, 1)), small);
        assert!(slow.is_err(), "its room helps no small body");
        assert_eq!(refused.unwrap_err().status, 503, "their room is used up");
        let trickles = crowd[0].outstayed(began, 1);
        let small = bodies.room_of_stream(Some(1));
        assert!(tokio::join!(trickles, small).1.is_err());
    }

    #[tokio::test]
    async fn large_ones_are_read_elsewhere() {
        let bodies = Bodies::new(1);
        let thread = || std::thread::current().id();
        assert_eq!(bodies.work(SMALL, thread).await, Ok(thread()));
        assert_ne!(bodies.work(SMALL + 1, thread).await, Ok(thread()));
    }
}
