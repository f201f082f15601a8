//! The counters behind rate limits: buckets that requests draw from, named and sized by the policy.
//!
//! `Store` is the trait, `memory` its implementation, and `state` keeps the buckets between runs.
//!
//! Not `governor`: its limiter has one quota for all its keys, and takes cells from one key at a time. Here each question
//! names and sizes its buckets, all of them are charged or none, an estimate is settled later, places are released, and
//! all of that outlives a restart.

mod bucket;
mod memory;
mod shelves;
mod state;

#[cfg(test)]
mod tests;

use std::future::Future;
use std::pin::Pin;

use serde::{Deserialize, Serialize};

pub use memory::Memory;
pub use state::State;

/// The unit that a bucket counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// Spent when drawn, refilled evenly over the window.
    Requests,
    /// The cost is an estimate, reserved until the end of the answer; then the real cost is spent, and refilled as requests are.
    Tokens,
    /// Reserved until released.
    Concurrent,
}

/// One bucket to draw from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quota {
    /// The name of the rule.
    pub name: String,
    /// The key of the bucket within the rule.
    pub key: String,
    /// The unit it counts.
    pub unit: Unit,
    /// Its size.
    pub limit: u64,
    /// Milliseconds in which an empty bucket refills; not used by [`Unit::Concurrent`].
    pub window_ms: u64,
    /// The cost of this request.
    pub cost: u64,
}

/// The status of a bucket after a draw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketStatus {
    /// Whether it had room for the cost.
    pub granted: bool,
    /// The remaining amount, in whole units.
    pub remaining: u64,
    /// Milliseconds until it is full again; if not granted, until it has room for the cost.
    pub reset_ms: u64,
}

/// The result of [`Store::take`]: a bucket status for each quota, in the same order; and the reservation, if all were granted.
pub type Taken = (Vec<BucketStatus>, Option<Reservation>);

/// The future of [`Store::take`].
pub type Taking<'a> = Pin<Box<dyn Future<Output = Result<Taken, Unavailable>> + Send + 'a>>;

/// The future of [`Store::look`].
pub type Looking<'a> =
    Pin<Box<dyn Future<Output = Result<Vec<BucketStatus>, Unavailable>> + Send + 'a>>;

/// The counters are unavailable. Nothing was drawn.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the counters cannot be asked: {0}")]
pub struct Unavailable(pub String);

/// The storage of buckets, which outlive policy swaps. [`Memory`] holds the buckets of this process; a store that several
/// gateways share would do I/O here.
pub trait Store: Send + Sync {
    /// Draws from all buckets or from none. A future that is dropped before it is ready leaves nothing drawn: its caller is gone,
    /// and nothing else would give the amounts back.
    fn take<'a>(&'a self, quotas: &'a [Quota]) -> Taking<'a>;

    /// The status of each bucket now, in the same order. Nothing is drawn, whatever the quotas cost, and no bucket is created.
    fn look<'a>(&'a self, quotas: &'a [Quota]) -> Looking<'a>;

    /// The numbers of buckets and evictions.
    fn counts(&self) -> Counts;
}

/// The numbers of [`Store::counts`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// When they were last saved by this process, in milliseconds since 1970.
    pub saved_ms: Option<u64>,
    /// Buckets in the store.
    pub buckets: usize,
    /// Buckets that were evicted for others before they were full again.
    pub evicted: u64,
    /// Requests that drew from a bucket shared by all new keys of a rule, since no other bucket could be evicted.
    pub shared: u64,
}

/// The amounts that one request drew. Dropping it releases reserved units and settles estimated tokens, exactly once.
#[must_use = "what was drawn is given back when this is dropped"]
pub struct Reservation {
    tokens: Option<u64>,
    give_back: Option<GiveBack>,
}

/// The way a reservation ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The request is over; with the tokens of its real cost, if known.
    Over(Option<u64>),
    /// The request was refused after all: everything drawn is returned.
    Refused,
}

type GiveBack = Box<dyn FnOnce(End) + Send>;

impl Reservation {
    /// For stores: `give_back` returns the drawn amounts. It must return at once; a store that does I/O begins it there.
    pub fn new(give_back: impl FnOnce(End) + Send + 'static) -> Self {
        Self {
            tokens: None,
            give_back: Some(Box::new(give_back)),
        }
    }

    /// Sets the real cost of the answer, in tokens; without it the estimate is charged.
    pub fn settle(&mut self, tokens: u64) {
        self.tokens = Some(tokens);
    }

    /// Returns everything that was drawn: the request is refused.
    pub fn refuse(mut self) {
        if let Some(give_back) = self.give_back.take() {
            give_back(End::Refused);
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if let Some(give_back) = self.give_back.take() {
            give_back(End::Over(self.tokens));
        }
    }
}
