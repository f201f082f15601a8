//! Probation: what new policies cannot decide is asked again of those before them, beside the request and without effect.

use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwapOption;
use tokio::sync::{Semaphore, mpsc};

use super::Slot;
use super::digest::Digest;
use super::fault::{Fault, FaultKind};
use super::policies::Policies;
use super::rollout::{Charge, Rules};

/// The most questions of one slot that are compared at once; one answer is enough.
const AT_ONCE: usize = 2;

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

/// The probation of one generation.
pub(super) struct Probation {
    digest: Digest,
    /// None when the probation is over, so that nothing holds the policies any longer.
    before: ArcSwapOption<Policies>,
    until: Instant,
    /// Whether denials count, and not only faults.
    denials: bool,
    asking: [Arc<Semaphore>; Slot::COUNT],
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
            denials: rules.max_denials.is_some(),
            asking: Slot::ALL.map(|_| Arc::new(Semaphore::new(AT_ONCE))),
            reports,
        }
    }

    /// The channel of the reports.
    pub(super) fn channel() -> (mpsc::Sender<Blame>, mpsc::Receiver<Blame>) {
        mpsc::channel(UNREAD)
    }

    /// Whether denials count.
    pub(super) fn counts_denials(&self) -> bool {
        self.denials
    }

    /// Whether it is not over.
    pub(super) fn lasts(&self) -> bool {
        self.before.load().is_some() && Instant::now() < self.until
    }

    /// Ends it, and lets the policies before go.
    pub(super) fn end(&self) {
        self.before.store(None);
    }

    /// Reports a fault if `confirmed`, asked with the policies before, says that they decide. A lack of places to run in is no
    /// fault of the policy's.
    pub(super) fn doubt<F>(&self, fault: &Fault, confirmed: impl FnOnce(Arc<Policies>) -> F)
    where
        F: Future<Output = bool> + Send + 'static,
    {
        if fault.kind != FaultKind::Busy {
            let what = format!("{}: {}", fault.kind, fault.cause);
            self.charge(fault.slot, Charge::Fault, what, confirmed);
        }
    }

    /// Reports what the new policies did if `confirmed` says that those before do not.
    pub(super) fn charge<F>(
        &self,
        slot: Slot,
        charge: Charge,
        what: String,
        confirmed: impl FnOnce(Arc<Policies>) -> F,
    ) where
        F: Future<Output = bool> + Send + 'static,
    {
        let asking = Arc::clone(&self.asking[slot as usize]);
        let Ok(permit) = asking.try_acquire_owned() else {
            return;
        };
        let Some(before) = self.before.load_full() else {
            return;
        };
        let confirmed = confirmed(before);
        let reports = self.reports.clone();
        let blame = Blame {
            digest: self.digest,
            slot,
            charge,
            what,
        };
        tokio::spawn(async move {
            if confirmed.await {
                // Unread reports of the same generation say enough.
                let _ = reports.try_send(blame);
            }
            drop(permit);
        });
    }
}
