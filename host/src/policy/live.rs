//! The generation that serves, and how the next one replaces it.

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use tokio::task::JoinError;

use super::component::{Candidate, Policy};
use super::engine::Engine;
use super::fault::{Problem, Refusal};
use super::generation::Generation;
use super::given::Given;
use super::notice::Notice;
use super::source::{Facts, Offer, Source};
use super::trial::World;

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
    notices: Mutex<Vec<Notice>>,
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
            notices: Mutex::default(),
        })
    }

    /// Prepares what lies in the folder, and throws it away.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub async fn check(
        engine: Engine,
        source: &Source,
        facts: &Facts,
    ) -> Result<Vec<Notice>, Refusals> {
        let offer = offer(source, facts).await?;
        prepare(&engine, &offer.candidates, None).await?;
        Ok(offer.notices)
    }

    /// Prepares the first generation: of what lies in the folder or, where that is refused, of what served last. A
    /// gateway that went on while somebody broke the folder must not fail at its next start.
    ///
    /// # Errors
    /// Everything that is wrong with the folder, if nothing served before.
    pub async fn resume(engine: Engine, source: &Source, facts: &Facts) -> Result<Self, Refusals> {
        let refusals = match offer(source, facts).await {
            Ok(offer) => match Self::start(engine.clone(), &offer.candidates).await {
                Ok(live) => {
                    live.notice(offer.notices);
                    keep(source, offer.given).await;
                    return Ok(live);
                }
                Err(refusals) => refusals,
            },
            Err(refusals) => refusals,
        };
        let last_good = read_off(source, facts, Source::last_good).await;
        let last_good = match last_good.unwrap_or_else(|error| Some(Err(error.to_string()))) {
            Some(Ok(offer)) => Self::start(engine, &offer.candidates)
                .await
                .map_err(|refusals| refusals.to_string()),
            Some(Err(problem)) => Err(problem),
            None => return Err(refusals),
        };
        match last_good {
            Ok(live) => {
                for refusal in &refusals.0 {
                    tracing::error!("policy refused, the last good ones serve: {refusal}");
                }
                live.note(refusals.0);
                Ok(live)
            }
            Err(problem) => {
                tracing::error!(%problem, "the last good policies cannot serve either");
                Err(refusals)
            }
        }
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

    /// What is not wrong with the files that serve, but hardly meant.
    #[must_use]
    pub fn notices(&self) -> Vec<Notice> {
        self.notices
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Logs notices that are news, and keeps them for health.
    pub(super) fn notice(&self, notices: Vec<Notice>) {
        let mut noted = self.notices.lock().unwrap_or_else(PoisonError::into_inner);
        for notice in notices.iter().filter(|notice| !noted.contains(notice)) {
            tracing::warn!("{notice}");
        }
        *noted = notices;
    }

    /// Notes what is wrong with the candidates, for health. Answers whether that is news.
    pub(super) fn note(&self, refusals: Vec<Refusal>) -> bool {
        let mut noted = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        let news = *noted != refusals;
        *noted = refusals;
        news
    }
}

/// Reads what lies in the folder.
async fn offer(source: &Source, facts: &Facts) -> Result<Offer, Refusals> {
    let read =
        |source: &Source, facts: &Facts| source.offer(facts, &source.before().unwrap_or_default());
    let read = read_off(source, facts, read).await;
    read.unwrap_or_else(|error| {
        Err(Refusals(vec![Refusal {
            file: "POLICY_DIR".to_owned(),
            slot: None,
            problem: Problem::Internal(error.to_string()),
        }]))
    })
}

/// Reads on a thread that may wait for a disk.
async fn read_off<T: Send + 'static>(
    source: &Source,
    facts: &Facts,
    read: impl FnOnce(&Source, &Facts) -> T + Send + 'static,
) -> Result<T, JoinError> {
    let (source, facts) = (source.clone(), facts.clone());
    tokio::task::spawn_blocking(move || read(&source, &facts)).await
}

/// Remembers what serves, so that the next start has something to fall back on. A state folder that cannot be written
/// is no reason not to serve.
pub(super) async fn keep(source: &Source, given: [Given; 4]) {
    let source = source.clone();
    let kept = tokio::task::spawn_blocking(move || source.keep(&given)).await;
    if let Err(error) = kept.map_err(std::io::Error::other).flatten() {
        tracing::warn!(%error, "what serves cannot be remembered: a start whose policy folder is refused would fail");
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
            observer: None,
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
