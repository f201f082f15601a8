//! Probation: what new policies cannot decide is asked again of those before them, beside the request and without effect.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, mpsc};

use super::Slot;
use super::digest::Digest;
use super::fault::{Fault, FaultKind};
use super::policies::Policies;

/// The most questions that the old policies are asked at once; one answer is enough.
const AT_ONCE: usize = 2;

/// The most unread reports; the first one ends the probation.
const UNREAD: usize = 4;

/// A question that the new policies could not decide, and the old ones could.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Blame {
    /// The new policies.
    pub(super) digest: Digest,
    pub(super) slot: Slot,
    /// The fault, as one line.
    pub(super) fault: String,
}

/// The probation of one generation.
pub(super) struct Probation {
    digest: Digest,
    before: Arc<Policies>,
    until: Instant,
    asking: Arc<Semaphore>,
    reports: mpsc::Sender<Blame>,
}

impl Probation {
    /// Compares the policies of this digest with those `before`, for a time.
    pub(super) fn new(
        digest: Digest,
        before: Arc<Policies>,
        lasts: Duration,
        reports: mpsc::Sender<Blame>,
    ) -> Self {
        Self {
            digest,
            before,
            until: Instant::now() + lasts,
            asking: Arc::new(Semaphore::new(AT_ONCE)),
            reports,
        }
    }

    /// The channel of the reports.
    pub(super) fn channel() -> (mpsc::Sender<Blame>, mpsc::Receiver<Blame>) {
        mpsc::channel(UNREAD)
    }

    /// Whether it is not over.
    pub(super) fn lasts(&self) -> bool {
        Instant::now() < self.until
    }

    /// Reports a fault if the policies before, asked the same by `again`, decide. A lack of places to run in is no fault of the
    /// policy's.
    pub(super) fn doubt<F>(&self, fault: &Fault, again: impl FnOnce(Arc<Policies>) -> F)
    where
        F: Future<Output = bool> + Send + 'static,
    {
        let Ok(permit) = Arc::clone(&self.asking).try_acquire_owned() else {
            return;
        };
        if fault.kind == FaultKind::Busy {
            return;
        }
        let decides = again(Arc::clone(&self.before));
        let reports = self.reports.clone();
        let blame = Blame {
            digest: self.digest,
            slot: fault.slot,
            fault: format!("{}: {}", fault.kind, fault.cause),
        };
        tokio::spawn(async move {
            if decides.await {
                // Unread reports of the same generation say enough.
                let _ = reports.try_send(blame);
            }
            drop(permit);
        });
    }
}
