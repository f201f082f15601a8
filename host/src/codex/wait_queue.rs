//! Queues turns for a place to run: in order of arrival, bounded in number.

use std::pin::pin;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::{Config, Status};

/// The places for turns, and the queue of turns that wait for one.
#[derive(Debug)]
pub(super) struct WaitQueue {
    places: Arc<Semaphore>,
    /// How many turns may wait.
    bound: usize,
    /// Shows the number of waiting turns. Its change wakes no receiver.
    status: watch::Sender<Status>,
}

/// No place is free, and the queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full;

impl WaitQueue {
    /// A queue with `places` places at first, in which `bound` turns may wait.
    pub(super) fn new(places: usize, bound: usize, status: watch::Sender<Status>) -> Self {
        Self {
            places: Arc::new(Semaphore::new(places)),
            bound,
            status,
        }
    }

    /// Waits for a place, in order of arrival. Cancel-safe: dropping the future leaves the queue. A turn that `follows` another one
    /// of its request waits even if the queue is full: it takes the place of one that has ended, so there are not more turns.
    pub(super) async fn enter(&self, follows: bool) -> Result<OwnedSemaphorePermit, Full> {
        // This never overtakes a waiting turn: a free place goes to the first in the queue.
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            return Ok(place);
        }
        let _waiting = self.queue(follows)?;
        // The semaphore is never closed.
        let place = Arc::clone(&self.places).acquire_owned().await;
        place.map_err(|_| Full)
    }

    fn queue(&self, follows: bool) -> Result<Waiting<'_>, Full> {
        let mut has_room = false;
        self.status.send_if_modified(|status| {
            has_room = follows || status.waiting < self.bound;
            status.waiting += usize::from(has_room);
            false
        });
        has_room.then(|| Waiting(&self.status)).ok_or(Full)
    }

    /// The number of free places.
    pub(super) fn free(&self) -> usize {
        self.places.available_permits()
    }

    /// Adds places.
    pub(super) fn add(&self, places: usize) {
        self.places.add_permits(places);
    }

    /// Removes places that are free. Places in use are the concern of their holders.
    pub(super) fn remove(&self, places: usize) {
        self.places.forget_permits(places);
    }
}

/// Waits until a turn may begin: up to `queue_wait` if `is_open` says that a worker is there, else only up to
/// `lease_wait`.
pub(super) async fn wait<T>(
    config: &Config,
    waiting: impl Future<Output = T>,
    is_open: impl Fn() -> bool,
) -> Option<T> {
    let mut waiting = pin!(waiting);
    match tokio::time::timeout(config.lease_wait, &mut waiting).await {
        Err(_) if is_open() => {
            let longer = config.queue_wait.saturating_sub(config.lease_wait);
            tokio::time::timeout(longer, waiting).await.ok()
        }
        waited => waited.ok(),
    }
}

/// One waiting turn, until dropped.
struct Waiting<'a>(&'a watch::Sender<Status>);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.send_if_modified(|status| {
            status.waiting = status.waiting.saturating_sub(1);
            false
        });
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn wait_queue(places: usize, bound: usize) -> WaitQueue {
        let (status, _) = watch::channel(Status::starting("test", String::new()));
        WaitQueue::new(places, bound, status)
    }

    #[tokio::test]
    async fn places_go_to_those_who_came_first_and_nobody_overtakes() {
        let wait_queue = wait_queue(1, 2);
        let held = wait_queue.enter(false).await.unwrap();
        let (mut first, mut second) =
            (pin!(wait_queue.enter(false)), pin!(wait_queue.enter(false)));
        assert!(first.as_mut().now_or_never().is_none());
        assert!(second.as_mut().now_or_never().is_none());
        assert_eq!(wait_queue.enter(false).await.unwrap_err(), Full);
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
        let wait_queue = wait_queue(0, 1);
        {
            let mut waiting = pin!(wait_queue.enter(false));
            assert!(waiting.as_mut().now_or_never().is_none());
            assert_eq!(wait_queue.enter(false).await.unwrap_err(), Full);
        }
        let mut waiting = pin!(wait_queue.enter(false));
        assert!(waiting.as_mut().now_or_never().is_none());
        wait_queue.add(1);
        assert!(waiting.await.is_ok());
    }

    #[tokio::test]
    async fn without_room_to_wait_a_free_place_is_still_had() {
        let wait_queue = wait_queue(1, 0);
        let held = wait_queue.enter(false).await.unwrap();
        assert_eq!(wait_queue.enter(false).await.unwrap_err(), Full);
        drop(held);
        assert!(wait_queue.enter(false).await.is_ok());
    }

    #[tokio::test]
    async fn a_turn_that_follows_another_waits_in_a_full_queue() {
        let wait_queue = wait_queue(1, 0);
        let held = wait_queue.enter(false).await.unwrap();
        let mut follows = pin!(wait_queue.enter(true));
        assert!(follows.as_mut().now_or_never().is_none());
        assert_eq!(wait_queue.enter(false).await.unwrap_err(), Full);
        drop(held);
        assert!(follows.await.is_ok());
    }

    #[tokio::test]
    async fn removed_places_are_gone() {
        let wait_queue = wait_queue(2, 4);
        wait_queue.remove(1);
        let _held = wait_queue.enter(false).await.unwrap();
        let mut waiting = pin!(wait_queue.enter(false));
        assert!(waiting.as_mut().now_or_never().is_none());
    }
}
