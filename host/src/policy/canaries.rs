//! The wishes of operators about canaries: some callers are decided by a candidate wholly, until they say so or it fails.

use std::sync::Arc;

use super::bindings::Caller;
use super::callers::Canary;
use super::canary::{Lasting, Substitute};
use super::candidates::{CandidateStatus, Ready, Shadowed, Shelf};
use super::digest::Digest;
use super::generation::Generation;
use super::guard::{Guard, Over};
use super::life::What;
use super::live::Live;
use super::policies::Policies;
use super::rollout::{Input, Next, Output, Stage};
use super::rules::CanaryStep;
use super::unsteered::Unsteered;

impl Live {
    /// Lets a candidate decide on all further requests of some callers, in place of those that it decided for so far.
    ///
    /// # Errors
    /// If there is no such candidate, or it failed; if another one has a canary; if this one is too large, or of nobody.
    pub fn canary(
        self: &Arc<Self>,
        digits: &str,
        who: Canary,
        by: &str,
    ) -> Result<CandidateStatus, Unsteered> {
        if !who.is_valid() {
            return Err(Unsteered::CanaryBounds);
        }
        if who.is_of_nobody() {
            return Err(Unsteered::CanaryOfNobody);
        }
        let digest = self.find(digits)?;
        self.begin_canary(digest, who, Input::Steered { digest })?;
        self.tell(What::Canary, digest, by, None);
        self.candidate(digits)
    }

    /// As [`Live::canary`], as a step of a candidate by itself.
    ///
    /// # Errors
    /// If another one has a canary; or if it is gone.
    pub(super) fn canary_by_itself(
        self: &Arc<Self>,
        digest: Digest,
        step: CanaryStep,
        by: &str,
    ) -> Result<(), Unsteered> {
        let who = step.who.clone();
        self.begin_canary(digest, who, Input::Canaried { digest, step })?;
        self.tell(What::Canary, digest, by, None);
        Ok(())
    }

    /// As [`Live::canary_by_itself`]; while another one has a canary, it waits for the end of that.
    ///
    /// # Errors
    /// If it is gone, or failed.
    pub(super) fn canary_in_turn(
        self: &Arc<Self>,
        digest: Digest,
        step: CanaryStep,
        by: &str,
    ) -> Result<(), Unsteered> {
        match self.canary_by_itself(digest, step.clone(), by) {
            Err(why @ Unsteered::HasCanary(_)) => {
                self.tell(What::Waits, digest, by, Some(why.to_string()));
                self.guard.wait_for_canary(digest, Some(step));
                Ok(())
            }
            begun => begun,
        }
    }

    fn begin_canary(
        self: &Arc<Self>,
        digest: Digest,
        who: Canary,
        input: Input,
    ) -> Result<(), Unsteered> {
        let serving = self.current();
        let mut state = self.guard.state();
        if let Some(other) = with_canary(&state.shelf).filter(|other| *other != digest) {
            return Err(Unsteered::HasCanary(other.short()));
        }
        if let Some(Stage::Failed(why)) = state.rollout.stage(digest) {
            return Err(Unsteered::Failed(why.clone()));
        }
        let ready = state.shelf.candidate(digest).ok_or(Unsteered::Stale)?;
        let candidate = self.substitute(ready, serving.policies());
        ready.canary = Some(Lasting::begin(&self.canary, who, candidate));
        ready.waits_for = None;
        state.rollout.step(self.guard.now(), input);
        Ok(())
    }

    /// Ends it: the serving policies decide on all further requests.
    ///
    /// # Errors
    /// If there is none.
    pub fn end_canary(&self, digits: &str, by: &str) -> Result<(), Unsteered> {
        let digest = self.find(digits)?;
        let ended = {
            let mut state = self.guard.state();
            let ready = state.shelf.candidate(digest);
            let ended = ready.is_some_and(|ready| ready.canary.take().is_some());
            if ended {
                let input = Input::Steered { digest };
                state.rollout.step(self.guard.now(), input);
            }
            ended
        };
        if !ended {
            return Err(Unsteered::Unknown {
                what: "candidate with a canary",
                digits: digits.to_owned(),
            });
        }
        self.tell(What::CanaryEnded, digest, by, None);
        Ok(())
    }

    /// The generation for the rest of a request, if a candidate decides on it: the one that an operator named by its digits, or
    /// the one whose canary the caller is. If an operator names anything else, the serving policies decide.
    #[must_use]
    pub fn canary_of(
        self: &Arc<Self>,
        serving: &Generation,
        caller: &Caller,
        named: Option<&str>,
    ) -> Option<Generation> {
        let candidate = match named {
            Some(digits) => self.named(digits, serving).map(Arc::new)?,
            None => {
                let running = self.canary.load();
                Arc::clone(running.as_ref()?.decides_for(caller, serving.digest())?)
            }
        };
        candidate.begin();
        Some(serving.instead(candidate))
    }

    fn named(self: &Arc<Self>, digits: &str, serving: &Generation) -> Option<Substitute> {
        let digits = (digits.len() >= Digest::SHOWN).then_some(digits)?;
        let digest = self.find(digits).ok()?;
        let mut state = self.guard.state();
        if let Some(Stage::Failed(_)) = state.rollout.stage(digest) {
            return None;
        }
        let ready = state.shelf.candidate(digest)?;
        let candidate = self.substitute(ready, self.current().policies());
        candidate.is_for(serving.digest()).then_some(candidate)
    }

    fn substitute(self: &Arc<Self>, ready: &Ready, serving: &Arc<Policies>) -> Substitute {
        let digest = ready.policies.digest();
        let live = Arc::downgrade(self);
        let failed = move |why: &str| {
            if let Some(live) = live.upgrade() {
                live.fail(digest, why);
            }
        };
        Substitute::new(&ready.policies, serving, &ready.counts, failed)
    }

    /// A candidate could not decide on a request of a canary: it decides on no further ones.
    fn fail(&self, digest: Digest, why: &str) {
        if self.guard.fail(digest, why) {
            self.tell(What::Failed, digest, "canary", Some(why.to_owned()));
        }
    }
}

/// The candidate that has a canary.
fn with_canary(shelf: &Shelf) -> Option<Digest> {
    let mut candidates = shelf.candidates();
    let (digest, _) = candidates.find(|(_, ready)| ready.canary.is_some())?;
    Some(digest)
}

impl Guard {
    /// The digest of the candidate that has a canary.
    pub(super) fn has_canary(&self) -> Option<Digest> {
        with_canary(&self.state().shelf)
    }

    /// A candidate that passed its shadow has a canary to come, or none any longer.
    pub(super) fn wait_for_canary(&self, digest: Digest, step: Option<CanaryStep>) {
        if let Some(ready) = self.state().shelf.candidate(digest) {
            ready.waits_for = step;
        }
    }

    /// The first candidate whose canary can begin now, since no other one has one any longer.
    pub(super) fn next_canary(&self) -> Option<(Digest, CanaryStep)> {
        let mut state = self.state();
        if with_canary(&state.shelf).is_some() {
            return None;
        }
        let mut candidates = state.shelf.candidates();
        let (digest, _) = candidates.find(|(_, ready)| ready.waits_for.is_some())?;
        drop(candidates);
        let step = state.shelf.candidate(digest)?.waits_for.take()?;
        let has_passed = state.rollout.stage(digest) == Some(&Stage::Passed);
        has_passed.then_some((digest, step))
    }

    /// Looks at the canary that a candidate began by itself. Returns how it ended, if it is over now.
    pub(super) fn decided(&self) -> Option<Over> {
        let mut state = self.state();
        let digest = with_canary(&state.shelf)?;
        let requests = state.shelf.candidate(digest)?.counts.tally().requests;
        let input = Input::Decided { digest, requests };
        let Some(Output::Uncanary { next, .. }) = state.rollout.step(self.now(), input) else {
            return None;
        };
        let stage = state.rollout.stage(digest)?.clone();
        // One that is to serve keeps its callers until then.
        if next != Next::Promote
            && let Some(ready) = state.shelf.candidate(digest)
        {
            ready.canary = None;
        }
        Some(Over {
            digest,
            stage,
            next,
        })
    }

    /// Ends the trials of a candidate that could not decide. Returns false if it is gone, or has failed before.
    fn fail(&self, digest: Digest, why: &str) -> bool {
        let mut state = self.state();
        let why = why.to_owned();
        let input = Input::Failed { digest, why };
        let output = state.rollout.step(self.began.elapsed(), input);
        let Some(Output::Untry { .. }) = output else {
            return false;
        };
        if let Some(ready) = state.shelf.candidate(digest) {
            ready.canary = None;
            ready.shadow = ready.shadow.take().map(Shadowed::end);
        }
        true
    }
}
