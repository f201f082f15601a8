//! One side of a comparison: policies, and the buckets that they draw from.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::super::component::Policy;
use super::super::fault::{Fault, FaultKind};
use super::super::limits::{Asked, Known, outcome};
use super::super::outcome::Outcome;
use super::super::policies::{Policies, Seat};
use super::super::world::{Question, Quotas, RateLimit};
use crate::quota::{Memory, Reservation};

/// How often a policy that was late is asked again: on a busy machine any policy may be late.
const AGAIN: usize = 2;

/// Policies, and the buckets that they draw from.
pub(super) struct Side {
    pub(super) policies: Arc<Policies>,
    counters: Memory,
}

impl Side {
    pub(super) fn new(policies: Arc<Policies>, clock: &Arc<AtomicU64>) -> Self {
        let clock = Arc::clone(clock);
        Self {
            policies,
            counters: Memory::with_clock(move || clock.load(Ordering::Relaxed)),
        }
    }

    pub(super) async fn ask<Q: Question<World: Seat>>(
        &self,
        asked: &Q,
    ) -> Result<Q::Answer, Fault> {
        let policy = Q::World::of(&self.policies);
        let question = asked.declared(policy.needs());
        let mut answer = policy.decide(&question).await.answer;
        for _ in 0..AGAIN {
            match &answer {
                Err(fault) if fault.kind == FaultKind::Deadline => {
                    answer = policy.decide(&question).await.answer;
                }
                _ => break,
            }
        }
        answer
    }

    pub(super) async fn admit(&self, asked: &Quotas) -> (Outcome, Option<Reservation>) {
        self.admit_again(asked, None).await
    }

    pub(super) async fn admit_again(
        &self,
        asked: &Quotas,
        known: Option<Known<'_>>,
    ) -> (Outcome, Option<Reservation>) {
        let policy = &self.policies.rate_limit;
        if !policy.is_asked(asked) {
            return (Outcome::admitted(), None);
        }
        match admit(policy, asked, known, &self.counters).await {
            Some(asked) => {
                let outcome = outcome(&asked);
                let admitted = asked.result().ok();
                (outcome, admitted.and_then(|admitted| admitted.reservation))
            }
            // Buckets in memory are never unavailable.
            None => (Outcome::admitted(), None),
        }
    }
}

async fn admit(
    policy: &Policy<RateLimit>,
    asked: &Quotas,
    known: Option<Known<'_>>,
    counters: &Memory,
) -> Option<Asked> {
    let ask = || policy.admit_again(asked, known, counters);
    let mut admission = ask().await.ok()?;
    for _ in 0..AGAIN {
        match admission.fault() {
            Some(fault) if fault.kind == FaultKind::Deadline => {
                admission = ask().await.ok()?;
            }
            _ => break,
        }
    }
    Some(admission)
}
