//! Counts and times the policy decisions of one request.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::api::Shared;
use crate::policy::{self, DecisionOutcome, Denied, Observer};
use crate::telemetry::{Decision, Refusal};

/// The most decisions kept for a trace; a turn with very many calls has more.
const MOST: usize = 256;

/// The decisions of one request.
pub(super) struct Decisions {
    shared: Shared,
    started: Instant,
    nanos: AtomicU64,
    decisions: Mutex<Vec<Decision>>,
    refusal: Mutex<Option<Refusal>>,
}

impl Decisions {
    /// For a request that arrived at `started`.
    pub(super) fn new(shared: Shared, started: Instant) -> Self {
        Self {
            shared,
            started,
            nanos: AtomicU64::new(0),
            decisions: Mutex::default(),
            refusal: Mutex::default(),
        }
    }

    /// The total time of all decisions so far.
    pub(super) fn spent(&self) -> Duration {
        Duration::from_nanos(self.nanos.load(Ordering::Relaxed))
    }

    /// The decisions so far, if traces are exported.
    pub(super) fn take(&self) -> Vec<Decision> {
        let mut decisions = self.decisions.lock();
        std::mem::take(&mut decisions)
    }

    /// The refusal of the request, if a policy refused it.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        self.refusal.lock().take()
    }
}

impl Observer for Decisions {
    fn decided(&self, decision: &policy::Decision) {
        let nanos = u64::try_from(decision.elapsed.as_nanos()).unwrap_or(u64::MAX);
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
        let fault = match decision.outcome {
            DecisionOutcome::Fault(kind) => Some(kind.code()),
            DecisionOutcome::Answered | DecisionOutcome::Denied => None,
        };
        let decision = Decision {
            slot: decision.slot.name(),
            question: decision.question,
            outcome: decision.outcome.name(),
            fault,
            from_memo: decision.from_memo,
            began: self.started.elapsed().saturating_sub(decision.elapsed),
            elapsed: decision.elapsed,
        };
        self.shared.telemetry.decided(&decision);
        if self.shared.telemetry.traces.is_some() {
            let mut decisions = self.decisions.lock();
            if decisions.len() < MOST {
                decisions.push(decision);
            }
        }
    }

    fn denied(&self, denied: &Denied<'_>) {
        let Denied {
            slot,
            denial,
            rules,
        } = denied;
        *self.refusal.lock() = Some(Refusal {
            slot: slot.name(),
            status: denial.status,
            code: denial.code.clone(),
            message: denial.message.clone(),
            rules: rules.iter().map(|rule| (*rule).to_owned()).collect(),
        });
    }
}
