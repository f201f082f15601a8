//! The counters behind rate limits: buckets the host spends, named and sized by the policy.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Buckets kept at most. Beyond it, new keys of a rule share one bucket: a flood of made-up keys limits itself.
const MAX_BUCKETS: usize = 100_000;

/// What a bucket counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unit {
    /// Refilled evenly over the window.
    Requests,
    /// As requests; the cost is an estimate, settled later.
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

/// All buckets of this process. They outlive policy swaps.
#[derive(Debug, Default)]
pub struct Counters {
    buckets: Mutex<HashMap<(String, String), Bucket>>,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    unit: Unit,
    limit: u64,
    window_ms: u64,
    /// Spent and not yet refilled, in units times window: exact in whole numbers.
    debt: u128,
    /// When `debt` was true.
    at_ms: u64,
    /// Concurrent units held.
    held: u64,
}

impl Bucket {
    fn new(quota: &Quota, now_ms: u64) -> Self {
        Self {
            unit: quota.unit,
            limit: quota.limit,
            window_ms: quota.window_ms.max(1),
            debt: 0,
            at_ms: now_ms,
            held: 0,
        }
    }

    /// Brings the bucket to the present, and to the rule as it is now: a swapped policy may have resized it.
    fn refresh(&mut self, quota: &Quota, now_ms: u64) {
        self.refill(now_ms);
        let window = quota.window_ms.max(1);
        if window != self.window_ms {
            self.debt = self.debt * u128::from(window) / u128::from(self.window_ms);
        }
        (self.unit, self.limit, self.window_ms) = (quota.unit, quota.limit, window);
    }

    fn refill(&mut self, now_ms: u64) {
        let elapsed = u128::from(now_ms.saturating_sub(self.at_ms));
        self.debt = self.debt.saturating_sub(elapsed * u128::from(self.limit));
        self.at_ms = self.at_ms.max(now_ms);
    }

    fn size(&self) -> u128 {
        u128::from(self.limit) * u128::from(self.window_ms)
    }

    fn can_pay(&self, cost: u64) -> bool {
        match self.unit {
            Unit::Concurrent => self.held.saturating_add(cost) <= self.limit,
            _ => self.debt + u128::from(cost) * u128::from(self.window_ms) <= self.size(),
        }
    }

    fn spend(&mut self, cost: u64) {
        match self.unit {
            Unit::Concurrent => self.held += cost,
            _ => self.debt += u128::from(cost) * u128::from(self.window_ms),
        }
    }

    fn remaining(&self) -> u64 {
        match self.unit {
            Unit::Concurrent => self.limit.saturating_sub(self.held),
            _ => u64::try_from(self.size().saturating_sub(self.debt) / u128::from(self.window_ms))
                .unwrap_or(u64::MAX),
        }
    }

    /// Milliseconds until the debt has shrunk to what leaves room for `cost`.
    fn wait(&self, cost: u64) -> u64 {
        if self.unit == Unit::Concurrent || self.limit == 0 {
            return if self.unit == Unit::Concurrent {
                1_000
            } else {
                self.window_ms
            };
        }
        let room = self
            .size()
            .saturating_sub(u128::from(cost) * u128::from(self.window_ms));
        let excess = self.debt.saturating_sub(room);
        u64::try_from(excess.div_ceil(u128::from(self.limit))).unwrap_or(u64::MAX)
    }

    fn idle(&self) -> bool {
        self.debt == 0 && self.held == 0
    }
}

impl Counters {
    /// Draws from all buckets or from none. The standings are in the order of the quotas; what is held and reserved
    /// is given back when the answer's [`Hold`] ends.
    #[must_use]
    pub fn take(self: &Arc<Self>, quotas: &[Quota], now_ms: u64) -> (Vec<Standing>, Option<Hold>) {
        let mut buckets = self.lock();
        let ids: Vec<_> = quotas
            .iter()
            .map(|quota| place(&mut buckets, quota, now_ms))
            .collect();
        let granted: Vec<bool> = quotas
            .iter()
            .zip(&ids)
            .map(|(quota, id)| {
                buckets
                    .get(id)
                    .is_some_and(|bucket| bucket.can_pay(quota.cost))
            })
            .collect();
        let all = granted.iter().all(|granted| *granted);
        let mut standings = Vec::with_capacity(quotas.len());
        for ((quota, id), granted) in quotas.iter().zip(&ids).zip(granted) {
            let Some(bucket) = buckets.get_mut(id) else {
                continue;
            };
            if all {
                bucket.spend(quota.cost);
            }
            let reset_ms = bucket.wait(if granted { 0 } else { quota.cost });
            let reset_ms = if granted && quota.unit != Unit::Concurrent {
                bucket.wait(quota.limit)
            } else {
                reset_ms
            };
            standings.push(Standing {
                granted,
                remaining: bucket.remaining(),
                reset_ms,
            });
        }
        drop(buckets);
        let hold = all.then(|| Hold {
            counters: Arc::clone(self),
            drawn: quotas
                .iter()
                .zip(ids)
                .map(|(quota, id)| (id, quota.unit, quota.cost))
                .collect(),
            tokens: None,
        });
        (standings, hold)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(String, String), Bucket>> {
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn place(
    buckets: &mut HashMap<(String, String), Bucket>,
    quota: &Quota,
    now_ms: u64,
) -> (String, String) {
    let mut id = (quota.name.clone(), quota.key.clone());
    if buckets.len() >= MAX_BUCKETS && !buckets.contains_key(&id) {
        buckets.retain(|_, bucket| {
            bucket.refill(now_ms);
            !bucket.idle()
        });
        if buckets.len() >= MAX_BUCKETS {
            id.1 = "\u{0}everyone else".to_owned();
        }
    }
    buckets
        .entry(id.clone())
        .or_insert_with(|| Bucket::new(quota, now_ms))
        .refresh(quota, now_ms);
    id
}

/// What one request drew. Dropping it releases what is held and settles what was reserved, exactly once.
#[derive(Debug)]
pub struct Hold {
    counters: Arc<Counters>,
    drawn: Vec<((String, String), Unit, u64)>,
    tokens: Option<u64>,
}

impl Hold {
    /// Says what the answer really cost, in tokens; without it the estimate stands.
    pub fn settle(&mut self, tokens: u64) {
        self.tokens = Some(tokens);
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut buckets = self.counters.lock();
        for (id, unit, cost) in &self.drawn {
            let Some(bucket) = buckets.get_mut(id) else {
                continue;
            };
            match (unit, self.tokens) {
                (Unit::Concurrent, _) => bucket.held = bucket.held.saturating_sub(*cost),
                (Unit::Tokens, Some(real)) => {
                    let window = u128::from(bucket.window_ms);
                    let (real, estimated) = (u128::from(real) * window, u128::from(*cost) * window);
                    bucket.debt = (bucket.debt + real).saturating_sub(estimated);
                }
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quota(unit: Unit, limit: u64, cost: u64) -> Quota {
        Quota {
            name: format!("{unit:?}"),
            key: "alice".to_owned(),
            unit,
            limit,
            window_ms: 60_000,
            cost,
        }
    }

    #[test]
    fn a_bucket_pays_its_limit_and_refills_evenly() {
        let counters = Arc::new(Counters::default());
        let one = [quota(Unit::Requests, 60, 1)];
        for _ in 0..60 {
            assert!(counters.take(&one, 0).1.is_some());
        }
        let (standings, hold) = counters.take(&one, 0);
        assert!(hold.is_none());
        assert_eq!(
            standings,
            [Standing {
                granted: false,
                remaining: 0,
                reset_ms: 1_000
            }]
        );
        assert!(counters.take(&one, 999).1.is_none());
        assert!(counters.take(&one, 1_000).1.is_some());
    }

    #[test]
    fn all_or_none() {
        let counters = Arc::new(Counters::default());
        let both = [quota(Unit::Requests, 60, 1), quota(Unit::Concurrent, 1, 1)];
        let (_, first) = counters.take(&both, 0);
        let (standings, second) = counters.take(&both, 0);
        assert!(first.is_some() && second.is_none());
        assert!(standings[0].granted && !standings[1].granted);
        assert_eq!(
            standings[0].remaining, 59,
            "the refused request spent nothing"
        );
    }

    #[test]
    fn a_hold_releases_when_it_ends() {
        let counters = Arc::new(Counters::default());
        let stream = [quota(Unit::Concurrent, 1, 1)];
        let (_, hold) = counters.take(&stream, 0);
        assert!(counters.take(&stream, 0).1.is_none());
        drop(hold);
        assert!(counters.take(&stream, 0).1.is_some());
    }

    #[test]
    fn tokens_are_settled_with_the_real_usage() {
        let counters = Arc::new(Counters::default());
        let (_, hold) = counters.take(&[quota(Unit::Tokens, 1_000, 400)], 0);
        let mut hold = hold.unwrap();
        hold.settle(100);
        drop(hold);
        let (standings, _) = counters.take(&[quota(Unit::Tokens, 1_000, 0)], 0);
        assert_eq!(standings[0].remaining, 900);
        let (_, hold) = counters.take(&[quota(Unit::Tokens, 1_000, 10)], 0);
        let mut hold = hold.unwrap();
        hold.settle(2_000);
        drop(hold);
        assert!(
            counters
                .take(&[quota(Unit::Tokens, 1_000, 1)], 0)
                .1
                .is_none(),
            "an answer that cost more leaves a debt"
        );
    }

    #[test]
    fn a_resized_rule_keeps_what_was_spent() {
        let counters = Arc::new(Counters::default());
        drop(counters.take(&[quota(Unit::Requests, 10, 10)], 0));
        let resized = Quota {
            window_ms: 1_000,
            limit: 12,
            ..quota(Unit::Requests, 12, 1)
        };
        let (standings, _) = counters.take(&[resized], 0);
        assert_eq!(standings[0].remaining, 1);
    }
}
