//! Limits the long calls that run at once: the others wait in order, each runs for a tick, and one core stays free for short
//! calls.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The interval at which a running guest is interrupted, to count its time and to let others run.
pub(super) const TICK: Duration = Duration::from_millis(2);

/// Turns to run for one tick, which the calls of all slots take once they ran for longer than a tick.
#[derive(Clone)]
pub(super) struct Slices {
    turns: Arc<Semaphore>,
    /// The turn that this guest holds.
    held: Arc<Mutex<Option<OwnedSemaphorePermit>>>,
}

impl Slices {
    /// As many turns as cores, less one; at least one.
    pub(super) fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            turns: Arc::new(Semaphore::new(cores.saturating_sub(1).max(1))),
            held: Arc::default(),
        }
    }

    /// The same turns, for another guest.
    pub(super) fn for_a_guest(&self) -> Self {
        let turns = Arc::clone(&self.turns);
        let held = Arc::default();
        Self { turns, held }
    }

    /// Releases the turn, and completes with the next one: after all guests that already wait.
    pub(super) fn next(&self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        self.release();
        let Self { turns, held } = self.clone();
        Box::pin(async move {
            tokio::task::yield_now().await;
            let turn = turns.acquire_owned().await.ok();
            *held.lock() = turn;
        })
    }

    /// Releases the turn, if the guest holds one.
    pub(super) fn release(&self) {
        self.held.lock().take();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at_once(turns: usize) -> Slices {
        Slices {
            turns: Arc::new(Semaphore::new(turns)),
            held: Arc::default(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn long_calls_take_turns_and_a_call_that_ends_gives_its_own_back() {
        let slices = at_once(1);
        let (one, other) = (slices.for_a_guest(), slices.for_a_guest());
        one.next().await;
        let mut waiting = other.next();
        assert!(!is_ready(&mut waiting).await, "one runs at once");
        let mut again = one.next();
        assert!(is_ready(&mut waiting).await, "whoever waits is next");
        assert!(!is_ready(&mut again).await);
        drop(again);
        drop(one);
        drop((other, waiting));
        assert_eq!(slices.turns.available_permits(), 1);
    }

    async fn is_ready(future: &mut Pin<Box<dyn Future<Output = ()> + Send>>) -> bool {
        let soon = std::time::Duration::from_millis(1);
        tokio::time::timeout(soon, future).await.is_ok()
    }
}
