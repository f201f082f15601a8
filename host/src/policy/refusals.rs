//! Refusals as they come and go while policies serve, and what a restart would make of them.

use serde::Serialize;

use super::digest::Digest;
use super::fault::Refusal;
use super::live::Live;
use super::open_refusals::OpenRefusal;

/// The effect of a restart while the policy folder is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Restart {
    /// The digest of the policies that it would serve; absent if it would fail.
    pub serves: Option<Digest>,
}

impl Live {
    /// The refusals that stand, for health: of the policy folder, and of promoted policies that were taken back.
    #[must_use]
    pub fn refusals(&self) -> Vec<Refusal> {
        let all = self.refused.lock().all().into_iter();
        all.map(|open| open.refusal).collect()
    }

    /// As [`Live::refusals`], each with its time.
    #[must_use]
    pub fn open_refusals(&self) -> Vec<OpenRefusal> {
        self.refused.lock().all()
    }

    /// Those of the folder alone.
    pub(super) fn refused_in_folder(&self) -> Vec<Refusal> {
        self.refused.lock().folder()
    }

    /// The effect of a restart, if the folder is refused.
    #[must_use]
    pub fn restart(&self) -> Option<Restart> {
        let is_refused = !self.refused_in_folder().is_empty();
        is_refused.then(|| {
            let is_kept = self.source.keeps() && !self.keeper.waits();
            let serves = is_kept.then(|| self.current().digest());
            Restart { serves }
        })
    }

    /// Forgets the refusals of the folder, if the generation of this number serves still. Returns whether there were any.
    pub(super) fn mended(&self, number: u64) -> bool {
        let mut refused = self.refused.lock();
        // A generation that is taken back is swapped first, and its refusal noted then.
        self.current().number() == number && refused.mended()
    }

    /// Keeps the refusals of the folder. Returns whether they changed.
    pub(super) fn note(&self, refusals: Vec<Refusal>) -> bool {
        self.refused.lock().note(refusals)
    }
}
