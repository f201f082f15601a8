//! Policy decisions: WASI components are prepared, frozen, swapped and called. The only module that uses wasmtime.
//!
//! `source` reads a folder, `prepare` makes its files ready, `live` swaps them; `generation` has the questions that a request asks.

mod admission;
mod again;
mod allowance;
mod answer;
mod aside;
mod asking;
mod author;
mod bindings;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod bytes;
mod cache;
mod callers;
mod canaries;
mod canary;
mod candidate;
mod candidates;
mod cards;
mod change;
mod component;
mod component_cache;
mod contract;
mod denied;
mod described;
mod digest;
mod distrust;
mod doubt;
mod engine;
mod entries;
mod event;
mod exchange;
mod explain;
mod facts;
mod fault;
mod folder;
mod freeze;
mod generation;
mod given;
mod guard;
mod guest;
mod headers;
mod history;
mod image;
mod imports;
mod inspect;
mod keeper;
mod last_good;
mod life;
mod limits;
mod live;
mod look;
mod manifest;
mod mask;
mod matrix;
mod memo;
mod needs;
mod notice;
mod observer;
mod open_refusals;
mod outcome;
mod packed;
mod past;
mod per_slot;
mod pin;
mod policies;
mod prepare;
mod probation;
mod recording;
mod records;
mod refusals;
mod replay;
mod report;
mod ring;
mod rollout;
mod rules;
mod schema;
mod settings;
mod shadow;
mod signing;
mod simulation;
mod slices;
mod source;
mod start;
mod steer;
mod steps;
mod streams;
mod tables;
mod take_back;
mod tap;
mod tapping;
mod template;
mod trail;
mod transcript;
mod trial;
mod trust;
mod unsteered;
mod verdict;
mod warm;
mod watch;
mod weigh;
mod words;
mod world;

use serde::{Deserialize, Serialize};

pub use again::{Replayed, Undecided, replay_records};
pub use allowance::{Allowance, Bucket};
pub use author::{
    BUILT_IN_CASES, Buckets, CASE_ENDING, Call, Case, Coverage, CoveredSlot, Draft, Failed,
    Failure, Found, Inspected, MAX_CASE, Measured, Moment, NamedFile, Outcome, Planned, Ran, Reply,
    Runner, Search, Searched, Seeds, Sides, Signatures, Subject, built_in, case_schema,
    check_draft, compare_records, component_names, inspect_policy, measure, moment, plan, slots_of,
};
pub use bindings::{
    Caller, Credential, Denial, Header, PACKAGE, Request, VERSION, forward_auth, model, rate_limit,
    tool_stop,
};
pub use cache::is_there as has_cache;
pub use callers::Canary;
pub use canary::Tally;
pub use candidate::{About, Candidate, Instances, Options};
pub use candidates::{CandidateStatus, GateStatus};
pub use cards::Cards;
pub use described::{Described, Presented};
pub use digest::Digest;
pub use distrust::{Distrust, KeyId, SIGNATURE_ENDING};
pub use engine::compile::{SUBCOMMAND, compile_component};
pub use engine::{Engine, MAX_MEMORY};
pub use entries::Key;
pub use explain::{Explained, Explanation};
pub use facts::Facts;
pub use fault::{Fault, FaultKind, Problem, Refusal, Refusals, Refused};
pub use folder::MAX_COMPONENT;
pub use generation::Generation;
pub use guest::Limits;
pub use history::{Activated, Door};
pub use life::{Life, What};
pub use limits::Admitted;
pub use live::Live;
pub use manifest::schema as rules_schema;
pub use matrix::{Asked, Axes, Line, Lines, Meaning, Unasked, matrix};
pub use notice::Notice;
pub use observer::{Decision, DecisionOutcome, Denied, Observer};
pub use open_refusals::OpenRefusal;
pub use pin::Pin;
pub use policies::SlotStatus;
pub use probation::OnProbation;
pub use records::{
    Config as RecordConfig, Damage, ENDING as RECORDS_ENDING, files_in as records_in,
};
pub use refusals::Restart;
pub use report::{Change, Difference, Group, Report};
pub use rules::{Gate, Own as OwnRules, RulesStatus};
pub use signing::{NewKeys, Password, SigningError, SigningKey, new_keys};
pub use source::{Defaults, Source, files_to_sign, verify_folder};
pub use steer::SlotFiles;
pub use tap::{Made, Tap, Tapped, Wanted};
pub use template::{Language, NamingMistake, new_policy};
pub use trust::{Brought, MAX_SIGNATURE, Signed, Trust, TrustedKey};
pub use unsteered::Unsteered;
/// The error of an engine that cannot start: components cannot run on this machine at all.
pub use wasmtime::Error as EngineError;
pub use watch::watch;

/// The four questions that policies decide, each answered by one component.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Slot {
    /// Decides who is calling.
    Auth,
    /// Decides which model runs.
    Model,
    /// Decides whether the caller may call now.
    RateLimit,
    /// Decides whether the turn stops after this tool call.
    ToolStop,
}

impl Slot {
    /// The number of slots.
    pub const COUNT: usize = Self::ALL.len();

    /// All slots, in the order in which a request meets them.
    pub const ALL: [Self; 4] = [Self::Auth, Self::Model, Self::RateLimit, Self::ToolStop];

    /// The slot's name in its files (`auth.wasm`, `auth.json`), in logs, in metrics and in `policies.toml`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Model => "model",
            Self::RateLimit => "rate-limit",
            Self::ToolStop => "tool-stop",
        }
    }

    /// The slot of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|slot| slot.name() == name)
    }

    /// The interfaces of [`PACKAGE`] a component must export for this slot.
    const fn interfaces(self) -> &'static [&'static str] {
        match self {
            Self::Auth => &["lifecycle", "auth", "forward-auth"],
            Self::Model => &["lifecycle", "model"],
            Self::RateLimit => &["lifecycle", "rate-limit"],
            Self::ToolStop => &["lifecycle", "tool-stop"],
        }
    }
}

impl std::fmt::Display for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests;
