//! Request bodies in memory: how much of them there may be at once, and where the large ones are read.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::available_parallelism;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use super::error;
use crate::memory;
use crate::openai::ApiError;

/// A body up to this size is read where it comes, which takes less than a millisecond, and is not counted: each connection
/// may have one, and each stream of HTTP/2.
const SMALL: usize = 64 << 10;

/// Bodies of the largest size that fit at once; and at least so many bytes.
const LARGEST: usize = 4;
const LEAST: usize = 64 << 20;

/// The permits are for so many bytes each: a semaphore counts up to 2³² of them on 32 bits.
const UNIT: usize = 1 << 10;

/// How long a body waits for others to become requests. Most do within milliseconds.
const WAIT: Duration = Duration::from_secs(10);

/// While others wait for room, a body that takes some may come for so long, and a second more for so many bytes: 50 kB a
/// second is a slow line's upload.
const GRACE: Duration = Duration::from_secs(5);
const RATE: usize = 50_000;

/// How often that is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// The room for bodies.
#[derive(Debug, Clone)]
pub struct Bodies(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    room: Arc<Semaphore>,
    /// Bodies that wait for room.
    waiting: AtomicUsize,
    /// Who reads a large one takes a whole core for a while: half of them serve on.
    readers: Semaphore,
}

/// Room for one body, given back when this is dropped.
#[derive(Debug, Default)]
pub(super) struct Room(Option<OwnedSemaphorePermit>);

impl Bodies {
    /// For bodies of at most that many bytes.
    #[must_use]
    pub fn new(largest: usize) -> Self {
        let bytes = largest.saturating_mul(LARGEST).max(LEAST);
        let cores = available_parallelism().map_or(1, usize::from);
        Self(Arc::new(Inner {
            room: Arc::new(Semaphore::new(bytes.div_ceil(UNIT))),
            waiting: AtomicUsize::new(0),
            readers: Semaphore::new((cores / 2).max(1)),
        }))
    }

    /// Room for so many bytes: waits for it, but not long.
    pub(super) async fn room(&self, bytes: usize) -> Result<Room, ApiError> {
        let units = match units(bytes) {
            0 => return Ok(Room::default()),
            units => u32::try_from(units).unwrap_or(u32::MAX),
        };
        let _waiting = Waiting::of(&self.0.waiting);
        let room = Arc::clone(&self.0.room).acquire_many_owned(units);
        match timeout(WAIT, room).await {
            Ok(Ok(permit)) => Ok(Room(Some(permit))),
            // It is never closed.
            Ok(Err(_)) | Err(_) => Err(overloaded()),
        }
    }

    /// Returns when others wait for the room of a body that has been coming since then, and of which too little has come.
    pub(super) async fn outstayed(&self, room: &Room, since: Instant, come: usize) {
        if room.0.is_none() {
            return pending().await;
        }
        let bytes = u32::try_from(come / RATE).unwrap_or(u32::MAX);
        tokio::time::sleep_until(since + GRACE + Duration::from_secs(1) * bytes).await;
        while self.0.waiting.load(Ordering::Relaxed) == 0 {
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Works on a body of so many bytes: on a serving thread only if that is soon done.
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

/// One body that waits, until it is dropped.
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
    /// Gives back what a body did not need.
    pub(super) fn shrink(&mut self, bytes: usize) {
        let Some(permit) = &mut self.0 else { return };
        let spare = permit.num_permits().saturating_sub(units(bytes));
        drop(permit.split(spare));
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        if self.0.is_some() {
            memory::give_back_soon();
        }
    }
}

/// The permits for a body of so many bytes; a small one needs none.
fn units(bytes: usize) -> usize {
    match bytes {
        0..=SMALL => 0,
        _ => bytes.div_ceil(UNIT),
    }
}

/// What of a body may come before room is taken for it, where its size is not announced.
pub(super) const UNANNOUNCED: usize = SMALL;

fn overloaded() -> ApiError {
    let message = "The gateway has as many large requests as it can hold; try again in a moment.";
    let mut error = ApiError::new(503, "server_error", "overloaded", message);
    error.retry_after_ms = Some(2_000);
    error
}

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
        let outstayed = |come| bodies.outstayed(&all, began, come);
        let alone = timeout(Duration::from_secs(100), outstayed(1_000)).await;
        assert!(alone.is_err(), "nobody waits");
        let began = Instant::now();
        let outstayed = |come| bodies.outstayed(&all, began, come);
        let ((), waited) = tokio::join!(outstayed(1_000), bodies.room(LEAST));
        assert!(began.elapsed() < WAIT + GRACE && waited.is_err());
        let began = Instant::now();
        let outstayed = |come| bodies.outstayed(&all, began, come);
        let fast = tokio::join!(timeout(WAIT, outstayed(20 * RATE)), bodies.room(LEAST)).0;
        assert!(fast.is_err(), "it comes fast enough");
    }

    #[tokio::test]
    async fn large_ones_are_read_elsewhere() {
        let bodies = Bodies::new(1);
        let thread = || std::thread::current().id();
        assert_eq!(bodies.work(SMALL, thread).await, Ok(thread()));
        assert_ne!(bodies.work(SMALL + 1, thread).await, Ok(thread()));
    }
}
