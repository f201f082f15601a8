//! Begins the turns of one answer: a bounded number at once, and again those that found no place.

use std::collections::BTreeSet;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;

use crate::codex;
use crate::turn::{self, Timer};

/// The turns of one answer, before they have begun. Turn `choice` is begun by `start(choice, follows)`.
pub(in crate::api) struct Turns<M> {
    pub(in crate::api) count: u32,
    /// The most turns that are under way at once.
    pub(in crate::api) at_once: u32,
    /// Called again for a choice whose turn found no place. Dropped when all turns have begun.
    pub(in crate::api) start: M,
}

/// Turns that begin: as many at once as may be under way, in the order of their choices.
pub(super) struct Beginnings<M, S> {
    waiting: BTreeSet<u32>,
    at_once: usize,
    /// Absent when all have begun: it holds the prompts.
    start: Option<M>,
    pub(super) starting: FuturesUnordered<BoxFuture<'static, (u32, Result<S, turn::Error>)>>,
    /// A turn found no place: the next begins when another turn of the answer has ended.
    held_back: bool,
    /// The number of turns that have ended and whose places no other turn of the answer has taken.
    left: usize,
}

impl<M, S, F> Beginnings<M, S>
where
    M: FnMut(u32, bool) -> F,
    F: Future<Output = Result<S, turn::Error>> + Send + 'static,
{
    pub(super) fn new(turns: Turns<M>) -> Self {
        Self {
            waiting: (0..turns.count).collect(),
            at_once: turns.at_once.max(1) as usize,
            start: Some(turns.start),
            starting: FuturesUnordered::new(),
            held_back: false,
            left: 0,
        }
    }

    /// Begins the next turns, beside those that are running.
    pub(super) fn begin(&mut self, running: usize) {
        if self.is_empty() {
            self.start = None;
        }
        let Some(start) = &mut self.start else { return };
        while !self.held_back && self.starting.len() + running < self.at_once {
            let Some(choice) = self.waiting.pop_first() else {
                return;
            };
            let follows = self.left > 0;
            self.left = self.left.saturating_sub(1);
            let start = start(choice, follows);
            self.starting
                .push(async move { (choice, start.await) }.boxed());
        }
    }

    /// Notes that a running turn has ended.
    pub(super) fn free(&mut self) {
        self.left += 1;
        self.held_back = false;
    }

    /// Begins a choice once more, later.
    pub(super) fn put_off(&mut self, choice: u32) {
        self.waiting.insert(choice);
        self.held_back = true;
    }

    pub(super) fn clear(&mut self) {
        self.waiting.clear();
        self.starting.clear();
        self.start = None;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.starting.is_empty()
    }
}

/// Whether a turn could not begin because all places were taken, perhaps by other turns of the same answer.
pub(super) fn found_no_place(error: &turn::Error) -> bool {
    matches!(
        error,
        turn::Error::Codex(codex::Error::Busy)
            | turn::Error::Timeout {
                timer: Timer::FirstToken,
                ..
            }
    )
}
