//! The life of a generation as a pure state machine: a candidate that is ready, in shadow or in a canary, and passed or failed there;
//! after its activation on probation, then kept or taken back.

use std::collections::VecDeque;
use std::time::Duration;

use super::digest::Digest;
use super::rules::{CanaryStep, Gate};
use super::verdict::Verdict;

/// The most digests that stay refused; the oldest is forgotten first.
const MOST_REFUSED: usize = 64;

/// The counts of a candidate in shadow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// The slot with the fewest decisions of the candidate, among those that it changes.
    pub(super) slot: &'static str,
    /// Their number.
    pub(super) decisions: u64,
    pub(super) differ: u64,
    pub(super) faults: u64,
}

impl Gate {
    /// Why it is closed for good, if it is.
    fn fails(&self, seen: Seen) -> Option<String> {
        let Seen { differ, faults, .. } = seen;
        if faults > self.max_faults {
            let most = self.max_faults;
            return Some(format!("{faults} faults (at most {most})"));
        }
        let most = self.max_differ.filter(|most| differ > *most)?;
        Some(format!("{differ} decisions differ (at most {most})"))
    }

    /// Why it may not be opened although the time is over, if so.
    fn lacks(&self, seen: Seen) -> Option<String> {
        // A policy that was never asked has shown nothing.
        let (found, least) = (seen.decisions, self.min_decisions.max(1));
        let slot = seen.slot;
        (found < least).then(|| format!("{found} decisions of {slot} seen (at least {least})"))
    }
}

/// Where a candidate stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stage {
    /// It is prepared.
    Ready,
    /// It decides along since then; a canary may follow.
    Shadow {
        since: Duration,
        gate: Gate,
        canary: Option<CanaryStep>,
    },
    /// It decides for some callers since then, by itself. A canary of an operator is no stage.
    Canary { since: Duration, step: CanaryStep },
    /// It passed the last of its steps.
    Passed,
    /// It failed at its gate, or on a canary's request.
    Failed(String),
    /// The time of its shadow or canary is over, and not enough was seen.
    Unseen(String),
}

/// An act of new policies that those before did not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Charge {
    /// They could not decide.
    Fault,
    /// They denied so many requests by now.
    Denials(u64),
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
    /// A candidate is ready.
    Prepared { digest: Digest },
    /// A candidate decides along from now on.
    Shadowed {
        digest: Digest,
        gate: Gate,
        canary: Option<CanaryStep>,
    },
    /// A candidate in shadow has shown this.
    Seen { digest: Digest, seen: Seen },
    /// A candidate decides for some callers from now on, by itself.
    Canaried { digest: Digest, step: CanaryStep },
    /// A candidate has decided on so many requests of its canary.
    Decided { digest: Digest, requests: u64 },
    /// An operator began or ended the canary of a candidate.
    Steered { digest: Digest },
    /// A candidate could not decide on a canary's request.
    Failed { digest: Digest, why: String },
    /// A candidate is not wanted any longer.
    Dropped { digest: Digest },
    /// These policies may not serve any longer, unless somebody says otherwise.
    Refused { digest: Digest, verdict: Verdict },
}

/// An action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Output {
    /// The probation is over: those before need not stand by any longer.
    Keep(Digest),
    /// Those before serve again.
    TakeBack { digest: Digest, to: Digest },
    /// The shadow of a candidate is over.
    Unshadow { digest: Digest, next: Next },
    /// The canary that it began by itself is over.
    Uncanary { digest: Digest, next: Next },
    /// The shadow and the canary of a candidate are over.
    Untry { digest: Digest },
}

/// The next step of a candidate by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Next {
    /// There is none.
    Stay,
    /// It decides for some callers.
    Canary(CanaryStep),
    /// It serves.
    Promote,
}

/// The state.
#[derive(Debug, Default)]
pub(super) struct Rollout {
    probation: Option<Trial>,
    /// Policies that may not serve, and why: oldest first.
    refused: VecDeque<(Digest, Verdict)>,
    /// In the order in which they came.
    candidates: Vec<(Digest, Stage)>,
}

#[derive(Debug)]
struct Trial {
    digest: Digest,
    before: Digest,
    until: Duration,
    /// The most denials; none limits none.
    max_denials: Option<u32>,
}

impl Trial {
    /// Whether a charge is one too many.
    fn is_exceeded(&self, charge: Charge) -> bool {
        match charge {
            Charge::Fault => true,
            Charge::Denials(found) => self.max_denials.is_some_and(|most| found > u64::from(most)),
        }
    }
}

impl Rollout {
    /// Goes on with the verdicts of earlier runs.
    pub(super) fn new(refused: impl IntoIterator<Item = (Digest, Verdict)>) -> Self {
        let mut rollout = Self::default();
        for (digest, verdict) in refused {
            rollout.refuse(digest, verdict);
        }
        rollout
    }

    /// Why these policies may not serve, if so.
    pub(super) fn verdict(&self, digest: Digest) -> Option<&Verdict> {
        let mut refused = self.refused.iter();
        refused
            .find(|(refused, _)| *refused == digest)
            .map(|(_, verdict)| verdict)
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
                // Candidates were made and compared with policies that serve no longer.
                self.candidates.clear();
                self.probation = (!probation.is_zero() && digest != before).then(|| Trial {
                    digest,
                    before,
                    until: now + probation,
                    max_denials,
                });
                None
            }
            Input::Blamed {
                digest,
                charge,
                why,
            } => {
                let is_over = |trial: &mut Trial| {
                    trial.digest == digest && now < trial.until && trial.is_exceeded(charge)
                };
                let trial = self.probation.take_if(is_over)?;
                self.refuse(digest, Verdict::TakenBack(why));
                self.refused.retain(|(refused, _)| *refused != trial.before);
                self.candidates.clear();
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
            Input::Refused { digest, verdict } => {
                self.refuse(digest, verdict);
                None
            }
            of_a_candidate => self.step_candidate(now, of_a_candidate),
        }
    }

    fn step_candidate(&mut self, now: Duration, input: Input) -> Option<Output> {
        match input {
            Input::Prepared { digest } => {
                self.candidates.retain(|(known, _)| *known != digest);
                self.candidates.push((digest, Stage::Ready));
            }
            Input::Shadowed {
                digest,
                gate,
                canary,
            } => {
                let since = now;
                *self.candidate(digest)? = Stage::Shadow {
                    since,
                    gate,
                    canary,
                };
            }
            Input::Canaried { digest, step } => {
                *self.candidate(digest)? = Stage::Canary { since: now, step };
            }
            Input::Steered { digest } => {
                let stage = self.candidate(digest)?;
                if let Stage::Canary { .. } = stage {
                    *stage = Stage::Ready;
                }
            }
            Input::Dropped { digest } => self.candidates.retain(|(known, _)| *known != digest),
            Input::Seen { digest, seen } => return self.see(now, digest, seen),
            Input::Decided { digest, requests } => return self.count(now, digest, requests),
            Input::Failed { digest, why } => return self.fail(digest, why),
            Input::Activated { .. }
            | Input::Blamed { .. }
            | Input::Accepted { .. }
            | Input::Looked
            | Input::Refused { .. } => {}
        }
        None
    }

    fn see(&mut self, now: Duration, digest: Digest, seen: Seen) -> Option<Output> {
        let stage = self.candidate(digest)?;
        let Stage::Shadow {
            since,
            gate,
            canary,
        } = stage
        else {
            return None;
        };
        let is_over = now >= since.saturating_add(gate.duration);
        let end = match gate.fails(seen) {
            Some(why) => Stage::Failed(why),
            None if !is_over => return None,
            None => gate.lacks(seen).map_or(Stage::Passed, Stage::Unseen),
        };
        let next = match (end == Stage::Passed, canary.take()) {
            (true, Some(step)) => Next::Canary(step),
            (true, None) if gate.promote => Next::Promote,
            _ => Next::Stay,
        };
        *stage = end;
        Some(Output::Unshadow { digest, next })
    }

    fn count(&mut self, now: Duration, digest: Digest, found: u64) -> Option<Output> {
        let stage = self.candidate(digest)?;
        let Stage::Canary { since, step } = stage else {
            return None;
        };
        if now < since.saturating_add(step.duration?) {
            return None;
        }
        let least = step.min_requests;
        let (end, next) = match (found < least, step.promote) {
            (true, _) => {
                let why = format!("{found} requests decided (at least {least})");
                (Stage::Unseen(why), Next::Stay)
            }
            (false, true) => (Stage::Passed, Next::Promote),
            (false, false) => (Stage::Passed, Next::Stay),
        };
        *stage = end;
        Some(Output::Uncanary { digest, next })
    }

    /// The first reason stays.
    fn fail(&mut self, digest: Digest, why: String) -> Option<Output> {
        let stage = self.candidate(digest)?;
        if matches!(stage, Stage::Failed(_)) {
            return None;
        }
        *stage = Stage::Failed(why);
        Some(Output::Untry { digest })
    }

    fn candidate(&mut self, digest: Digest) -> Option<&mut Stage> {
        let mut candidates = self.candidates.iter_mut();
        let found = candidates.find(|(known, _)| *known == digest)?;
        Some(&mut found.1)
    }

    /// Where a candidate stands.
    pub(super) fn stage(&self, digest: Digest) -> Option<&Stage> {
        let mut candidates = self.candidates.iter();
        candidates
            .find(|(known, _)| *known == digest)
            .map(|(_, stage)| stage)
    }

    /// The candidate in shadow.
    pub(super) fn in_shadow(&self) -> Option<Digest> {
        let mut candidates = self.candidates.iter();
        candidates
            .find(|(_, stage)| matches!(stage, Stage::Shadow { .. }))
            .map(|(digest, _)| *digest)
    }

    fn refuse(&mut self, digest: Digest, verdict: Verdict) {
        self.refused.retain(|(refused, _)| *refused != digest);
        self.refused.push_back((digest, verdict));
        if self.refused.len() > MOST_REFUSED {
            self.refused.pop_front();
        }
    }
}

#[cfg(test)]
mod tests;
