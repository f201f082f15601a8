//! The wishes of operators about canaries: some callers are decided by a candidate wholly, until they say so or it fails.

use std::sync::Arc;

use super::bindings::Caller;
use super::canary::{Canary, Lasting, Substitute};
use super::candidates::{CandidateStatus, Ready, Shadowed, Shelf};
use super::digest::Digest;
use super::generation::Generation;
use super::guard::Guard;
use super::life::What;
use super::live::Live;
use super::policies::Policies;
use super::rollout::{Input, Output, Stage};
use super::unsteered::Unsteered;

impl Live {
    /// Lets a candidate decide on all further requests of some callers, in place of those that it decided for so far.
    ///
    /// # Errors
    /// If there is no such candidate, or it failed; if another one has a canary; if this one is too large.
    pub fn canary(
        self: &Arc<Self>,
        digits: &str,
        who: Canary,
        by: &str,
    ) -> Result<CandidateStatus, Unsteered> {
        if !who.is_valid() {
            return Err(Unsteered::CanaryBounds);
        }
        let digest = self.find(digits)?;
        let serving = self.current();
        {
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
        }
        self.tell(What::Canary, digest, by, None);
        self.candidate(digits)
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
            ready.is_some_and(|ready| ready.canary.take().is_some())
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
