//! The life of a generation after its activation, as a pure state machine: on probation, then kept or taken back.

use std::collections::VecDeque;
use std::time::Duration;

use super::digest::Digest;

/// The most digests that stay refused; the oldest is forgotten first.
const MOST_REFUSED: usize = 64;

/// The operator's rules for new generations: `[rollout]` in `policies.toml`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rules {
    /// How long the policies before stand by; zero is no probation.
    pub(super) probation: Duration,
    /// So many denials that those before would not have made are let pass; none limits none.
    pub(super) max_denials: Option<u32>,
    /// The first digits of digests that may serve although they were taken back.
    pub(super) accept: Vec<String>,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            probation: Duration::from_secs(600),
            max_denials: None,
            accept: Vec::new(),
        }
    }
}

impl Rules {
    /// Whether the operator accepts policies that were taken back.
    pub(super) fn accepts(&self, digest: Digest) -> bool {
        let digest = digest.to_string();
        self.accept.iter().any(|first| digest.starts_with(first))
    }
}

/// An act of new policies that those before did not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Charge {
    /// They could not decide.
    Fault,
    /// They denied the request.
    Denial,
}

/// An event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Input {
    /// Policies serve from now on, in place of those `before`, which stand by as long as the probation lasts.
    Activated {
        digest: Digest,
        before: Digest,
        probation: Duration,
        max_denials: Option<u32>,
    },
    /// These policies did not decide as those before.
    Blamed {
        digest: Digest,
        charge: Charge,
        why: String,
    },
    /// The operator accepts them before the probation is over.
    Accepted { digest: Digest },
    /// Time passed.
    Looked,
}

/// An action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Output {
    /// The probation is over: those before need not stand by any longer.
    Keep(Digest),
    /// Those before serve again.
    TakeBack { digest: Digest, to: Digest },
}

/// The state.
#[derive(Debug, Default)]
pub(super) struct Rollout {
    probation: Option<Trial>,
    /// Taken back, and why: oldest first.
    refused: VecDeque<(Digest, String)>,
}

#[derive(Debug)]
struct Trial {
    digest: Digest,
    before: Digest,
    until: Duration,
    /// Denials that are let pass.
    denials: Option<u32>,
}

impl Trial {
    /// Counts a charge; whether it is one too many.
    fn exceeds(&mut self, charge: Charge) -> bool {
        match (charge, &mut self.denials) {
            (Charge::Fault, _) | (Charge::Denial, Some(0)) => true,
            (Charge::Denial, None) => false,
            (Charge::Denial, Some(left)) => {
                *left -= 1;
                false
            }
        }
    }
}

impl Rollout {
    /// Goes on with what was taken back earlier.
    pub(super) fn new(refused: impl IntoIterator<Item = (Digest, String)>) -> Self {
        let mut rollout = Self::default();
        for (digest, why) in refused {
            rollout.refuse(digest, why);
        }
        rollout
    }

    /// Why these policies were taken back, if they were.
    pub(super) fn refusal(&self, digest: Digest) -> Option<&str> {
        let mut refused = self.refused.iter();
        refused
            .find(|(refused, _)| *refused == digest)
            .map(|(_, why)| why.as_str())
    }

    /// The time until which the serving policies are on probation.
    pub(super) fn on_probation_until(&self) -> Option<Duration> {
        self.probation.as_ref().map(|trial| trial.until)
    }

    /// Goes one step. `now` is the time since any fixed moment.
    pub(super) fn step(&mut self, now: Duration, input: Input) -> Option<Output> {
        match input {
            Input::Activated {
                digest,
                before,
                probation,
                max_denials,
            } => {
                // Their activation is somebody's consent.
                self.refused.retain(|(refused, _)| *refused != digest);
                self.probation = (!probation.is_zero() && digest != before).then(|| Trial {
                    digest,
                    before,
                    until: now + probation,
                    denials: max_denials,
                });
                None
            }
            Input::Blamed {
                digest,
                charge,
                why,
            } => {
                let is_over = |trial: &mut Trial| {
                    trial.digest == digest && now < trial.until && trial.exceeds(charge)
                };
                let trial = self.probation.take_if(is_over)?;
                self.refuse(digest, why);
                Some(Output::TakeBack {
                    digest,
                    to: trial.before,
                })
            }
            Input::Accepted { digest } => {
                let accepted = |trial: &mut Trial| trial.digest == digest;
                let over = self.probation.take_if(accepted)?;
                Some(Output::Keep(over.digest))
            }
            Input::Looked => {
                let over = self.probation.take_if(|trial| now >= trial.until)?;
                Some(Output::Keep(over.digest))
            }
        }
    }

    fn refuse(&mut self, digest: Digest, why: String) {
        self.refused.retain(|(refused, _)| *refused != digest);
        self.refused.push_back((digest, why));
        if self.refused.len() > MOST_REFUSED {
            self.refused.pop_front();
        }
    }
}

#[cfg(test)]
mod tests;
