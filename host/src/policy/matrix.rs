//! The matrix of one or two generations: what each caller may use at which endpoint, asked as requests would ask.
//!
//! `grouped` joins its cells to few lines.

mod grouped;

use std::collections::BTreeSet;

use super::bindings::{Caller, Credential, Request, rate_limit};
use super::engine::Engine;
use super::facts::Facts;
use super::fault::{Fault, Refusals};
use super::outcome::{Kind, Outcome};
use super::policies::{Policies, Seat, prepare};
use super::source::Source;
use super::steer::{SlotFiles, overlaid};
use super::world::{Authenticate, Catalog, Question, Quotas, Resolve};
use super::{Slot, limits};
use crate::quota::Memory;
pub use grouped::{Line, Lines, Meaning};

/// The most cells: each is up to four decisions for each generation.
const CELLS: usize = 200_000;
/// The name of a request without a key.
const ANONYMOUS: &str = "anonymous";

/// The callers, models and endpoints to ask about; what is empty comes from the policies.
#[derive(Debug, Clone, Default)]
pub struct Axes {
    /// Ids of keys in the settings; others stand for callers that are known already, without tenant and groups.
    pub callers: Vec<String>,
    /// Names of models, as clients use them.
    pub models: Vec<String>,
    /// Methods and paths, as `POST /v1/responses`.
    pub endpoints: Vec<(String, String)>,
    /// The time of the requests, in milliseconds since 1970.
    pub now_ms: u64,
}

/// A generation that is asked, and was prepared for that.
pub struct Asked(Policies);

/// A caller, as a request presents it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Presented {
    name: String,
    /// The fingerprints of its keys.
    keys: Vec<String>,
    /// The identity, if there is no key to ask about.
    known: bool,
}

/// One decision about a caller, a model and an endpoint, each by its place on the axes.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Cell {
    at: [usize; 3],
    outcomes: Vec<Outcome>,
}

/// Why there is no matrix.
#[derive(Debug, thiserror::Error)]
pub enum Unasked {
    /// A generation cannot serve.
    #[error(transparent)]
    Refused(#[from] Refusals),
    /// There are too many cells.
    #[error(
        "{0} callers, {1} models and {2} endpoints are more than {CELLS} decisions: name fewer with --callers, --models or --endpoints"
    )]
    TooMany(usize, usize, usize),
    /// There is nothing to ask about.
    #[error("there are no models: name some with --models")]
    NoModels,
}

impl Asked {
    /// Prepares the policies of a source, with these files in place of its own.
    ///
    /// # Errors
    /// Everything that a start would refuse.
    pub async fn prepare(
        engine: &Engine,
        (source, facts): (&Source, &Facts),
        files: [SlotFiles; Slot::COUNT],
        beside: Option<&Self>,
    ) -> Result<Self, Refusals> {
        let given = source.look(facts, &Default::default()).complete()?.given;
        let offer = source.offer(overlaid(given, files), facts)?;
        let old = beside.map(|Self(policies)| policies);
        Ok(Self(prepare(engine, &offer.candidates, old).await?))
    }

    async fn ask<Q: Question<World: Seat>>(&self, asked: &Q) -> Result<Q::Answer, Fault> {
        let policy = Q::World::of(&self.0);
        policy.decide(&asked.declared(policy.needs())).await.answer
    }

    /// The callers of its keys, and a request without one.
    fn callers(&self) -> Vec<Presented> {
        let mut callers = vec![Presented {
            name: ANONYMOUS.to_owned(),
            keys: Vec::new(),
            known: false,
        }];
        for (id, tenant, sha256) in self.0.auth.entries().known() {
            let name = match tenant {
                Some(tenant) => format!("{id} of {tenant}"),
                None => id.to_owned(),
            };
            let key = sha256.to_ascii_lowercase();
            match callers.iter_mut().find(|caller| caller.name == name) {
                Some(caller) => caller.keys.push(key),
                None => callers.push(Presented {
                    name,
                    keys: vec![key],
                    known: false,
                }),
            }
        }
        callers
    }

    /// The identity of a caller: the answer to the first of its keys that is right.
    async fn identify(
        &self,
        caller: &Presented,
        (method, path): &(String, String),
        now_ms: u64,
    ) -> Result<Caller, Outcome> {
        if caller.known {
            return Ok(Caller {
                id: caller.name.clone(),
                tenant: None,
                groups: Vec::new(),
            });
        }
        let keys = caller.keys.iter().map(Some);
        let none = caller.keys.is_empty().then_some(None);
        let mut refused = Outcome::admitted();
        for key in keys.chain(none) {
            let asked = Authenticate(request(method, path, key, now_ms));
            let answer = self.ask(&asked).await;
            refused = Outcome::of(&answer);
            if let Ok(Ok(caller)) = answer {
                return Ok(caller);
            }
        }
        Err(refused)
    }

    /// The decision about one request, by the policies in the order in which it meets them. Its buckets are full.
    async fn decide(
        &self,
        caller: Result<&Caller, &Outcome>,
        model: &str,
        path: &str,
        now_ms: u64,
    ) -> Outcome {
        let mut ask = rate_limit::Ask {
            client: "127.0.0.1".to_owned(),
            caller: None,
            endpoint: path.to_owned(),
            model: None,
            streaming: false,
            estimated_tokens: 0,
            now_ms,
        };
        if let Some(refused) = self.limited(ask.clone()).await {
            return refused;
        }
        let caller = match caller {
            Ok(caller) => caller.clone(),
            Err(refused) => return refused.clone(),
        };
        let resolve = Resolve {
            ask: super::model::Ask {
                caller: caller.clone(),
                requested: Some(model.to_owned()),
                effort: None,
            },
            now_ms,
        };
        let target = Outcome::of(&self.ask(&resolve).await);
        if target.kind != Kind::Answered {
            return target;
        }
        ask.caller = Some(caller);
        ask.model = Some(model.to_owned());
        self.limited(ask).await.unwrap_or(target)
    }

    /// The refusal of the rate-limit policy with full buckets, if it refuses.
    async fn limited(&self, ask: rate_limit::Ask) -> Option<Outcome> {
        let policy = &self.0.rate_limit;
        let asked = Quotas(ask);
        if !policy.is_asked(&asked) {
            return None;
        }
        // Buckets in memory are never unavailable.
        let admitted = policy.admit(&asked, &Memory::default()).await.ok()?;
        Some(limits::outcome(&admitted)).filter(|outcome| outcome.kind != Kind::Answered)
    }

    async fn models(&self, callers: &[Result<Caller, Outcome>], now_ms: u64) -> BTreeSet<String> {
        let mut models = BTreeSet::new();
        let known = callers.iter().flatten().cloned().map(Some);
        for caller in known.chain([None]) {
            let catalog = Catalog { caller, now_ms };
            if let Ok(cards) = self.ask(&catalog).await {
                models.extend(cards.iter().map(|card| card.id.clone()));
            }
        }
        models
    }
}

/// Asks one generation, or two, about each caller, model and endpoint.
///
/// # Errors
/// If there are too many of them, or no models.
pub async fn matrix(generations: &[Asked], axes: &Axes) -> Result<Lines, Unasked> {
    let callers = callers(generations, axes);
    let mut identities = Vec::new();
    for asked in generations {
        let mut own = Vec::new();
        for caller in &callers {
            for endpoint in &axes.endpoints {
                own.push(asked.identify(caller, endpoint, axes.now_ms).await);
            }
        }
        identities.push(own);
    }
    let mut models: BTreeSet<String> = axes.models.iter().cloned().collect();
    if axes.models.is_empty() {
        for (asked, own) in generations.iter().zip(&identities) {
            models.extend(asked.models(own, axes.now_ms).await);
        }
    }
    let models: Vec<String> = models.into_iter().collect();
    let endpoints = axes.endpoints.len();
    if callers.len() * models.len() * endpoints > CELLS {
        return Err(Unasked::TooMany(callers.len(), models.len(), endpoints));
    }
    if models.is_empty() {
        return Err(Unasked::NoModels);
    }
    let mut cells = Vec::new();
    for row in 0..callers.len() {
        for (column, model) in models.iter().enumerate() {
            for (place, (_, path)) in axes.endpoints.iter().enumerate() {
                let mut outcomes = Vec::with_capacity(generations.len());
                for (asked, own) in generations.iter().zip(&identities) {
                    let Some(caller) = own.get(row * endpoints + place) else {
                        continue;
                    };
                    let decided = asked.decide(caller.as_ref(), model, path, axes.now_ms);
                    outcomes.push(decided.await);
                }
                cells.push(Cell {
                    at: [row, column, place],
                    outcomes,
                });
            }
        }
    }
    let names = [
        callers.into_iter().map(|caller| caller.name).collect(),
        models,
        axes.endpoints
            .iter()
            .map(|(method, path)| format!("{method} {path}"))
            .collect(),
    ];
    Ok(Lines::of(names, &cells))
}

/// The callers that are asked about: those of both generations, or those that are named.
fn callers(generations: &[Asked], axes: &Axes) -> Vec<Presented> {
    let mut all: Vec<Presented> = Vec::new();
    for caller in generations.iter().flat_map(Asked::callers) {
        match all.iter_mut().find(|known| known.name == caller.name) {
            Some(known) => {
                let further = caller.keys.into_iter();
                known.keys.extend(further);
                known.keys.sort();
                known.keys.dedup();
            }
            None => all.push(caller),
        }
    }
    if axes.callers.is_empty() {
        return all;
    }
    let named = axes.callers.iter().flat_map(|name| {
        let of_tenant = format!("{name} of ");
        let is_it = |caller: &&Presented| {
            caller.name == *name || caller.name.starts_with(&of_tenant) && !caller.keys.is_empty()
        };
        let found: Vec<_> = all.iter().filter(is_it).cloned().collect();
        match found.is_empty() {
            false => found,
            true => vec![Presented {
                name: name.clone(),
                keys: Vec::new(),
                known: true,
            }],
        }
    });
    named.collect()
}

fn request(method: &str, path: &str, key: Option<&String>, now_ms: u64) -> Request {
    Request {
        id: "req_matrix".to_owned(),
        method: method.to_owned(),
        path: path.to_owned(),
        query: None,
        host: "localhost".to_owned(),
        client: "127.0.0.1".to_owned(),
        headers: Vec::new(),
        credential: key.map(|fingerprint| Credential {
            scheme: "Bearer".to_owned(),
            fingerprint: fingerprint.clone(),
            secret: None,
        }),
        now_ms,
    }
}
