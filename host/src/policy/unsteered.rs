//! The reasons why an operator's wish about policies is not fulfilled.

use std::io;

use super::fault::Refusals;
use super::source::Unrestored;

/// Why an operator's wish is not fulfilled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unsteered {
    /// The candidate cannot serve.
    #[error("the candidate is refused: {0}")]
    Refused(#[from] Refusals),
    /// Nothing is there that begins with these digits.
    #[error("no {what} has a digest that begins with {digits}")]
    Unknown {
        /// A candidate, or a generation.
        what: &'static str,
        /// The digits.
        digits: String,
    },
    /// Several begin with these digits.
    #[error("several digests begin with {0}: give more digits")]
    Ambiguous(String),
    /// The candidate is what serves.
    #[error("these policies serve already")]
    Serves,
    /// There are no policies that served before.
    #[error("no other policies served that are kept")]
    NothingBefore,
    /// The files of policies that served before cannot be read.
    #[error("the files of policies that served before cannot be read: {0}")]
    Unreadable(String),
    /// Policies that served before were made of more than the files that are kept, and that is another by now.
    #[error("{0} had built-in policies or variables that are others by now")]
    Changed(String),
    /// There is another candidate in shadow.
    #[error("{0} is in shadow: drop it first, or wait for its gate")]
    InShadow(String),
    /// The candidate is in shadow or has a canary, with other rules.
    #[error("{0} is on trial with other rules: drop it first, or wait for the end of its trial")]
    OnTrial(String),
    /// The candidate has failed.
    #[error("the candidate failed: {0}")]
    Failed(String),
    /// There is another candidate with a canary.
    #[error("{0} has a canary: end it first")]
    HasCanary(String),
    /// The canary is too large.
    #[error(
        "a canary has at most 256 callers and 256 tenants, and 0 to 100 percent of all callers"
    )]
    CanaryBounds,
    /// The canary names nobody.
    #[error("a canary needs callers, tenants, or a percent above 0")]
    CanaryOfNobody,
    /// Other policies serve than those that it was made for.
    #[error(
        "other policies serve by now than those that this was made for: offer the candidate again"
    )]
    Stale,
    /// Other policies began to serve while the wish was being fulfilled.
    #[error("other policies began to serve meanwhile: look at what serves, and say it again")]
    Overtaken,
    /// There can be no further thread.
    #[error("the machine is short of threads or memory now")]
    Shortage,
}

impl From<io::Error> for Unsteered {
    fn from(_: io::Error) -> Self {
        Self::Shortage
    }
}

impl From<Unrestored> for Unsteered {
    fn from(why: Unrestored) -> Self {
        match why {
            Unrestored::Unreadable(error) => Self::Unreadable(error.to_string()),
            Unrestored::Refused(refusals) => Self::Refused(refusals),
        }
    }
}
