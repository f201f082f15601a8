//! The steps that candidates take by themselves: begun when they are ready, and gone on with at the end of each.

use std::sync::Arc;

use tokio::runtime::Handle;

use super::Slot;
use super::candidates::Ready;
use super::digest::Digest;
use super::event::Place;
use super::guard::{Guard, Over, State};
use super::life::What;
use super::live::Live;
use super::policies::Policies;
use super::rollout::{Next, Stage};
use super::rules::{CanaryStep, Gate, Steps};
use super::shadow::{Glance, Shadow};
use super::simulation::Simulation;
use super::unsteered::Unsteered;

impl Live {
    /// Whether a candidate can begin its steps, before it is prepared.
    ///
    /// # Errors
    /// If another one stands there.
    pub(super) fn is_way_free(&self, steps: &Steps) -> Result<(), Unsteered> {
        let (shadow, canary) = (steps.shadow.is_some(), steps.canary.is_some());
        if let (true, Some(other)) = (shadow, self.guard.state().rollout.in_shadow()) {
            return Err(Unsteered::InShadow(other.short()));
        }
        match (!shadow && canary, self.guard.has_canary()) {
            (true, Some(other)) => Err(Unsteered::HasCanary(other.short())),
            _ => Ok(()),
        }
    }

    /// Begins the first step of a candidate that is ready.
    ///
    /// # Errors
    /// If another one stands there by now: then the candidate is dropped.
    pub(super) fn begin_steps(
        self: &Arc<Self>,
        digest: Digest,
        steps: Steps,
        by: &str,
    ) -> Result<(), Unsteered> {
        let begun = match (steps.shadow, steps.canary) {
            (Some(gate), canary) => self
                .begin_shadow(digest, (gate, canary))
                .map(|()| self.tell(What::Shadow, digest, by, None)),
            (None, Some(canary)) => self.canary_by_itself(digest, canary, by),
            (None, None) => Ok(()),
        };
        if begun.is_err() {
            drop(self.guard.take(digest));
            self.tell(What::Dropped, digest, by, None);
        }
        begun
    }

    /// Puts a candidate in shadow, with its gate and the canary that may follow.
    ///
    /// # Errors
    /// If it is gone, or another one is in shadow.
    pub(super) fn begin_shadow(
        self: &Arc<Self>,
        digest: Digest,
        conditions: (Gate, Option<CanaryStep>),
    ) -> Result<(), Unsteered> {
        let serving = self.current();
        let runtime = Handle::try_current().map_err(|_| Unsteered::Shortage)?;
        let start = |candidate: Arc<Policies>| {
            let live = Arc::downgrade(self);
            let changed = serving.policies().differing(&candidate);
            let looked = move |glance: &Glance<'_>| match live.upgrade() {
                Some(live) => live.looked(digest, (glance, &changed), &runtime),
                None => true,
            };
            let simulation = Simulation::new(Arc::clone(serving.policies()), candidate);
            Shadow::start((&self.trail, Place::Shadow), simulation, looked)
        };
        self.guard.shadow(digest, conditions, start)?;
        self.guard.wait_for_canary(digest, None);
        Ok(())
    }

    /// Looks at a shadow, on its own thread, whose log is silent. Returns whether it has seen enough.
    fn looked(
        self: &Arc<Self>,
        digest: Digest,
        (glance, changed): (&Glance<'_>, &[Slot]),
        runtime: &Handle,
    ) -> bool {
        let Some(over) = self.guard.seen(digest, glance.seen(changed), glance) else {
            return self.guard.state().rollout.in_shadow() != Some(digest);
        };
        let live = Arc::clone(self);
        runtime.spawn(async move { live.go_on(over, "shadow").await });
        true
    }

    /// Ends what is over by now: a probation, the canary that a candidate began by itself, or the steps of a change of the folder.
    pub(super) async fn look(self: &Arc<Self>) {
        if let Some(digest) = self.guard.look() {
            self.tell(What::Kept, digest, "probation", None);
        }
        if let Some(over) = self.guard.decided() {
            self.go_on(over, "canary").await;
        }
        if let Some((digest, step)) = self.guard.next_canary()
            && let Err(error) = self.canary_in_turn(digest, step, "shadow")
        {
            went_no_further(digest, &error);
        }
        self.settle_change().await;
    }

    /// Tells how a step ended, and goes the next one.
    async fn go_on(self: &Arc<Self>, over: Over, step: &str) {
        let Over {
            digest,
            stage,
            next,
        } = over;
        let (what, why) = match stage {
            Stage::Failed(why) => (What::Failed, Some(why)),
            Stage::Unseen(why) => (What::Unseen, Some(why)),
            Stage::Ready | Stage::Shadow { .. } | Stage::Canary { .. } | Stage::Passed => {
                (What::Passed, None)
            }
        };
        self.tell(what, digest, step, why);
        // It may have failed on a canary's request meanwhile.
        let Some(passed) = self.guard.passed(digest) else {
            return;
        };
        let gone = match next {
            Next::Stay => Ok(()),
            Next::Canary(canary) => self.canary_in_turn(digest, canary, step),
            Next::Promote => {
                // Until it serves it may fail, or be replaced by the same policies with other steps.
                let take = || self.guard.take_passed(digest, &passed);
                let promoted = self.promote_taken(digest, step, take).await;
                promoted.map(drop)
            }
        };
        if let Err(error) = gone {
            went_no_further(digest, &error);
        }
    }
}

fn went_no_further(digest: Digest, error: &Unsteered) {
    tracing::warn!(digest = digest.short(), %error, "policies went no further");
}

impl Guard {
    /// The policies of a candidate that has passed its last step.
    fn passed(&self, digest: Digest) -> Option<Arc<Policies>> {
        passed(&mut self.state(), digest)
    }

    /// Takes this candidate away if it still is one that has passed.
    fn take_passed(&self, digest: Digest, policies: &Arc<Policies>) -> Option<Ready> {
        let mut state = self.state();
        let passed = passed(&mut state, digest)?;
        Arc::ptr_eq(&passed, policies).then(|| state.take(digest, self.now()))?
    }
}

fn passed(state: &mut State, digest: Digest) -> Option<Arc<Policies>> {
    let has_passed = state.rollout.stage(digest) == Some(&Stage::Passed);
    let candidate = state.shelf.candidate(digest).filter(|_| has_passed)?;
    Some(Arc::clone(&candidate.policies))
}
