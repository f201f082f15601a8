//! The rules for new generations: the steps that a candidate takes by itself, and what holds once it serves.
//!
//! They are said in `[rollout]` of `policies.toml` and, for one candidate, in a `rollout.toml` of its own. `read` reads both.

mod read;

use std::time::Duration;

use serde::{Serialize, Serializer};

use super::callers::Canary;
use super::digest::Digest;

/// The operator's rules for new generations: `[rollout]` in `policies.toml`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rules {
    /// The steps of candidates that have no rules of their own.
    pub(super) steps: Steps,
    /// How long the policies before stand by; zero is no probation.
    pub(super) probation: Duration,
    /// So many denials that those before would not have made are let pass; none limits none.
    pub(super) max_denials: Option<u32>,
    /// The first digits of digests that may serve although they were taken back or did not pass, and that take no steps before.
    pub(super) accept: Vec<String>,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            steps: Steps::default(),
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

    /// These rules with a candidate's own in their place: its steps as a whole, and the rest as far as it says it.
    pub(super) fn with(self, own: Own) -> Self {
        Self {
            steps: own.steps,
            probation: own.probation.unwrap_or(self.probation),
            max_denials: own.max_denials.or(self.max_denials),
            accept: self.accept,
        }
    }
}

/// The rules of one candidate: its `rollout.toml`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Own {
    pub(super) steps: Steps,
    pub(super) probation: Option<Duration>,
    pub(super) max_denials: Option<u32>,
}

/// The steps that a candidate takes by itself: a shadow, then a canary, and then it serves, as far as they are said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Steps {
    /// The first one, with its gate.
    pub(super) shadow: Option<Gate>,
    /// The one after the shadow, or the first one.
    pub(super) canary: Option<CanaryStep>,
    /// Whether it serves after the last one.
    pub(super) promote: bool,
}

impl Steps {
    /// Whether there is a step.
    pub(super) fn is_any(&self) -> bool {
        self.shadow.is_some() || self.canary.is_some()
    }
}

/// The conditions that a candidate in shadow must meet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gate {
    /// How long it is in shadow.
    pub duration: Duration,
    /// The least number of decisions; with fewer ones not enough was seen.
    pub min_decisions: u64,
    /// The most decisions that differ; none limits none.
    pub max_differ: Option<u64>,
    /// The most decisions that it could not make.
    pub max_faults: u64,
    /// Whether it serves by itself if it passes.
    pub promote: bool,
}

impl Default for Gate {
    fn default() -> Self {
        Self {
            duration: Duration::from_secs(600),
            min_decisions: 100,
            max_differ: None,
            max_faults: 0,
            promote: false,
        }
    }
}

/// A canary that a candidate begins by itself. A fault ends it as any other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CanaryStep {
    /// The callers for whom it decides.
    pub(super) who: Canary,
    /// How long; none is until an operator ends it.
    pub(super) duration: Option<Duration>,
    /// The least number of requests; with fewer ones not enough was seen.
    pub(super) min_requests: u64,
    /// Whether it serves afterwards.
    pub(super) promote: bool,
}

/// The rules of a candidate, as operators see them.
#[derive(Debug, Clone, Serialize)]
pub struct RulesStatus {
    shadow: Option<ShadowStatus>,
    canary: Option<CanaryStatus>,
    promote: bool,
    #[serde(serialize_with = "time")]
    probation: Duration,
    max_denials: Option<u32>,
}

#[derive(Debug, Clone, Serialize)]
struct ShadowStatus {
    #[serde(rename = "for", serialize_with = "time")]
    duration: Duration,
    min_decisions: u64,
    max_differ: Option<u64>,
    max_faults: u64,
}

#[derive(Debug, Clone, Serialize)]
struct CanaryStatus {
    #[serde(flatten)]
    who: Canary,
    #[serde(rename = "for", serialize_with = "maybe_time")]
    duration: Option<Duration>,
    min_requests: u64,
}

impl From<Rules> for RulesStatus {
    fn from(rules: Rules) -> Self {
        let Steps {
            shadow,
            canary,
            promote,
        } = rules.steps;
        Self {
            shadow: shadow.map(|gate| ShadowStatus {
                duration: gate.duration,
                min_decisions: gate.min_decisions,
                max_differ: gate.max_differ,
                max_faults: gate.max_faults,
            }),
            canary: canary.map(|canary| CanaryStatus {
                who: canary.who,
                duration: canary.duration,
                min_requests: canary.min_requests,
            }),
            promote,
            probation: rules.probation,
            max_denials: rules.max_denials,
        }
    }
}

/// As it is written in TOML.
fn time<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&humantime::format_duration(*time))
}

fn maybe_time<S: Serializer>(maybe: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
    match maybe {
        Some(duration) => time(duration, to),
        None => to.serialize_none(),
    }
}
