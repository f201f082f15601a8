//! A canary: the callers whose requests a candidate decides wholly, by name or by hash, and what it decided.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwapOption;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::Slot;
use super::bindings::Caller;
use super::digest::Digest;
use super::doubt::Doubts;
use super::fault::{Fault, FaultKind};
use super::observer::{Decision, DecisionOutcome};
use super::policies::Policies;

/// The most names of each list.
const NAMES: usize = 256;
/// The most bytes of a name.
const NAME: usize = 1_024;

/// The callers for whom a candidate decides.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Canary {
    /// The ids of callers, as the serving auth policy names them.
    pub callers: Vec<String>,
    /// Tenants, with all their callers.
    pub tenants: Vec<String>,
    /// The percentage of all callers, chosen by the hash of candidate and caller: the same caller stays in.
    pub percent: u8,
}

impl Canary {
    /// Whether it is within its bounds.
    pub(super) fn is_valid(&self) -> bool {
        let is_bounded =
            |names: &[String]| names.len() <= NAMES && names.iter().all(|name| name.len() <= NAME);
        self.percent <= 100 && is_bounded(&self.callers) && is_bounded(&self.tenants)
    }

    /// Whether this caller is one of them.
    fn contains(&self, candidate: Digest, caller: &Caller) -> bool {
        let tenant = caller.tenant.as_ref();
        self.callers.contains(&caller.id)
            || tenant.is_some_and(|tenant| self.tenants.contains(tenant))
            || self.percent > 0 && place(candidate, caller) < u32::from(self.percent)
    }
}

/// The place of a caller between 0 and 99. Each candidate has its own order, so that not the same callers are always first.
fn place(candidate: Digest, caller: &Caller) -> u32 {
    let mut hash = Sha256::new();
    hash.update(candidate.bytes());
    // Both are free texts: the length keeps two pairs apart.
    hash.update((caller.id.len() as u64).to_be_bytes());
    hash.update(&caller.id);
    hash.update(caller.tenant.as_deref().unwrap_or_default());
    let [a, b, c, d, ..]: [u8; 32] = hash.finalize().into();
    u32::from_be_bytes([a, b, c, d]) % 100
}

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

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(id: &str, tenant: Option<&str>) -> Caller {
        Caller {
            id: id.to_owned(),
            tenant: tenant.map(str::to_owned),
            groups: Vec::new(),
        }
    }

    #[test]
    fn a_share_is_about_as_large_as_asked_and_the_same_callers_stay_in() {
        let share = |percent, digest: u8| {
            let canary = Canary {
                percent,
                ..Canary::default()
            };
            let callers = (0..1_000).map(|number| format!("caller-{number}"));
            let is_in =
                |id: &String| canary.contains(Digest::from([digest; 32]), &caller(id, None));
            callers.filter(is_in).collect::<Vec<_>>()
        };
        assert!(share(0, 1).is_empty());
        assert_eq!(share(100, 1).len(), 1_000);
        let (ten, thirty) = (share(10, 1), share(30, 1));
        assert!((70..=130).contains(&ten.len()), "{}", ten.len());
        assert!((250..=350).contains(&thirty.len()), "{}", thirty.len());
        assert_eq!(ten, share(10, 1));
        assert!(ten.iter().all(|id| thirty.contains(id)));
        assert_ne!(ten, share(10, 2), "each candidate has its own");
    }

    #[test]
    fn the_same_id_of_another_tenant_is_another_caller() {
        let digest = Digest::from([1; 32]);
        let places = ["a", "b", "c", "d"].map(|tenant| place(digest, &caller("x", Some(tenant))));
        assert!(places.iter().any(|place| *place != places[0]), "{places:?}");
        let canary = Canary {
            tenants: vec!["a".to_owned()],
            ..Canary::default()
        };
        assert!(canary.contains(digest, &caller("x", Some("a"))));
        assert!(!canary.contains(digest, &caller("a", Some("b"))));
        assert!(!canary.contains(digest, &caller("a", None)));
    }

    #[test]
    fn its_lists_are_bounded() {
        let names = |count: usize| (0..count).map(|number| number.to_string()).collect();
        let of = |callers, percent| Canary {
            callers,
            percent,
            ..Canary::default()
        };
        assert!(of(names(NAMES), 100).is_valid());
        assert!(!of(names(NAMES + 1), 0).is_valid());
        assert!(!of(Vec::new(), 101).is_valid());
        assert!(!of(vec!["x".repeat(NAME + 1)], 0).is_valid());
    }
}
