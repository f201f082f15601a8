//! The events of policies' lives, for whoever watches them.

use std::time::SystemTime;

use serde::Serialize;

use super::digest::Digest;

/// The kind of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// A candidate is prepared.
    Ready,
    /// It decides along, without effect.
    Shadow,
    /// It decides on the requests of some callers.
    Canary,
    /// Its canary begins once that of another candidate is over.
    Waits,
    /// An operator ended that.
    CanaryEnded,
    /// It passed its shadow, or the canary that it began by itself.
    Passed,
    /// It failed at its gate, or on a canary's request.
    Failed,
    /// The time of one of these is over, and not enough was seen.
    Unseen,
    /// An operator dropped it, or it made room for another.
    Dropped,
    /// An operator let it serve.
    Promoted,
    /// Other policies serve.
    Activated,
    /// Their probation is over.
    Kept,
    /// Those before serve again, as these did not decide as they did.
    TakenBack,
    /// An operator let those before serve again.
    RolledBack,
    /// The policy folder is looked at again.
    Followed,
}

impl What {
    /// Words for the log.
    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::Ready => "ready as a candidate",
            Self::Shadow => "in shadow",
            Self::Canary => "decide for some callers",
            Self::Waits => "wait with their canary for the end of another's",
            Self::CanaryEnded => "decide for nobody any longer",
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Unseen => "went no further: not enough was seen",
            Self::Dropped => "dropped",
            Self::Promoted => "promoted",
            Self::Activated => "serve",
            Self::Kept => "kept: their probation is over",
            Self::TakenBack => "taken back",
            Self::RolledBack => "serve again",
            Self::Followed => "follow the folder again",
        }
    }
}

/// One event.
#[derive(Debug, Clone, Serialize)]
pub struct Life {
    /// The time in UTC, as RFC 3339.
    pub at: String,
    /// The kind.
    pub what: What,
    /// The digest of the policies that it is about.
    pub digest: Digest,
    /// The operator or the mechanism that did it.
    pub by: String,
    /// Why, if there is more to say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

impl Life {
    pub(super) fn now(what: What, digest: Digest, by: &str, why: Option<String>) -> Self {
        Self {
            at: humantime::format_rfc3339_millis(SystemTime::now()).to_string(),
            what,
            digest,
            by: by.to_owned(),
            why,
        }
    }
}
