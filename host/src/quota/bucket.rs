//! One bucket: exact in whole numbers, whatever a policy asks for.

use serde::{Deserialize, Serialize};

use super::{End, Quota, Standing, Unit};
use crate::secret::fingerprint;

/// How much a bucket would be missed, as of its last use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// At least half of it is left, and nothing of it is held.
    Ample,
    /// Somebody may soon be short of it, or is.
    Short,
}

/// Longer names and keys are kept by their fingerprint: some are the client's words.
const MAX_NAME: usize = 128;

/// The key of a shared bucket; no policy's key has a NUL.
const THE_REST: &str = "\0everyone else";

/// A place is free when somebody's answer ends; nobody knows when.
const GUESS_MS: u64 = 1_000;

/// How long somebody who was refused is taken to be still waiting for a bucket.
const WAITS_MS: u64 = 60_000;

/// Which bucket. A rule that counts something else from now on has other buckets.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Id {
    pub(super) unit: Unit,
    pub(super) name: String,
    pub(super) key: String,
}

impl Id {
    pub(super) fn of(quota: &Quota) -> Self {
        Self {
            unit: quota.unit,
            name: short(&quota.name),
            key: short(&quota.key),
        }
    }

    /// The bucket of a rule's new keys where there is no room for more buckets.
    pub(super) fn of_the_rest(&self) -> Self {
        Self {
            key: THE_REST.to_owned(),
            ..self.clone()
        }
    }

    pub(super) fn is_of_the_rest(&self) -> bool {
        self.key == THE_REST
    }
}

fn short(text: &str) -> String {
    if text.len() > MAX_NAME {
        fingerprint(text.as_bytes())
    } else {
        text.to_owned()
    }
}

/// Amounts are units times the window, so that every millisecond refills `limit` of them: no rounding, ever. They
/// saturate, so that absurd limits and costs stay limits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bucket {
    unit: Unit,
    limit: u64,
    window_ms: u64,
    /// Spent and not yet refilled.
    debt: u128,
    /// Units that are held: they are not refilled, but come back when they are released.
    held: u64,
    /// When `debt` was true.
    at_ms: u64,
    /// When it last could not pay, if that was its last answer.
    refused_ms: Option<u64>,
}

/// How much would be lost with a bucket that is forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Loss {
    /// Nothing: it is as if it had never been drawn from.
    None,
    /// At most half of its size, to somebody who was not short of it.
    Little,
    /// What was spent; nobody waits for it to refill.
    Spent,
    /// A limit that somebody meets just now, or a place that is held.
    Limit,
}

impl Bucket {
    pub(super) fn new(quota: &Quota, now_ms: u64) -> Self {
        Self {
            unit: quota.unit,
            limit: quota.limit,
            window_ms: quota.window_ms.max(1),
            debt: 0,
            held: 0,
            at_ms: now_ms,
            refused_ms: None,
        }
    }

    /// As it was saved, so many milliseconds later.
    pub(super) fn restored(unit: Unit, saved: Saved, elapsed_ms: u64) -> Self {
        let mut bucket = Self {
            unit,
            limit: saved.limit,
            window_ms: saved.window_ms.max(1),
            debt: saved.debt,
            held: 0,
            at_ms: 0,
            refused_ms: None,
        };
        bucket.refill(elapsed_ms);
        bucket.at_ms = 0;
        bucket
    }

    /// What is to be remembered of it when this process is gone, if anything: what it holds for answers that then will
    /// never be settled counts as spent, and their places as free.
    pub(super) fn saved(&mut self, now_ms: u64) -> Option<Saved> {
        self.refill(now_ms);
        (self.unit != Unit::Concurrent && self.used() > 0).then(|| Saved {
            limit: self.limit,
            window_ms: self.window_ms,
            debt: self.used(),
        })
    }

    /// Brings the bucket to the present, and to the rule as it is now: a swapped policy may have resized it.
    pub(super) fn refresh(&mut self, quota: &Quota, now_ms: u64) {
        self.refill(now_ms);
        let window = quota.window_ms.max(1);
        if window != self.window_ms {
            self.debt = self.debt.saturating_mul(window.into()) / u128::from(self.window_ms);
        }
        (self.limit, self.window_ms) = (quota.limit, window);
    }

    fn refill(&mut self, now_ms: u64) {
        let elapsed = u128::from(now_ms.saturating_sub(self.at_ms));
        self.debt = self
            .debt
            .saturating_sub(elapsed.saturating_mul(self.limit.into()));
        self.at_ms = self.at_ms.max(now_ms);
    }

    fn amount(&self, units: u64) -> u128 {
        u128::from(units) * u128::from(self.window_ms)
    }

    fn used(&self) -> u128 {
        self.debt.saturating_add(self.amount(self.held))
    }

    /// Draws, if it can pay.
    pub(super) fn draw(&mut self, cost: u64) -> bool {
        let used = self.used().saturating_add(self.amount(cost));
        let pays = used <= self.amount(self.limit);
        self.refused_ms = (!pays).then_some(self.at_ms);
        if pays && self.unit == Unit::Requests {
            self.debt = self.debt.saturating_add(self.amount(cost));
        } else if pays {
            self.held = self.held.saturating_add(cost);
        }
        pays
    }

    /// Takes back a draw.
    pub(super) fn undo(&mut self, cost: u64) {
        if self.unit == Unit::Requests {
            self.debt = self.debt.saturating_sub(self.amount(cost));
        } else {
            self.held = self.held.saturating_sub(cost);
        }
    }

    /// The answer is over: what was held is free, what it cost is spent.
    pub(super) fn give_back(&mut self, cost: u64, end: End, now_ms: u64) {
        let End::Over(tokens) = end else {
            return self.undo(cost);
        };
        if self.unit == Unit::Requests {
            return;
        }
        self.held = self.held.saturating_sub(cost);
        if self.unit == Unit::Tokens {
            self.refill(now_ms);
            let real = self.amount(tokens.unwrap_or(cost));
            self.debt = self.debt.saturating_add(real);
        }
    }

    pub(super) fn standing(&self, cost: u64, granted: bool) -> Standing {
        let size = self.amount(self.limit);
        let left = size.saturating_sub(self.used()) / u128::from(self.window_ms);
        // Full again, or with room for the cost.
        let room = if granted {
            0
        } else {
            size.saturating_sub(self.amount(cost))
        };
        Standing {
            granted,
            remaining: u64::try_from(left).unwrap_or(u64::MAX),
            reset_ms: self.wait(room),
        }
    }

    /// Milliseconds until no more than `room` is used, as if what is held were refilled as the rest is.
    fn wait(&self, room: u128) -> u64 {
        let excess = self.used().saturating_sub(room);
        match (self.unit, self.limit) {
            (Unit::Concurrent, _) => GUESS_MS,
            (_, 0) => self.window_ms,
            (_, limit) => u64::try_from(excess.div_ceil(limit.into())).unwrap_or(u64::MAX),
        }
    }

    /// How much it would be missed, as things are.
    pub(super) fn need(&self) -> Need {
        let is_ample = self.held == 0 && self.debt.saturating_mul(2) <= self.amount(self.limit);
        if is_ample { Need::Ample } else { Need::Short }
    }

    /// What would be lost with it.
    pub(super) fn loss(&mut self, now_ms: u64) -> Loss {
        self.refill(now_ms);
        let waits = |refused_ms| now_ms.saturating_sub(refused_ms) < WAITS_MS;
        match self.need() {
            Need::Ample if self.debt == 0 => Loss::None,
            Need::Ample => Loss::Little,
            Need::Short if self.held > 0 || self.refused_ms.is_some_and(waits) => Loss::Limit,
            Need::Short => Loss::Spent,
        }
    }
}

/// What is remembered of a bucket.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Saved {
    limit: u64,
    window_ms: u64,
    debt: u128,
}
