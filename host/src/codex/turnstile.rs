//! The wait for a place to run a turn: in order of arrival, bounded in number.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Places for turns, and those who wait for one.
#[derive(Debug)]
pub(super) struct Turnstile {
    places: Arc<Semaphore>,
    waiting: AtomicUsize,
    /// How many may wait.
    bound: usize,
}

/// No place is free, and as many wait as may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full;

impl Turnstile {
    /// `places` to begin with, and room for `bound` to wait.
    pub(super) fn new(places: usize, bound: usize) -> Self {
        Self {
            places: Arc::new(Semaphore::new(places)),
            waiting: AtomicUsize::new(0),
            bound,
        }
    }

    /// Waits for a place, behind all who came earlier. Cancel-safe: who stops waiting makes room.
    pub(super) async fn enter(&self) -> Result<OwnedSemaphorePermit, Full> {
        // Never succeeds past somebody who waits: a place that comes back goes to the first of them.
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            return Ok(place);
        }
        let _waiting = self.queue()?;
        // Never closed.
        let place = Arc::clone(&self.places).acquire_owned().await;
        place.map_err(|_| Full)
    }

    fn queue(&self) -> Result<Waiting<'_>, Full> {
        let one_more = |waiting| (waiting < self.bound).then_some(waiting + 1);
        self.waiting
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more)
            .map(|_| Waiting(&self.waiting))
            .map_err(|_| Full)
    }

    /// More places.
    pub(super) fn add(&self, places: usize) {
        self.places.add_permits(places);
    }

    /// Fewer places: those that are free. What is taken is the business of those who hold it.
    pub(super) fn remove(&self, places: usize) {
        self.places.forget_permits(places);
    }
}

/// One who waits, until dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn places_go_to_those_who_came_first_and_nobody_overtakes() {
        let turnstile = Turnstile::new(1, 2);
        let held = turnstile.enter().await.unwrap();
        let (mut first, mut second) = (pin!(turnstile.enter()), pin!(turnstile.enter()));
        assert!(first.as_mut().now_or_never().is_none());
        assert!(second.as_mut().now_or_never().is_none());
        assert_eq!(turnstile.enter().await.unwrap_err(), Full);
        drop(held);
        assert!(
            second.as_mut().now_or_never().is_none(),
            "the first is first"
        );
        let first = first.await.unwrap();
        drop(first);
        assert!(second.await.is_ok());
    }

    #[tokio::test]
    async fn who_stops_waiting_makes_room() {
        let turnstile = Turnstile::new(0, 1);
        {
            let mut waiting = pin!(turnstile.enter());
            assert!(waiting.as_mut().now_or_never().is_none());
            assert_eq!(turnstile.enter().await.unwrap_err(), Full);
        }
        let mut waiting = pin!(turnstile.enter());
        assert!(waiting.as_mut().now_or_never().is_none());
        turnstile.add(1);
        assert!(waiting.await.is_ok());
    }

    #[tokio::test]
    async fn without_room_to_wait_a_free_place_is_still_had() {
        let turnstile = Turnstile::new(1, 0);
        let held = turnstile.enter().await.unwrap();
        assert_eq!(turnstile.enter().await.unwrap_err(), Full);
        drop(held);
        assert!(turnstile.enter().await.is_ok());
    }

    #[tokio::test]
    async fn removed_places_are_gone() {
        let turnstile = Turnstile::new(2, 4);
        turnstile.remove(1);
        let _held = turnstile.enter().await.unwrap();
        let mut waiting = pin!(turnstile.enter());
        assert!(waiting.as_mut().now_or_never().is_none());
    }
}
