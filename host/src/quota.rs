//! The counters behind rate limits: buckets the host spends, named and sized by the policy.

mod bucket;
mod memory;
mod shelves;
mod state;

#[cfg(test)]
mod properties;

use std::future::Future;
use std::pin::Pin;

use serde::{Deserialize, Serialize};

pub use memory::Memory;
pub use state::State;

/// What a bucket counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// Spent at once, refilled evenly over the window.
    Requests,
    /// The cost is an estimate, held until the answer's end; what it really cost is spent then, as requests are.
    Tokens,
    /// Held until released.
    Concurrent,
}

/// One bucket to draw from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quota {
    /// The rule.
    pub name: String,
    /// The bucket within the rule.
    pub key: String,
    /// What it counts.
    pub unit: Unit,
    /// Its size.
    pub limit: u64,
    /// Milliseconds in which an empty bucket fills; not used by [`Unit::Concurrent`].
    pub window_ms: u64,
    /// What this request costs.
    pub cost: u64,
}

/// What a bucket said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Whether it could pay.
    pub granted: bool,
    /// What is left, in whole units.
    pub remaining: u64,
    /// Milliseconds until it is full again; if not granted, until it can pay.
    pub reset_ms: u64,
}

/// What [`Store::take`] answers: a standing for each quota, in their order; and what was drawn, if all could pay.
pub type Taken = (Vec<Standing>, Option<Reservation>);

/// See [`Store::take`].
pub type Taking<'a> = Pin<Box<dyn Future<Output = Result<Taken, Unavailable>> + Send + 'a>>;

/// The counters cannot be asked. Nothing was drawn.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the counters cannot be asked: {0}")]
pub struct Unavailable(pub String);

/// Where buckets are kept. They outlive policy swaps. [`Memory`] keeps this process's; a store that several gateways
/// share would do I/O here.
pub trait Store: Send + Sync {
    /// Draws from all buckets or from none. A future that is dropped before it is ready leaves nothing drawn: whoever
    /// asked is gone, and nobody else would give it back.
    fn take<'a>(&'a self, quotas: &'a [Quota]) -> Taking<'a>;

    /// How full it is.
    fn counts(&self) -> Counts;
}

/// See [`Store::counts`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Buckets that are kept.
    pub buckets: usize,
    /// Buckets that gave way to others before they were full again.
    pub evicted: u64,
    /// Requests that were paid from a bucket all new keys of a rule share, since no other gave way.
    pub shared: u64,
}

/// What one request drew. Dropping it releases what is held and settles what was estimated, exactly once.
#[must_use = "what was drawn is given back when this is dropped"]
pub struct Reservation {
    tokens: Option<u64>,
    give_back: Option<GiveBack>,
}

/// How what was drawn is done with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The request is over; the tokens it really cost, if that is known.
    Over(Option<u64>),
    /// It was refused after all: as if nothing had been drawn.
    Refused,
}

type GiveBack = Box<dyn FnOnce(End) + Send>;

impl Reservation {
    /// For stores: how to give back what was drawn. Must return at once; a store that does I/O begins it here.
    pub fn new(give_back: impl FnOnce(End) + Send + 'static) -> Self {
        Self {
            tokens: None,
            give_back: Some(Box::new(give_back)),
        }
    }

    /// Says what the answer really cost, in tokens; without it the estimate stands.
    pub fn settle(&mut self, tokens: u64) {
        self.tokens = Some(tokens);
    }

    /// Takes everything back: the request is refused.
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
