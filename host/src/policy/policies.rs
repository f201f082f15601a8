//! Four policies that are prepared together, one for each slot.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::Slot;
use super::candidate::{About, Candidate};
use super::component::Policy;
use super::digest::Digest;
use super::engine::Engine;
use super::entries::Entries;
use super::fault::{Refusal, Refusals};
use super::given::Files;
use super::look::Look;
use super::trial::Attempt;
use super::world::{Auth, Model, RateLimit, ToolStop, World};
use crate::memory;

/// Preparing a policy that takes longer than this is logged: it is compiled, because it is not in the cache.
const SLOW: Duration = Duration::from_secs(1);

/// One slot of a generation, for health and metrics.
#[derive(Debug, Clone, serde::Serialize)]
pub struct SlotStatus {
    /// The slot's name.
    pub slot: &'static str,
    /// The component in it.
    #[serde(flatten)]
    pub about: About,
    /// The digest of its component, settings and options.
    pub digest: Digest,
    /// The number of faults since the policy was prepared.
    pub faults: u64,
}

fn status<W: World>(policy: &Policy<W>) -> SlotStatus {
    SlotStatus {
        slot: W::SLOT.name(),
        about: policy.about().clone(),
        digest: policy.identity(),
        faults: policy.faults(),
    }
}

/// Four policies that are ready to serve together.
pub(super) struct Policies {
    pub(super) auth: Arc<Policy<Auth>>,
    pub(super) model: Arc<Policy<Model>>,
    pub(super) rate_limit: Arc<Policy<RateLimit>>,
    pub(super) tool_stop: Arc<Policy<ToolStop>>,
}

impl Policies {
    /// The identity of the four.
    pub(super) fn digest(&self) -> Digest {
        Digest::of_generation(self.identities())
    }

    /// The identity of each slot.
    pub(super) fn identities(&self) -> [Digest; Slot::COUNT] {
        [
            self.auth.identity(),
            self.model.identity(),
            self.rate_limit.identity(),
            self.tool_stop.identity(),
        ]
    }

    /// The digest of a slot with the gateway's facts.
    pub(super) fn slot_digest(&self, slot: Slot) -> [u8; 32] {
        match slot {
            Slot::Auth => self.auth.digest(),
            Slot::Model => self.model.digest(),
            Slot::RateLimit => self.rate_limit.digest(),
            Slot::ToolStop => self.tool_stop.digest(),
        }
    }

    /// The slots in which others differ.
    pub(super) fn differing(&self, others: &Self) -> Vec<Slot> {
        let differs = |slot: &Slot| self.slot_digest(*slot) != others.slot_digest(*slot);
        Slot::ALL.into_iter().filter(differs).collect()
    }

    /// The four, slot by slot.
    pub(super) fn slots(&self) -> [SlotStatus; Slot::COUNT] {
        [
            status(&self.auth),
            status(&self.model),
            status(&self.rate_limit),
            status(&self.tool_stop),
        ]
    }

    /// The sizes of the lists in the settings, slot by slot.
    pub(super) fn entries(&self) -> [&[(String, usize)]; Slot::COUNT] {
        let (auth, model) = (self.auth.entries(), self.model.entries());
        let (rate_limit, tool_stop) = (self.rate_limit.entries(), self.tool_stop.entries());
        [auth, model, rate_limit, tool_stop].map(Entries::counts)
    }

    /// The operator's files that they were made of.
    pub(super) fn files(&self) -> [Files; Slot::COUNT] {
        self.slots()
            .map(|SlotStatus { about, .. }| Files::named(&about.file, &about.settings))
    }

    /// The names of these files.
    pub(super) fn file_names(&self) -> Vec<String> {
        let files = self.files().into_iter();
        let names = files.flat_map(|files| [files.component, files.settings]);
        names.flatten().collect()
    }
}

impl Drop for Policies {
    fn drop(&mut self) {
        rest(&self.auth);
        rest(&self.model);
        rest(&self.rate_limit);
        rest(&self.tool_stop);
        memory::give_back_soon();
    }
}

/// Discards the idle instances of a policy that no other generation has; the engine may keep it to serve again.
fn rest<W: World>(policy: &Arc<Policy<W>>) {
    const ITSELF_AND_KEPT: usize = 2;
    if Arc::strong_count(policy) <= ITSELF_AND_KEPT {
        policy.discard_idle();
    }
}

/// A world with a place in a generation.
pub(super) trait Seat: World {
    /// Its policy.
    fn of(policies: &Policies) -> &Arc<Policy<Self>>;
}

impl Seat for Auth {
    fn of(policies: &Policies) -> &Arc<Policy<Self>> {
        &policies.auth
    }
}

impl Seat for Model {
    fn of(policies: &Policies) -> &Arc<Policy<Self>> {
        &policies.model
    }
}

impl Seat for RateLimit {
    fn of(policies: &Policies) -> &Arc<Policy<Self>> {
        &policies.rate_limit
    }
}

impl Seat for ToolStop {
    fn of(policies: &Policies) -> &Arc<Policy<Self>> {
        &policies.tool_stop
    }
}

/// Prepares the candidates of a look at the folder, and collects all refusals: one slot's refusal does not hide another's.
pub(super) async fn try_all(
    engine: &Engine,
    look: &Look,
    old: Option<&Policies>,
) -> (Option<Policies>, Vec<Refusal>) {
    let candidates = look.candidates.each_ref().map(Option::as_ref);
    let mut refusals = look.refusals.clone();
    match prepare_each(engine, candidates, old).await {
        Ok(policies) => (policies.filter(|_| refusals.is_empty()), refusals),
        Err(Refusals(further)) => {
            refusals.extend(further);
            (None, refusals)
        }
    }
}

/// Prepares four candidates; those that the old policies are made of stay as they are.
pub(super) async fn prepare(
    engine: &Engine,
    candidates: &[Candidate; Slot::COUNT],
    old: Option<&Policies>,
) -> Result<Policies, Refusals> {
    let prepared = prepare_each(engine, candidates.each_ref().map(Some), old).await?;
    prepared.ok_or_else(|| Refusals(Vec::new()))
}

/// Prepares the candidates; returns them if all four slots have one.
async fn prepare_each(
    engine: &Engine,
    candidates: [Option<&Candidate>; Slot::COUNT],
    old: Option<&Policies>,
) -> Result<Option<Policies>, Refusals> {
    let [auth, model, rate_limit, tool_stop] = candidates;
    let (auth, model, rate_limit, tool_stop) = tokio::join!(
        one(engine, auth, old.map(|old| &old.auth)),
        one(engine, model, old.map(|old| &old.model)),
        one(engine, rate_limit, old.map(|old| &old.rate_limit)),
        one(engine, tool_stop, old.map(|old| &old.tool_stop)),
    );
    match (auth, model, rate_limit, tool_stop) {
        (Ok(Some(auth)), Ok(Some(model)), Ok(Some(rate_limit)), Ok(Some(tool_stop))) => {
            Ok(Some(Policies {
                auth,
                model,
                rate_limit,
                tool_stop,
            }))
        }
        (auth, model, rate_limit, tool_stop) => {
            let refusals = [auth.err(), model.err(), rate_limit.err(), tool_stop.err()];
            let refusals: Vec<_> = refusals.into_iter().flatten().collect();
            match refusals.is_empty() {
                true => Ok(None),
                false => Err(Refusals(refusals)),
            }
        }
    }
}

/// Prepares one slot's policy, or keeps the old one if its digest is unchanged.
async fn one<W: Attempt>(
    engine: &Engine,
    candidate: Option<&Candidate>,
    old: Option<&Arc<Policy<W>>>,
) -> Result<Option<Arc<Policy<W>>>, Refusal> {
    let Some(candidate) = candidate else {
        return Ok(None);
    };
    match old {
        Some(old) if old.digest() == candidate.digest() => Ok(Some(Arc::clone(old))),
        _ => {
            let mut prepared = pin!(Policy::prepare(engine, candidate));
            let prepared = match timeout(SLOW, &mut prepared).await {
                Ok(prepared) => prepared,
                Err(_) => {
                    let Candidate { slot, file, .. } = candidate;
                    tracing::info!(%slot, %file, "preparing policies: this one takes a while");
                    prepared.await
                }
            };
            prepared.map(Some)
        }
    }
}
