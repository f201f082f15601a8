//! A generation: the four prepared policies a request holds from its first byte to its last.

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use super::Slot;
use super::bindings::{Caller, Request, forward_auth, model, rate_limit, tool_stop};
use super::component::{About, Candidate, Policy};
use super::engine::Engine;
use super::fault::{Fault, FaultKind, Refusal, Refused};
use super::trial::{Auth, Model, RateLimit, ToolStop, World};

/// Four policies that serve together.
pub struct Generation {
    number: u64,
    auth: Arc<Policy<Auth>>,
    model: Arc<Policy<Model>>,
    rate_limit: Arc<Policy<RateLimit>>,
    tool_stop: Arc<Policy<ToolStop>>,
}

/// One slot of a generation, for health and metrics.
#[derive(Debug, Clone, serde::Serialize)]
pub struct SlotStatus {
    /// The slot's name.
    pub slot: &'static str,
    /// The component in it.
    #[serde(flatten)]
    pub about: About,
    /// Decisions it could not make since it was prepared.
    pub faults: u64,
}

fn status<W: World>(policy: &Policy<W>) -> SlotStatus {
    SlotStatus {
        slot: W::SLOT.name(),
        about: policy.about().clone(),
        faults: policy.faults(),
    }
}

/// Turns a contract type's decision into ours.
fn decided<T>(answer: Result<T, super::Denial>) -> Result<T, Refused> {
    answer.map_err(|denial| Refused::Denied(Box::new(denial)))
}

impl Generation {
    /// Counts up from 1 with every swap; sent to clients as `x-codex-generation`.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// What serves, slot by slot.
    #[must_use]
    pub fn slots(&self) -> [SlotStatus; 4] {
        [
            status(&self.auth),
            status(&self.model),
            status(&self.rate_limit),
            status(&self.tool_stop),
        ]
    }

    /// Who is calling?
    ///
    /// # Errors
    /// The policy's denial, or its fault.
    pub async fn authenticate(&self, mut request: Request) -> Result<Caller, Refused> {
        self.withhold_secret(&mut request);
        let now = request.now_ms;
        let answer = self
            .auth
            .decide(now, |world, store, instance| {
                Box::pin(async move {
                    world
                        .auth
                        .load(&mut *store, instance)?
                        .call_authenticate(&mut *store, &request)
                        .await
                })
            })
            .await?;
        let caller = decided(self.sane(&self.auth, answer)?)?;
        self.check(&self.auth, !caller.id.is_empty(), "a caller without an id")?;
        Ok(caller)
    }

    /// May an edge proxy let this request through?
    ///
    /// # Errors
    /// The policy's denial, or its fault.
    pub async fn verify(&self, mut original: Request) -> Result<forward_auth::Grant, Refused> {
        self.withhold_secret(&mut original);
        let now = original.now_ms;
        let answer = self
            .auth
            .decide(now, |world, store, instance| {
                Box::pin(async move {
                    world
                        .forward_auth
                        .load(&mut *store, instance)?
                        .call_verify(&mut *store, &original)
                        .await
                })
            })
            .await?;
        let grant = decided(self.sane(&self.auth, answer)?)?;
        let named = !grant.caller.id.is_empty();
        self.check(&self.auth, named, "a grant for a caller without an id")?;
        Ok(grant)
    }

    /// The models this caller may see.
    ///
    /// # Errors
    /// Only a fault: a policy that shows nothing answers an empty list.
    pub async fn catalog(
        &self,
        caller: Option<Caller>,
        now_ms: u64,
    ) -> Result<Vec<model::Card>, Refused> {
        let answer = self
            .model
            .decide(now_ms, |world, store, instance| {
                Box::pin(async move {
                    world
                        .0
                        .load(&mut *store, instance)?
                        .call_catalog(&mut *store, caller.as_ref())
                        .await
                })
            })
            .await?;
        Ok(answer)
    }

    /// Which model runs?
    ///
    /// # Errors
    /// The policy's denial, or its fault.
    pub async fn resolve(&self, ask: model::Ask, now_ms: u64) -> Result<model::Target, Refused> {
        let answer = self
            .model
            .decide(now_ms, |world, store, instance| {
                Box::pin(async move {
                    world
                        .0
                        .load(&mut *store, instance)?
                        .call_resolve(&mut *store, &ask)
                        .await
                })
            })
            .await?;
        let target = decided(self.sane(&self.model, answer)?)?;
        self.check(
            &self.model,
            !target.id.is_empty() && !target.model.is_empty(),
            "a target without a model",
        )?;
        Ok(target)
    }

    /// Which buckets does this request draw from?
    ///
    /// # Errors
    /// Only a fault.
    pub async fn quotas(&self, ask: rate_limit::Ask) -> Result<Vec<rate_limit::Quota>, Refused> {
        let answer = self
            .rate_limit
            .decide(ask.now_ms, |world, store, instance| {
                Box::pin(async move {
                    world
                        .0
                        .load(&mut *store, instance)?
                        .call_quotas(&mut *store, &ask)
                        .await
                })
            })
            .await?;
        Ok(answer)
    }

    /// May they call now, given what the buckets said?
    ///
    /// # Errors
    /// The policy's denial, or its fault.
    pub async fn admit(
        &self,
        ask: rate_limit::Ask,
        standings: Vec<rate_limit::Standing>,
    ) -> Result<Vec<super::Header>, Refused> {
        let answer = self
            .rate_limit
            .decide(ask.now_ms, |world, store, instance| {
                Box::pin(async move {
                    world
                        .0
                        .load(&mut *store, instance)?
                        .call_decide(&mut *store, &ask, &standings)
                        .await
                })
            })
            .await?;
        decided(self.sane(&self.rate_limit, answer)?)
    }

    /// Does the turn go on after this?
    ///
    /// # Errors
    /// Only a fault.
    pub async fn observe(
        &self,
        progress: tool_stop::Progress,
        event: tool_stop::Event,
        memo: Vec<u8>,
    ) -> Result<(tool_stop::Reaction, Vec<u8>), Fault> {
        self.tool_stop
            .decide(0, |world, store, instance| {
                Box::pin(async move {
                    world
                        .0
                        .load(&mut *store, instance)?
                        .call_observe(&mut *store, &progress, &event, &memo)
                        .await
                })
            })
            .await
    }

    fn withhold_secret(&self, request: &mut Request) {
        if !self.auth.grants_credential()
            && let Some(credential) = &mut request.credential
        {
            credential.secret = None;
        }
    }

    /// A denial must be something that can be sent.
    fn sane<W: World, T>(
        &self,
        policy: &Policy<W>,
        answer: Result<T, super::Denial>,
    ) -> Result<Result<T, super::Denial>, Fault> {
        if let Err(denial) = &answer {
            let status = denial.status;
            self.check(
                policy,
                (400..600).contains(&status),
                &format!("a denial with status {status}"),
            )?;
        }
        Ok(answer)
    }

    fn check<W: World>(&self, policy: &Policy<W>, sane: bool, found: &str) -> Result<(), Fault> {
        if sane {
            Ok(())
        } else {
            Err(policy.fault(FaultKind::Nonsense, found.to_owned()))
        }
    }
}

/// All that is wrong with a set of candidates.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
pub struct Refusals(pub Vec<Refusal>);

/// The generation that serves now, and how it is replaced.
pub struct Live {
    engine: Engine,
    current: ArcSwap<Generation>,
    /// Held while a replacement is prepared: each builds on what serves then.
    replacing: tokio::sync::Mutex<()>,
    refusals: Mutex<Vec<Refusal>>,
}

impl Live {
    /// Prepares the first generation.
    ///
    /// # Errors
    /// Everything that is wrong with the candidates: without a first generation nothing can serve.
    pub async fn start(engine: Engine, candidates: &[Candidate; 4]) -> Result<Self, Refusals> {
        let generation = prepare(&engine, candidates, None).await?;
        generation.announce(None);
        Ok(Self {
            engine,
            current: ArcSwap::from_pointee(generation),
            replacing: tokio::sync::Mutex::default(),
            refusals: Mutex::default(),
        })
    }

    /// Pins the generation for one request.
    #[must_use]
    pub fn current(&self) -> Arc<Generation> {
        self.current.load_full()
    }

    /// Prepares what changed and swaps it in; on refusal everything stays as it was. Answers the number that serves
    /// afterwards.
    ///
    /// # Errors
    /// All refusals.
    pub async fn replace(&self, candidates: &[Candidate; 4]) -> Result<u64, Refusals> {
        let _one_at_a_time = self.replacing.lock().await;
        let current = self.current();
        let unchanged = candidates
            .iter()
            .all(|candidate| current.digest(candidate.slot) == candidate.digest());
        if !unchanged {
            let next = prepare(&self.engine, candidates, Some(&current)).await?;
            self.current.store(Arc::new(next));
        }
        Ok(self.current().number())
    }

    /// What was wrong with the last candidates; empty when what lies in the folder is what serves.
    #[must_use]
    pub fn refusals(&self) -> Vec<Refusal> {
        self.refusals
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Notes what is wrong with the candidates, for health. Answers whether that is news.
    pub(super) fn note(&self, refusals: Vec<Refusal>) -> bool {
        let mut noted = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        let news = *noted != refusals;
        *noted = refusals;
        news
    }
}

impl Generation {
    /// Logs what serves from now on, where it differs from before.
    pub(super) fn announce(&self, before: Option<&Self>) {
        for (slot, status) in Slot::ALL.into_iter().zip(self.slots()) {
            if before.is_some_and(|before| before.digest(slot) == self.digest(slot)) {
                continue;
            }
            let about = status.about;
            tracing::info!(
                generation = self.number,
                slot = slot.name(),
                policy = %about.name,
                version = %about.version,
                file = %about.file,
                settings = %about.settings,
                instances = about.instances.name(),
                warm_because = about.warm_because.as_deref(),
                "policy serves"
            );
        }
    }

    fn digest(&self, slot: Slot) -> [u8; 32] {
        match slot {
            Slot::Auth => self.auth.digest(),
            Slot::Model => self.model.digest(),
            Slot::RateLimit => self.rate_limit.digest(),
            Slot::ToolStop => self.tool_stop.digest(),
        }
    }
}

async fn prepare(
    engine: &Engine,
    candidates: &[Candidate; 4],
    old: Option<&Generation>,
) -> Result<Generation, Refusals> {
    let [auth, model, rate_limit, tool_stop] = candidates;
    let (auth, model, rate_limit, tool_stop) = tokio::join!(
        one(engine, auth, old.map(|old| &old.auth)),
        one(engine, model, old.map(|old| &old.model)),
        one(engine, rate_limit, old.map(|old| &old.rate_limit)),
        one(engine, tool_stop, old.map(|old| &old.tool_stop)),
    );
    let number = old.map_or(1, |old| old.number + 1);
    match (auth, model, rate_limit, tool_stop) {
        (Ok(auth), Ok(model), Ok(rate_limit), Ok(tool_stop)) => Ok(Generation {
            number,
            auth,
            model,
            rate_limit,
            tool_stop,
        }),
        (auth, model, rate_limit, tool_stop) => Err(Refusals(
            [auth.err(), model.err(), rate_limit.err(), tool_stop.err()]
                .into_iter()
                .flatten()
                .collect(),
        )),
    }
}

/// Keeps the old policy where nothing about it changed.
async fn one<W: World>(
    engine: &Engine,
    candidate: &Candidate,
    old: Option<&Arc<Policy<W>>>,
) -> Result<Arc<Policy<W>>, Refusal> {
    match old {
        Some(old) if old.digest() == candidate.digest() => Ok(Arc::clone(old)),
        _ => Policy::prepare(engine, candidate).await,
    }
}
