//! The files of a policy folder or of a candidate, as they were found, and the candidates made of them.

use super::Slot;
use super::candidate::Candidate;
use super::digest::Digest;
use super::fault::{Problem, Refusal, Refusals};
use super::given::Given;
use super::manifest::MANIFEST;
use super::notice::{Notice, Notices};
use super::rules::Rules;

/// The operator's files of one generation, and the notices about them.
#[derive(Debug, Clone)]
pub(super) struct FileSet {
    pub(super) given: [Given; Slot::COUNT],
    /// Of the generation made of them.
    pub(super) digest: Digest,
    pub(super) notices: Vec<Notice>,
}

/// A complete set of files and the candidates made of them.
#[derive(Debug, Clone)]
pub(super) struct Offer {
    pub(super) given: [Given; Slot::COUNT],
    pub(super) candidates: [Candidate; Slot::COUNT],
    pub(super) notices: Notices,
}

/// The result of a look at the folder, with all its refusals.
#[derive(Debug)]
pub(super) struct Look {
    pub(super) given: [Option<Given>; Slot::COUNT],
    pub(super) candidates: [Option<Candidate>; Slot::COUNT],
    pub(super) notices: Notices,
    pub(super) refusals: Vec<Refusal>,
    pub(super) rules: Rules,
}

impl Offer {
    /// The digest of the generation that is made of it.
    pub(super) fn digest(&self) -> Digest {
        Digest::of_candidates(&self.candidates)
    }

    /// The files, and the notices about them.
    pub(super) fn files(&self) -> FileSet {
        FileSet {
            given: self.given.clone(),
            digest: self.digest(),
            notices: self.notices.settings.clone(),
        }
    }
}

impl Look {
    /// The files of all slots, and the notices about them; `None` if a slot's cannot be read.
    pub(super) fn files(&self) -> Option<FileSet> {
        Some(FileSet {
            given: all(&self.given)?,
            digest: Digest::of_candidates(&all(&self.candidates)?),
            notices: self.notices.settings.clone(),
        })
    }

    /// Whether the rules may be followed: those of a `policies.toml` that cannot be read, or is not trusted, are none, and must not end the ones before.
    pub(super) fn has_rules(&self) -> bool {
        let is_unread = |refusal: &Refusal| {
            let without_rules = matches!(
                refusal.problem,
                Problem::Untrusted(_)
                    | Problem::Unreadable(_)
                    | Problem::Shortage(_)
                    | Problem::Hindered(_)
            );
            refusal.file == MANIFEST && without_rules
        };
        !self.refusals.iter().any(is_unread)
    }

    /// The complete set, if nothing was refused.
    ///
    /// # Errors
    /// All refusals.
    pub(super) fn complete(self) -> Result<Offer, Refusals> {
        let Self {
            given,
            candidates,
            notices,
            refusals,
            ..
        } = self;
        match (given, candidates) {
            (
                [Some(auth), Some(model), Some(rate_limit), Some(tool_stop)],
                [Some(a), Some(m), Some(r), Some(t)],
            ) if refusals.is_empty() => Ok(Offer {
                given: [auth, model, rate_limit, tool_stop],
                candidates: [a, m, r, t],
                notices,
            }),
            _ => Err(Refusals(refusals)),
        }
    }
}

/// Those of all slots, if none is missing.
fn all<T: Clone>(slots: &[Option<T>; Slot::COUNT]) -> Option<[T; Slot::COUNT]> {
    match slots.each_ref() {
        [Some(auth), Some(model), Some(rate_limit), Some(tool_stop)] => {
            Some([auth, model, rate_limit, tool_stop].map(T::clone))
        }
        _ => None,
    }
}
