//! The interface by which decisions are counted and timed.

use std::time::Duration;

use super::Slot;
use super::fault::{Fault, FaultKind, Refused};

/// Told of every decision that came to an end, on the task that asked for it: it must be quick.
pub trait Observer: Send + Sync {
    /// One decision.
    fn decided(&self, decision: &Decision);
}

/// One decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// Who was asked.
    pub slot: Slot,
    /// What was asked: the contract's function.
    pub question: &'static str,
    /// What came of it.
    pub outcome: Outcome,
    /// What it took, the wait for a place to run in included.
    pub elapsed: Duration,
}

/// What came of a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The request goes on.
    Answered,
    /// The policy said no.
    Denied,
    /// It could not decide.
    Fault(FaultKind),
}

impl Outcome {
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

/// Why a decision did not let the request go on.
pub(super) trait Failure {
    fn outcome(&self) -> Outcome;
}

impl Failure for Refused {
    fn outcome(&self) -> Outcome {
        match self {
            Self::Denied(_) => Outcome::Denied,
            Self::Fault(fault) => fault.outcome(),
        }
    }
}

impl Failure for Fault {
    fn outcome(&self) -> Outcome {
        Outcome::Fault(self.kind)
    }
}
