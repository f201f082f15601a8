//! The policies that could serve at once: candidates that are prepared, and policies that served before.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::Serialize;

use super::Slot;
use super::callers::Canary;
use super::canary::{Counts, Lasting, Tally};
use super::digest::Digest;
use super::history::Door;
use super::look::FileSet;
use super::notice::Notice;
use super::policies::Policies;
use super::report::Report;
use super::rollout::Stage;
use super::rules::{CanaryStep, Gate, Own, Rules, RulesStatus};
use super::shadow::Shadow;

/// The most candidates; the oldest one that is not on trial makes room: one is in shadow and one has a canary at most.
const CANDIDATES: usize = 8;
/// Why a candidate goes no further for now.
const WAITS: &str = "its canary begins once that of another candidate is over";
/// The most generations that can serve again at once.
const PAST: usize = 8;

/// A candidate that is prepared.
pub(super) struct Ready {
    pub(super) policies: Arc<Policies>,
    pub(super) files: FileSet,
    /// The way by which it came: the API, or the policy folder, of which it is a change.
    pub(super) door: Door,
    /// The operator who brought it, or `folder`.
    pub(super) by: String,
    pub(super) at: SystemTime,
    /// Its steps, and the rules that it came with.
    pub(super) own: Own,
    /// The last decisions that it would have made otherwise.
    pub(super) replayed: Report,
    /// The last one, if it is in shadow or was.
    pub(super) shadow: Option<Shadowed>,
    /// It, while it lasts.
    pub(super) canary: Option<Lasting>,
    /// The canary that it begins by itself once no other candidate has one.
    pub(super) waits_for: Option<CanaryStep>,
    /// Its decisions on requests of canaries.
    pub(super) counts: Arc<Counts>,
}

impl Ready {
    /// Whether it decides on live requests: beside them, or on those of a canary.
    pub(super) fn is_on_trial(&self) -> bool {
        self.canary.is_some() || matches!(self.shadow, Some(Shadowed::Lasts(_)))
    }

    /// A candidate that was just compared with the last decisions.
    pub(super) fn new(
        (policies, files): (Arc<Policies>, FileSet),
        (door, by): (Door, &str),
        own: Own,
        replayed: Report,
    ) -> Self {
        Self {
            policies,
            files,
            door,
            by: by.to_owned(),
            at: SystemTime::now(),
            own,
            replayed,
            shadow: None,
            canary: None,
            waits_for: None,
            counts: Arc::default(),
        }
    }
}

/// A shadow, while it lasts and afterwards.
pub(super) enum Shadowed {
    Lasts(Shadow),
    Over(Report),
}

impl Shadowed {
    pub(super) fn report(&self) -> Report {
        match self {
            Self::Lasts(shadow) => shadow.report(),
            Self::Over(report) => report.clone(),
        }
    }

    /// Ends it.
    pub(super) fn end(self) -> Self {
        Self::Over(self.report())
    }
}

/// Policies that served.
#[derive(Clone)]
pub(super) struct Past {
    pub(super) policies: Arc<Policies>,
    pub(super) files: FileSet,
}

/// The candidates, oldest first, and the last generations, newest first.
#[derive(Default)]
pub(super) struct Shelf {
    candidates: Vec<(Digest, Ready)>,
    past: VecDeque<Past>,
}

impl Shelf {
    /// Puts a candidate in place of the same one. Returns one that made room, if there were too many.
    pub(super) fn put(&mut self, ready: Ready) -> Option<Digest> {
        let digest = ready.policies.digest();
        self.candidates.retain(|(known, _)| *known != digest);
        let is_full = self.candidates.len() >= CANDIDATES;
        let mut candidates = self.candidates.iter();
        let oldest = candidates.position(|(_, ready)| is_full && !ready.is_on_trial());
        let evicted = oldest.map(|oldest| self.candidates.remove(oldest).0);
        self.candidates.push((digest, ready));
        evicted
    }

    /// The candidates.
    pub(super) fn candidates(&self) -> impl Iterator<Item = (Digest, &Ready)> {
        self.candidates
            .iter()
            .map(|(digest, ready)| (*digest, ready))
    }

    /// A candidate.
    pub(super) fn candidate(&mut self, digest: Digest) -> Option<&mut Ready> {
        let mut candidates = self.candidates.iter_mut();
        let found = candidates.find(|(known, _)| *known == digest)?;
        Some(&mut found.1)
    }

    /// Takes a candidate away.
    pub(super) fn take(&mut self, digest: Digest) -> Option<Ready> {
        let mut candidates = self.candidates.iter();
        let place = candidates.position(|(known, _)| *known == digest)?;
        Some(self.candidates.remove(place).1)
    }

    /// Forgets the candidates: what they were compared with serves no longer.
    pub(super) fn clear(&mut self) {
        self.candidates.clear();
    }

    /// Remembers policies that do not serve any longer.
    pub(super) fn retire(&mut self, past: Past) {
        let digest = past.policies.digest();
        self.past.retain(|known| known.policies.digest() != digest);
        self.past.push_front(past);
        self.past.truncate(PAST);
    }

    /// The policies that can serve again at once, newest first.
    pub(super) fn past(&self) -> impl Iterator<Item = &Past> {
        self.past.iter()
    }
}

/// A candidate, as operators see it.
#[derive(Debug, Clone, Serialize)]
pub struct CandidateStatus {
    /// All digits of its digest.
    pub digest: Digest,
    /// The operator who brought it, or `folder`.
    pub by: String,
    /// When, as RFC 3339.
    pub at: String,
    /// `ready`, `shadow`, `canary`, `passed`, `failed` or `unseen`.
    pub stage: &'static str,
    /// Why it failed, why not enough was seen, or what its next step waits for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The conditions of the shadow, while it lasts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gate: Option<GateStatus>,
    /// The end of the canary that it began by itself, as RFC 3339, while that lasts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub canary_until: Option<String>,
    /// The steps that it takes by itself, and what holds once it serves.
    pub rollout: RulesStatus,
    /// The slots whose policies differ from those that serve.
    pub slots: Vec<&'static str>,
    /// The files that it was made of.
    pub files: Vec<String>,
    /// Warnings about these files.
    pub warnings: Vec<String>,
    /// The last decisions that it would have made otherwise.
    pub replayed: Report,
    /// The decisions that it made otherwise in shadow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shadow: Option<Report>,
    /// The callers on whose requests it decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub canary: Option<Canary>,
    /// Its decisions on requests of canaries, also of those that an operator sent it.
    pub decided: Tally,
}

/// The conditions that a candidate in shadow must meet, as operators see them.
#[derive(Debug, Clone, Serialize)]
pub struct GateStatus {
    /// The time at which it is looked at, as RFC 3339.
    pub until: String,
    /// The least number of decisions.
    pub min_decisions: u64,
    /// The most decisions that differ; none limits none.
    pub max_differ: Option<u64>,
    /// The most decisions that it could not make.
    pub max_faults: u64,
    /// Whether it serves by itself if it passes.
    pub promote: bool,
}

impl GateStatus {
    /// Of a shadow that began at `since`; both times are of the clock of the state machine.
    fn new(gate: &Gate, since: Duration, now: Duration) -> Self {
        Self {
            until: end(since, gate.duration, now),
            min_decisions: gate.min_decisions,
            max_differ: gate.max_differ,
            max_faults: gate.max_faults,
            promote: gate.promote,
        }
    }
}

/// The end of what began at `since`, as RFC 3339; both times are of the clock of the state machine.
fn end(since: Duration, duration: Duration, now: Duration) -> String {
    let left = since.saturating_add(duration).saturating_sub(now);
    let until = SystemTime::now().checked_add(left);
    let until = until.unwrap_or_else(SystemTime::now);
    humantime::format_rfc3339_seconds(until).to_string()
}

impl CandidateStatus {
    /// With the rules of the policy folder. `now` is the time of the state machine.
    pub(super) fn new(
        ready: &Ready,
        stage: &Stage,
        (serving, rules): (&Policies, &Rules),
        now: Duration,
    ) -> Self {
        let gate = match stage {
            Stage::Shadow { since, gate, .. } => Some(GateStatus::new(gate, *since, now)),
            _ => None,
        };
        let canary_until = match stage {
            Stage::Canary { since, step } => {
                let CanaryStep { duration, .. } = step;
                duration.map(|duration| end(*since, duration, now))
            }
            _ => None,
        };
        let (stage, why) = match stage {
            Stage::Ready => ("ready", None),
            Stage::Shadow { .. } => ("shadow", None),
            Stage::Canary { .. } => ("canary", None),
            Stage::Passed if ready.waits_for.is_some() => ("passed", Some(WAITS)),
            Stage::Passed => ("passed", None),
            Stage::Failed(why) => ("failed", Some(why.as_str())),
            Stage::Unseen(why) => ("unseen", Some(why.as_str())),
        };
        let slots = serving.differing(&ready.policies);
        Self {
            digest: ready.policies.digest(),
            by: ready.by.clone(),
            at: humantime::format_rfc3339_seconds(ready.at).to_string(),
            stage,
            why: why.map(str::to_owned),
            gate,
            canary_until,
            rollout: rules.clone().with(ready.own.clone()).into(),
            slots: slots.into_iter().map(Slot::name).collect(),
            files: ready.policies.file_names(),
            warnings: ready.files.notices.iter().map(Notice::to_string).collect(),
            replayed: ready.replayed.clone(),
            shadow: ready.shadow.as_ref().map(Shadowed::report),
            canary: ready.canary.as_ref().map(Lasting::who).cloned(),
            decided: ready.counts.tally(),
        }
    }
}
