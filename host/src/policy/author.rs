//! Single policies in the hands of their authors: described, prepared alone, asked and measured.
//!
//! `input` reads questions, `reply` writes answers; `case` and `cases` test a policy against its cases, `diff` and `search` compare
//! two, `plan` checks one where it is to serve.

mod bench;
mod case;
mod cases;
mod coverage;
mod diff;
mod input;
mod inspected;
mod matcher;
mod plan;
mod play;
mod recorded;
mod reply;
mod search;

use std::sync::Arc;
use std::time::Duration;

use super::Slot;
use super::bindings::rate_limit;
use super::candidate::{About, Candidate, Instances, Options};
use super::component::{Decided, Policy};
use super::engine::Engine;
use super::facts::Facts;
use super::fault::{Problem, Refusal};
use super::given::{Given, Named};
use super::inspect;
use super::limits;
use super::outcome::Told;
use super::policies::Seat;
use super::prepare::Costs;
use super::source::{Defaults, Source};
use super::trial::Attempt;
use super::world::{Auth, Model, Question, Quotas, RateLimit, ToolStop};
use crate::quota::{Memory, Reservation};

use input::Asked;

pub use bench::{Measured, built_in, measure};
pub use case::{BUILT_IN_CASES, CASE_ENDING, Case, MAX_CASE, moment, schema as case_schema};
pub use cases::{Failure, Ran, Runner};
pub use coverage::{Coverage, CoveredSlot};
pub use diff::Sides;
pub use input::{Call, Moment};
pub use inspected::{Inspected, inspect as inspect_policy};
pub use plan::{Planned, check_draft, plan};
pub use recorded::compare_records;
pub use reply::{Failed, Outcome, Reply};
pub use search::{Found, Search, Searched, Seeds};

/// A file that an author names: its name, and its bytes.
pub type NamedFile = (String, Arc<[u8]>);

/// The files and options of one policy that is tried alone.
#[derive(Debug, Clone)]
pub struct Draft {
    /// The slot.
    pub slot: Slot,
    /// The component; the built-in one if absent.
    pub component: Option<NamedFile>,
    /// The settings; none if absent.
    pub settings: Option<NamedFile>,
    /// The host's options.
    pub options: Options,
    /// The host's facts.
    pub facts: Facts,
    /// The signatures of the files.
    pub signatures: Signatures,
}

/// The texts of the signatures of a draft's files; absent if there is none.
#[derive(Debug, Clone, Default)]
pub struct Signatures {
    /// Of the component.
    pub component: Option<Arc<[u8]>>,
    /// Of the settings.
    pub settings: Option<Arc<[u8]>>,
}

impl Draft {
    /// The slots that a component fits by its exports.
    ///
    /// # Errors
    /// If it is no component, or fits none.
    pub fn slots((name, bytes): &NamedFile) -> Result<Vec<Slot>, Refusal> {
        let refuse = |problem| Refusal {
            file: name.clone(),
            slot: None,
            problem,
        };
        let names = inspect::names(bytes).map_err(refuse)?;
        let slots = inspect::slots(&names.exports);
        if slots.is_empty() {
            // The auth slot stands for all: the refusal names the exports that were found.
            let refused = inspect::exports_and_imports(bytes, Slot::Auth);
            let problem = refused.err().unwrap_or(Problem::Internal(String::new()));
            return Err(refuse(problem));
        }
        Ok(slots)
    }

    /// Whether a component fits a slot, whatever its settings: by its exports and imports.
    ///
    /// # Errors
    /// If it does not, or is none.
    pub fn fits((name, bytes): &NamedFile, slot: Slot) -> Result<(), Refusal> {
        let found = inspect::exports_and_imports(bytes, slot);
        found.map(|_| ()).map_err(|problem| Refusal {
            file: name.clone(),
            slot: Some(slot),
            problem,
        })
    }

    pub(super) fn given(&self) -> Given {
        let named = |file: &Option<NamedFile>| {
            let (name, bytes) = file.clone()?;
            Some(Named { name, bytes })
        };
        Given {
            component: named(&self.component),
            settings: named(&self.settings),
            options: self.options,
            built_in: false,
        }
    }

    /// The settings of the environment are none of its own: it is the same on every machine.
    fn candidate(&self) -> Result<Candidate, Refusal> {
        let source = Source::new(None, Defaults::default());
        source.candidate(self.slot, &self.given(), &self.facts)
    }
}

/// The names of a component's imports, and those of the instances that it exports.
///
/// # Errors
/// If it is no component.
pub fn component_names((name, bytes): &NamedFile) -> Result<(Vec<String>, Vec<String>), Refusal> {
    let names = inspect::names(bytes).map_err(|problem| Refusal {
        file: name.clone(),
        slot: None,
        problem,
    })?;
    Ok((names.imports, names.exports))
}

/// The slots that a component with these exports fits.
#[must_use]
pub fn slots_of(exports: &[String]) -> Vec<Slot> {
    inspect::slots(exports)
}

/// A prepared policy.
pub struct Subject(Prepared);

enum Prepared {
    Auth(Policy<Auth>),
    Model(Policy<Model>),
    RateLimit(Policy<RateLimit>),
    ToolStop(Policy<ToolStop>),
}

/// The same expression for the policy of any slot.
macro_rules! each {
    ($subject:expr, $policy:ident => $does:expr) => {
        match &$subject.0 {
            Prepared::Auth($policy) => $does,
            Prepared::Model($policy) => $does,
            Prepared::RateLimit($policy) => $does,
            Prepared::ToolStop($policy) => $does,
        }
    };
}

/// The buckets that a question about limits meets.
#[derive(Clone)]
pub enum Buckets<'a> {
    /// It draws from these.
    Draw(&'a Memory),
    /// It draws from full ones of its own.
    Full,
    /// They have this status, and nothing is drawn.
    Known(Vec<rate_limit::BucketStatus>),
}

/// A reply, and the amounts that the request drew.
type Drawn = (Reply, Option<Reservation>);

impl Subject {
    /// Prepares a policy as a start does; warm instead of frozen if that is wanted.
    ///
    /// # Errors
    /// The reason why a gateway would refuse it.
    pub async fn prepare(
        engine: &Engine,
        draft: &Draft,
        instances: Instances,
    ) -> Result<Self, Refusal> {
        let mut candidate = draft.candidate()?;
        if instances == Instances::Warm {
            candidate.options.instances = Instances::Warm;
        }
        Self::of(engine, &candidate).await
    }

    async fn of(engine: &Engine, candidate: &Candidate) -> Result<Self, Refusal> {
        async fn alone<W: Attempt>(
            engine: &Engine,
            candidate: &Candidate,
        ) -> Result<Policy<W>, Refusal> {
            Policy::prepare_alone(engine, candidate).await
        }
        let prepared = match candidate.slot {
            Slot::Auth => Prepared::Auth(alone(engine, candidate).await?),
            Slot::Model => Prepared::Model(alone(engine, candidate).await?),
            Slot::RateLimit => Prepared::RateLimit(alone(engine, candidate).await?),
            Slot::ToolStop => Prepared::ToolStop(alone(engine, candidate).await?),
        };
        Ok(Self(prepared))
    }

    /// The description of the policy.
    #[must_use]
    pub fn about(&self) -> &About {
        each!(self, policy => policy.about())
    }

    /// The parts of the input that it declared, as words.
    fn needs(&self) -> Vec<String> {
        each!(self, policy => policy.needs().words())
    }

    fn costs(&self) -> Costs {
        each!(self, policy => policy.costs())
    }

    /// Lets the next question meet a fresh instance, if the policy runs warm.
    fn discard_idle(&self) {
        each!(self, policy => policy.discard_idle());
    }

    /// Asks a question, in an instance as serving has it and within the same limits; nothing is remembered.
    pub async fn ask(&self, call: &Call, buckets: Buckets<'_>) -> Drawn {
        let reply = match (&self.0, &call.0) {
            (Prepared::Auth(policy), Asked::Authenticate(asked)) => ask(policy, asked).await,
            (Prepared::Auth(policy), Asked::Verify(asked)) => ask(policy, asked).await,
            (Prepared::Model(policy), Asked::Catalog(asked)) => ask(policy, asked).await,
            (Prepared::Model(policy), Asked::Resolve(asked)) => ask(policy, asked).await,
            (Prepared::RateLimit(policy), Asked::Quotas(asked)) => ask(policy, asked).await,
            (Prepared::RateLimit(policy), Asked::Admit { asked, statuses }) => {
                let buckets = match statuses {
                    Some(statuses) => Buckets::Known(statuses.clone()),
                    None => buckets,
                };
                return admit(policy, asked, buckets).await;
            }
            (Prepared::ToolStop(policy), Asked::Observe(asked)) => {
                ask(policy, asked).await.of_turn()
            }
            _ => Reply::misplaced(),
        };
        (reply, None)
    }
}

async fn ask<Q>(policy: &Policy<Q::World>, asked: &Q) -> Reply
where
    Q: Question<World: Seat, Answer: Told>,
{
    let question = asked.declared(policy.needs());
    let decided = policy.decide(&question).await;
    Reply::new(&question, decided, policy.take_heard())
}

async fn admit(policy: &Policy<RateLimit>, asked: &Quotas, buckets: Buckets<'_>) -> Drawn {
    if !policy.is_asked(asked) {
        return (Reply::unasked(), None);
    }
    let admitted = match buckets {
        Buckets::Draw(counters) => policy.admit(asked, counters).await,
        Buckets::Full => policy.admit(asked, &Memory::default()).await,
        Buckets::Known(statuses) => Ok(policy.admit_as(asked, statuses).await),
    };
    let heard = policy.take_heard();
    let Ok(admitted) = admitted else {
        // Buckets in memory are never unavailable.
        return (Reply::unasked(), None);
    };
    let second = admitted.rest.as_ref();
    let answer = match (admitted.fault(), second) {
        (Some(fault), _) => Err(fault.clone()),
        (None, Some((_, decided))) => decided.answer.clone(),
        (None, None) => Ok(Ok(Vec::new())),
    };
    let decided = Decided {
        answer,
        from_memo: false,
        took: admitted.quotas.took + second.map_or(Duration::ZERO, |(_, second)| second.took),
    };
    let question = asked.declared(policy.needs());
    let told = limits::outcome(&admitted);
    let reply = Reply::new(&question, decided, heard);
    let reply = Reply {
        quotas: admitted.quotas.answer.as_ref().ok().cloned(),
        statuses: second.map(|(decide, _)| decide.statuses.clone()),
        told,
        ..reply
    };
    let admitted = admitted.result().ok();
    (reply, admitted.and_then(|admitted| admitted.reservation))
}
