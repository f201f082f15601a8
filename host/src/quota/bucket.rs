//! One bucket: exact integer arithmetic, whatever limit, window and cost a policy gives.

use serde::{Deserialize, Serialize};

use super::{BucketStatus, End, Quota, Unit};
use crate::secret::fingerprint;

/// How much of a bucket is used, as of its last use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// At least half of it is left, and nothing is reserved.
    Ample,
    /// More than half of it is used, or units are reserved.
    Short,
}

/// The most bytes of a name or a key; a longer one is replaced by its fingerprint: some contain text of the client.
const MAX_NAME: usize = 128;

/// The key of a shared bucket; no policy's key has a NUL.
const THE_REST: &str = "\0everyone else";

/// The wait reported for a concurrency limit: it ends with another answer, at an unknown time.
const GUESS_MS: u64 = 1_000;

/// How long after a refusal a bucket counts as waited for.
const WAITS_MS: u64 = 60_000;

/// The identity of a bucket. If a rule changes its unit, it gets other buckets.
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

    /// The shared bucket for new keys of a rule, used when there is no room for more buckets.
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

/// Amounts are units times the window, so that every millisecond refills `limit` of them, without rounding. They saturate, so
/// that extreme limits and costs stay limits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bucket {
    unit: Unit,
    limit: u64,
    window_ms: u64,
    /// The amount spent and not yet refilled.
    debt: u128,
    /// Reserved units: they are not refilled, but returned when they are released.
    held: u64,
    /// The time for which `debt` is correct.
    at_ms: u64,
    /// The time of its last draw, if that was refused.
    refused_ms: Option<u64>,
}

/// How much would be lost by evicting a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Loss {
    /// Nothing: it is full, as a new bucket would be.
    None,
    /// At most half of its size is spent, and nothing is reserved.
    Little,
    /// More than half of its size is spent, but no recent draw was refused.
    Spent,
    /// A limit that refused a draw recently, or reserved units.
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

    /// The saved bucket, refilled for the elapsed milliseconds.
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

    /// The state to save, if any. Units reserved for answers count as spent, since those are never settled after this process is
    /// gone; concurrency is not saved.
    pub(super) fn saved(&mut self, now_ms: u64) -> Option<Saved> {
        self.refill(now_ms);
        (self.unit != Unit::Concurrent && self.used() > 0).then(|| Saved {
            limit: self.limit,
            window_ms: self.window_ms,
            debt: self.used(),
        })
    }

    /// Refills the bucket up to now, and adopts the rule's current size and window: a swapped policy may have changed them.
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

    /// Draws, if there is room for the cost.
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

    /// Returns a draw.
    pub(super) fn undo(&mut self, cost: u64) {
        if self.unit == Unit::Requests {
            self.debt = self.debt.saturating_sub(self.amount(cost));
        } else {
            self.held = self.held.saturating_sub(cost);
        }
    }

    /// Ends a draw: reserved units are released, and the real cost is spent.
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

    pub(super) fn status(&self, cost: u64, granted: bool) -> BucketStatus {
        let size = self.amount(self.limit);
        let left = size.saturating_sub(self.used()) / u128::from(self.window_ms);
        // The used amount to wait for: none, or little enough to leave room for the cost.
        let room = if granted {
            0
        } else {
            size.saturating_sub(self.amount(cost))
        };
        BucketStatus {
            granted,
            remaining: u64::try_from(left).unwrap_or(u64::MAX),
            reset_ms: self.wait(room),
        }
    }

    /// Milliseconds until no more than `room` is used, computed as if reserved units were refilled like spent ones.
    fn wait(&self, room: u128) -> u64 {
        let excess = self.used().saturating_sub(room);
        match (self.unit, self.limit) {
            (Unit::Concurrent, _) => GUESS_MS,
            (_, 0) => self.window_ms,
            (_, limit) => u64::try_from(excess.div_ceil(limit.into())).unwrap_or(u64::MAX),
        }
    }

    /// How much of it is used, as of its last use.
    pub(super) fn need(&self) -> Need {
        let is_ample = self.held == 0 && self.debt.saturating_mul(2) <= self.amount(self.limit);
        if is_ample { Need::Ample } else { Need::Short }
    }

    /// How much would be lost by evicting it.
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

/// The saved state of a bucket.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Saved {
    limit: u64,
    window_ms: u64,
    debt: u128,
}
