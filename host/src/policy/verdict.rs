//! Verdicts: why policies may not serve until somebody says otherwise, and how operators see it.

use super::digest::Digest;
use super::fault::{Problem, Refusal};

/// Why policies may not serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// They served, and did not decide as those before.
    TakenBack(String),
    /// A change of the policy folder that failed in one of its steps.
    Failed(String),
    /// A change of the policy folder that this operator dropped.
    Dropped(String),
}

impl Verdict {
    /// The refusal of policies with this digest.
    pub(super) fn refusal(&self, digest: Digest) -> Refusal {
        match self {
            Self::TakenBack(why) => of_folder(Problem::TakenBack {
                digest: digest.short(),
                why: why.clone(),
            }),
            Self::Failed(why) => not_passed(digest, why.clone()),
            Self::Dropped(by) => not_passed(digest, format!("{by} dropped them")),
        }
    }
}

/// The refusal of a change that did not pass its steps.
pub(super) fn not_passed(digest: Digest, why: String) -> Refusal {
    of_folder(Problem::NotPassed {
        digest: digest.short(),
        why,
    })
}

/// A refusal of the policy folder as a whole.
pub(super) fn of_folder(problem: Problem) -> Refusal {
    Refusal {
        file: "POLICY_DIR".to_owned(),
        slot: None,
        problem,
    }
}
