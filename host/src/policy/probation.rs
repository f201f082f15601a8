//! Probation: what new policies cannot decide is asked again of those before them, beside the request and without effect. Where
//! denials count, those before decide along on every request, as a shadow.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime};

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::Slot;
use super::digest::Digest;
use super::doubt::Doubts;
use super::event::Place;
use super::fault::{Fault, FaultKind};
use super::policies::Policies;
use super::report::{Group, Report};
use super::rollout::Charge;
use super::rules::Rules;
use super::shadow::{Glance, Shadow};
use super::simulation::Simulation;
use super::trail::Trail;

/// The most unread reports; the first one ends the probation.
const UNREAD: usize = 4;

/// A question that the new policies did not decide as those before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Blame {
    /// The new policies.
    pub(super) digest: Digest,
    pub(super) slot: Slot,
    pub(super) charge: Charge,
    /// The fault or the denial, as one line.
    pub(super) what: String,
}

impl Blame {
    fn denials(digest: Digest, first: &Group, count: u64) -> Self {
        let Group {
            slot,
            question,
            from,
            to,
            caller,
            ..
        } = first;
        let caller = caller.as_ref().map(|caller| format!(" for {caller}"));
        let caller = caller.unwrap_or_default();
        let found = Slot::parse(slot);
        Self {
            digest,
            slot: found.unwrap_or(Slot::Auth),
            charge: Charge::Denials(count),
            what: format!("a denial of {question}{caller}: {from}, and before: {to}"),
        }
    }
}

/// A probation, as operators see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OnProbation {
    /// When it is over.
    pub until: SystemTime,
    /// The faults of the new policies so far; the policies before may have them, too.
    pub faults: u64,
    /// Their denials that the policies before would not have made, beyond those that the reports before the activation had; absent if
    /// denials are not compared.
    pub denials: Option<u64>,
}

/// The findings so far.
#[derive(Debug, Default)]
struct Found {
    faults: AtomicU64,
    denials: AtomicU64,
}

/// The probation of one generation.
pub(super) struct Probation {
    digest: Digest,
    /// None when the probation is over, so that nothing holds the policies any longer.
    before: ArcSwapOption<Policies>,
    until: Instant,
    /// The policies before, where they decide along.
    along: Mutex<Option<Shadow>>,
    found: Arc<Found>,
    doubts: Doubts,
    reports: mpsc::Sender<Blame>,
}

impl Probation {
    /// Compares the policies of this digest with those `before`, as the rules say.
    pub(super) fn new(
        digest: Digest,
        before: Arc<Policies>,
        rules: &Rules,
        reports: mpsc::Sender<Blame>,
    ) -> Self {
        Self {
            digest,
            before: ArcSwapOption::new(Some(before)),
            until: Instant::now() + rules.probation,
            along: Mutex::default(),
            found: Arc::default(),
            doubts: Doubts::default(),
            reports,
        }
    }

    /// The channel of the reports.
    pub(super) fn channel() -> (mpsc::Sender<Blame>, mpsc::Receiver<Blame>) {
        mpsc::channel(UNREAD)
    }

    /// Its state, if it ends at that time.
    pub(super) fn status(&self, until: SystemTime) -> OnProbation {
        let is_compared = self.along.lock().is_some();
        OnProbation {
            until,
            faults: self.found.faults.load(Ordering::Relaxed),
            denials: is_compared.then(|| self.found.denials.load(Ordering::Relaxed)),
        }
    }

    /// Whether it is not over.
    pub(super) fn lasts(&self) -> bool {
        self.before.load().is_some() && Instant::now() < self.until
    }

    /// Ends it, and lets the policies before go.
    pub(super) fn end(&self) {
        self.before.store(None);
        drop(self.along.lock().take());
    }

    /// Counts the denials of the current policies that those before would not have made, beyond those that reports had shown before
    /// the activation.
    ///
    /// # Errors
    /// If there can be no further thread.
    pub(super) fn count_denials(
        &self,
        trail: &Arc<Trail>,
        current: &Arc<Policies>,
        known: &[Report],
    ) -> io::Result<()> {
        let Some(before) = self.before.load_full() else {
            return Ok(());
        };
        let (digest, reports, mut told) = (self.digest, self.reports.clone(), 0);
        let found = Arc::clone(&self.found);
        let looked = move |glance: &Glance<'_>| {
            let Some((count, first)) = glance.unexpected() else {
                return false;
            };
            found.denials.store(*count, Ordering::Relaxed);
            let blame = || Blame::denials(digest, first, *count);
            if *count > told && reports.try_send(blame()).is_ok() {
                told = *count;
            }
            false
        };
        let place = (trail, Place::Probation);
        let simulation = Simulation::new(Arc::clone(current), before).expecting(known);
        let along = Shadow::start(place, simulation, looked)?;
        *self.along.lock() = Some(along);
        Ok(())
    }

    /// Reports a fault if `confirmed`, asked with the policies before, says that they decide. A lack of places to run in is no
    /// fault of the policy's.
    pub(super) fn doubt<F>(&self, fault: &Fault, confirmed: impl FnOnce(Arc<Policies>) -> F)
    where
        F: Future<Output = bool> + Send + 'static,
    {
        let Some(before) = self.before.load_full().filter(|_| self.lasts()) else {
            return;
        };
        if fault.kind == FaultKind::Busy {
            return;
        }
        self.found.faults.fetch_add(1, Ordering::Relaxed);
        let reports = self.reports.clone();
        let blame = Blame {
            digest: self.digest,
            slot: fault.slot,
            charge: Charge::Fault,
            what: fault.told(),
        };
        // Unread reports of the same generation say enough.
        let report = move || drop(reports.try_send(blame));
        self.doubts.ask(fault.slot, || confirmed(before), report);
    }
}
