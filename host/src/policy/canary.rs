//! A canary: a candidate decides wholly on the requests of some callers, and its decisions are counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwapOption;
use serde::Serialize;

use super::Slot;
use super::bindings::Caller;
use super::callers::Canary;
use super::digest::Digest;
use super::doubt::Doubts;
use super::fault::{Fault, FaultKind};
use super::observer::{Decision, DecisionOutcome};
use super::policies::Policies;

/// The decisions of a candidate on requests of canaries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Requests that it got.
    pub requests: u64,
    /// Requests that it denied.
    pub denials: u64,
    /// Requests on which it could not decide.
    pub faults: u64,
}

/// As [`Tally`], while they are counted.
#[derive(Debug, Default)]
pub(super) struct Counts {
    requests: AtomicU64,
    denials: AtomicU64,
    faults: AtomicU64,
}

impl Counts {
    pub(super) fn tally(&self) -> Tally {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Tally {
            requests: read(&self.requests),
            denials: read(&self.denials),
            faults: read(&self.faults),
        }
    }
}

/// Called with the reason when a candidate could not decide.
type Failed = Arc<dyn Fn(&str) + Send + Sync>;

/// A candidate in the place of the policies that it was made for.
pub(super) struct Substitute {
    pub(super) digest: Digest,
    pub(super) policies: Arc<Policies>,
    /// The digest of those that serve.
    made_for: Digest,
    serving: Arc<Policies>,
    /// The slots in which it differs from them: only there a fault is its own.
    changed: Vec<Slot>,
    counts: Arc<Counts>,
    doubts: Doubts,
    failed: Failed,
}

impl Substitute {
    pub(super) fn new(
        policies: &Arc<Policies>,
        serving: &Arc<Policies>,
        counts: &Arc<Counts>,
        failed: impl Fn(&str) + Send + Sync + 'static,
    ) -> Self {
        Self {
            digest: policies.digest(),
            policies: Arc::clone(policies),
            made_for: serving.digest(),
            serving: Arc::clone(serving),
            changed: serving.differing(policies),
            counts: Arc::clone(counts),
            doubts: Doubts::default(),
            failed: Arc::new(failed),
        }
    }

    /// Whether it stands in for these policies.
    pub(super) fn is_for(&self, serving: Digest) -> bool {
        self.made_for == serving
    }

    /// Counts a request that it decides from now on.
    pub(super) fn begin(&self) {
        self.counts.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a decision, and reports a fault that is its own. One that was late is asked again before, by [`Substitute::doubt`].
    pub(super) fn decided(&self, decision: &Decision, fault: Option<&Fault>) {
        if decision.outcome == DecisionOutcome::Denied {
            self.counts.denials.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(fault) = fault.filter(|fault| self.is_own(fault)) {
            self.counts.faults.fetch_add(1, Ordering::Relaxed);
            if fault.kind != FaultKind::Deadline {
                (self.failed)(&why(fault));
            }
        }
    }

    /// Reports that it was late if `confirmed`, asked with the policies that serve, says that they are not: on a busy machine any
    /// policy may be late.
    pub(super) fn doubt<F>(&self, fault: &Fault, confirmed: impl FnOnce(Arc<Policies>) -> F)
    where
        F: Future<Output = bool> + Send + 'static,
    {
        if fault.kind != FaultKind::Deadline || !self.is_own(fault) {
            return;
        }
        let (failed, why) = (Arc::clone(&self.failed), why(fault));
        let confirmed = || confirmed(Arc::clone(&self.serving));
        self.doubts.ask(fault.slot, confirmed, move || failed(&why));
    }

    /// A lack of places to run in is nobody's fault, and one in a slot that is as before is not the candidate's.
    fn is_own(&self, fault: &Fault) -> bool {
        fault.kind != FaultKind::Busy && self.changed.contains(&fault.slot)
    }
}

fn why(fault: &Fault) -> String {
    format!("{} policy: {}", fault.slot, fault.told())
}

/// A canary that lasts.
pub(super) struct Running {
    who: Canary,
    candidate: Arc<Substitute>,
}

impl Running {
    /// The candidate, if it decides on the requests that this caller sends to the serving policies.
    pub(super) fn decides_for(&self, caller: &Caller, serving: Digest) -> Option<&Arc<Substitute>> {
        let Self { who, candidate } = self;
        let is_one = candidate.is_for(serving) && who.contains(candidate.digest, caller);
        is_one.then_some(candidate)
    }
}

/// The place where every request finds the canary that lasts, if there is one.
pub(super) type Place = Arc<ArcSwapOption<Running>>;

/// A canary's begin and, when it is dropped, its end. Requests that it got stay with the candidate.
pub(super) struct Lasting {
    place: Place,
    running: Arc<Running>,
}

impl Lasting {
    /// Begins it, in place of any other.
    pub(super) fn begin(place: &Place, who: Canary, candidate: Substitute) -> Self {
        let candidate = Arc::new(candidate);
        let running = Arc::new(Running { who, candidate });
        place.store(Some(Arc::clone(&running)));
        Self {
            place: Arc::clone(place),
            running,
        }
    }

    pub(super) fn who(&self) -> &Canary {
        &self.running.who
    }
}

impl Drop for Lasting {
    fn drop(&mut self) {
        self.place.compare_and_swap(&self.running, None);
    }
}
