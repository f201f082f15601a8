//! One request under way: its body that arrives, and the parts of its answer that wait for the peer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::time::Instant;

use super::Requests;

/// Bytes of an answer that show that the peer reads it. Fewer would let a peer that takes one now and then hold up a drain.
const LIFE: usize = 1 << 10;

/// A request that is being answered.
#[derive(Debug)]
pub(in crate::api) struct Underway {
    requests: Requests,
    /// The parts of its answer that wait for the peer.
    offers: AtomicUsize,
    /// The parts that the peer took.
    taken: AtomicUsize,
}

impl Underway {
    /// A request that was counted already.
    pub(super) fn of(requests: Requests) -> Self {
        Self {
            requests,
            offers: AtomicUsize::new(0),
            taken: AtomicUsize::new(0),
        }
    }

    /// Marks the request's body as arriving, until the result is dropped.
    pub(in crate::api) fn arriving(&self) -> Arriving {
        self.requests.state().arriving += 1;
        Arriving(self.requests.clone())
    }

    /// Marks a part of the answer as waiting for the peer, until the result is dropped.
    pub(in crate::api) fn offer(self: &Arc<Self>) -> Offer {
        let mut state = self.requests.state();
        if self.offers.fetch_add(1, Ordering::Relaxed) == 0 {
            state.stuck += 1;
            state.recount();
        }
        drop(state);
        Offer(Arc::clone(self))
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        let mut state = self.requests.state();
        state.underway -= 1;
        state.since = Instant::now();
        state.recount();
        state.wake();
    }
}

/// A part of an answer that waits for the peer to take it. Its request is under way meanwhile.
#[derive(Debug)]
pub(in crate::api) struct Offer(Arc<Underway>);

impl Offer {
    /// Notes that the system took bytes of the part, and whether they were the last. For a caller each part is a sign of life, and
    /// so is each kilobyte of one. A stranger has to take a whole part, and not the first of an answer, for which a small answer
    /// would do.
    pub(in crate::api) fn taken(&self, bytes: usize, are_last: bool) {
        let mut state = self.0.requests.state();
        let parts = self
            .0
            .taken
            .fetch_add(usize::from(are_last), Ordering::Relaxed);
        state.taken_bytes += bytes;
        let is_alive = match state.authenticated {
            true => are_last || state.taken_bytes >= LIFE,
            false => are_last && parts > 0,
        };
        if is_alive {
            state.taken();
        }
    }
}

impl Drop for Offer {
    fn drop(&mut self) {
        let mut state = self.0.requests.state();
        if self.0.offers.fetch_sub(1, Ordering::Relaxed) == 1 {
            state.stuck -= 1;
            state.recount();
        }
    }
}

/// A body that is still arriving.
#[derive(Debug)]
pub(in crate::api) struct Arriving(Requests);

impl Drop for Arriving {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.arriving -= 1;
        if state.arriving == 0
            && let Some(reader) = state.reader.take()
        {
            reader.wake();
        }
    }
}
