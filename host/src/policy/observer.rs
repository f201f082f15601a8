//! The interface through which decisions are counted and timed.

use std::time::Duration;

use super::Slot;
use super::bindings::Denial;
use super::fault::FaultKind;

/// Receives every decision that ended, on the task that asked for it: implementations must be quick.
pub trait Observer: Send + Sync {
    /// Called with one decision.
    fn decided(&self, decision: &Decision);

    /// Called with a denial, beside its decision.
    fn denied(&self, _: &Denied<'_>) {}
}

/// One denial.
#[derive(Debug)]
pub struct Denied<'a> {
    /// The slot of the policy.
    pub slot: Slot,
    /// The refusal.
    pub denial: &'a Denial,
    /// The rules whose buckets had no room; empty if it was not about limits.
    pub rules: Vec<&'a str>,
}

/// One decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// The slot of the policy.
    pub slot: Slot,
    /// The function of the contract that was called.
    pub question: &'static str,
    /// The outcome.
    pub outcome: DecisionOutcome,
    /// The answer was kept from the same question before.
    pub from_memo: bool,
    /// The elapsed time, including the wait for a permit to run.
    pub elapsed: Duration,
}

/// The outcome of a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecisionOutcome {
    /// The request goes on.
    Answered,
    /// The policy denied the request.
    Denied,
    /// The policy could not decide.
    Fault(FaultKind),
}

impl DecisionOutcome {
    /// One word for metrics and traces.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Denied => "denied",
            Self::Fault(_) => "fault",
        }
    }
}
