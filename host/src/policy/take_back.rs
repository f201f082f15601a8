//! Takes policies on probation back: those before serve again, at once and by themselves.

use std::sync::atomic::Ordering;
use std::time::SystemTime;

use tokio_util::sync::CancellationToken;

use super::fault::Refusal;
use super::guard::Standby;
use super::history::{Activation, Door};
use super::life::What;
use super::live::{Live, activation};
use super::look::FileSet;
use super::probation::{Blame, OnProbation};
use super::source::Source;

impl Live {
    /// Takes policies back that do not decide as those before, until `stop`. One that has begun is written down first.
    pub(super) async fn guard(&self, source: &Source, stop: &CancellationToken) {
        while let Some(blame) = stop.run_until_cancelled(self.guard.blamed()).await {
            self.take_back(source, &blame).await;
        }
    }

    /// Lets those before serve again if the rules say so: at once, without waiting for a candidate that is being prepared, or for the
    /// disk.
    async fn take_back(&self, source: &Source, blame: &Blame) {
        let mut done = None;
        // The verdict and the swap are one moment: whatever is activated before or after replaces what serves then.
        self.swap(|current| {
            let Standby {
                policies, files, ..
            } = self.guard.take_back(blame)?;
            let activation = Activation {
                taken_back: Some((blame.digest, blame.why())),
                ..activation(&policies, Door::TakenBack, Some(current))
            };
            let next = self.after(current, policies, activation.alone());
            done = Some((activation, files, current.door()));
            Some(next)
        });
        let Some((activation, files, door)) = done else {
            return;
        };
        let (serving, refusal) = (self.current(), blame.refusal());
        tracing::error!(
            generation = serving.number(),
            digest = serving.digest().short(),
            "policies taken back: {refusal}"
        );
        match door {
            Door::Api => {
                // The folder may have other files.
                let refusal = Refusal {
                    file: format!("promotion of {}", blame.digest.short()),
                    ..refusal
                };
                self.refused.lock().taken_back(blame.digest, refusal);
                self.pins.fetch_add(1, Ordering::Relaxed);
            }
            _ => {
                self.note(vec![refusal]);
            }
        }
        self.tell_only(
            What::TakenBack,
            blame.digest,
            "probation",
            Some(blame.why()),
        );
        if let Some(FileSet { notices, .. }) = files {
            self.notice_serving(notices);
        }
        self.keeper.record(source, activation).await;
        self.keep(source).await;
    }

    /// The end of the probation of the serving policies, if they are on probation.
    #[must_use]
    pub fn on_probation_until(&self) -> Option<SystemTime> {
        self.guard.on_probation_until()
    }

    /// The probation of the serving policies, if they are on probation.
    #[must_use]
    pub fn on_probation(&self) -> Option<OnProbation> {
        self.guard.on_probation()
    }

    /// The number of generations that were taken back.
    #[must_use]
    pub fn taken_back(&self) -> u64 {
        self.guard.taken_back()
    }
}
