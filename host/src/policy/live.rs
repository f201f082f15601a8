//! The generation that serves, and its replacement by the next one.

use std::iter;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::time::timeout;

use super::Slot;
use super::candidate::Candidate;
use super::component::Policy;
use super::engine::Engine;
use super::facts::Facts;
use super::fault::{Problem, Refusal, Refusals};
use super::generation::Generation;
use super::given::Given;
use super::keeper::Keeper;
use super::notice::Notice;
use super::source::{Look, Source};
use super::trial::Attempt;

/// Preparing a policy that takes longer than this is logged: it is compiled, because it is not in the cache.
const SLOW: Duration = Duration::from_secs(1);

/// The generation that serves now, and the means to replace it.
pub struct Live {
    engine: Engine,
    current: ArcSwap<Generation>,
    /// Held while a replacement is prepared: each replacement builds on the generation that serves then.
    replacing: tokio::sync::Mutex<()>,
    refusals: Mutex<Vec<Refusal>>,
    noted: Mutex<Noted>,
    keeper: Keeper,
}

/// Notices that are no refusals.
#[derive(Debug, Default, PartialEq)]
struct Noted {
    /// Notices about the serving files.
    serving: Vec<Notice>,
    /// Notices about other files in the folder.
    folder: Vec<Notice>,
}

impl Noted {
    fn all(&self) -> impl Iterator<Item = &Notice> {
        self.serving.iter().chain(&self.folder)
    }
}

impl Live {
    /// Prepares the first generation.
    ///
    /// # Errors
    /// All problems of the candidates: without a first generation nothing can serve.
    pub async fn start(
        engine: Engine,
        candidates: &[Candidate; Slot::COUNT],
    ) -> Result<Self, Refusals> {
        let generation = prepare(&engine, candidates, None).await?;
        Ok(Self::of(engine, generation))
    }

    fn of(engine: Engine, generation: Generation) -> Self {
        generation.announce(None);
        Self {
            engine,
            current: ArcSwap::from_pointee(generation),
            replacing: tokio::sync::Mutex::default(),
            refusals: Mutex::default(),
            noted: Mutex::default(),
            keeper: Keeper::default(),
        }
    }

    /// Prepares the folder's policies and discards them: returns all warnings and all refusals.
    pub async fn check(
        engine: Engine,
        source: &Source,
        facts: &Facts,
    ) -> (Vec<Notice>, Vec<Refusal>) {
        let (look, unknown) = match first_look(source, facts).await {
            Ok(found) => found,
            Err(refusals) => return (Vec::new(), refusals),
        };
        let (_, refusals) = try_all(&engine, &look, None).await;
        let mut notices: Vec<_> = unknown.into_iter().chain(look.notices.all()).collect();
        if !refusals.is_empty() {
            match prepare_last_good(&engine, source, facts).await {
                Ok(found) => notices.extend(found.map(|(since, ..)| going_on(since))),
                Err(problem) => notices.push(useless(&problem)),
            }
        }
        (notices, refusals)
    }

    /// Prepares the first generation from the folder or, if the folder is refused, from the files that served last. A gateway
    /// that kept serving after the folder was broken must not fail at its next start.
    ///
    /// # Errors
    /// All problems of the folder, if no files that served before can serve.
    pub async fn resume(engine: Engine, source: &Source, facts: &Facts) -> Result<Self, Refusals> {
        let (look, unknown) = first_look(source, facts).await.map_err(Refusals)?;
        let (prepared, refusals) = try_all(&engine, &look, None).await;
        let notices = look.notices.clone();
        if let (Some(generation), Ok(offer)) = (prepared, look.complete()) {
            let live = Self::of(engine, generation);
            live.notice(Some(notices.settings), notices.unread);
            let aside = live.keeper.keep(source, offer.given).await;
            if let Some(notice) = unknown {
                live.keeper.tell_of_past(notice, aside);
            }
            return Ok(live);
        }
        match prepare_last_good(&engine, source, facts).await {
            Ok(None) => Err(Refusals(refusals)),
            Ok(Some((since, generation, serving))) => {
                let live = Self::of(engine, generation);
                let told = humantime::format_rfc3339_seconds(since);
                for refusal in &refusals {
                    tracing::error!(since = %told, "policy refused, the last good ones serve: {refusal}");
                }
                live.note(refusals);
                let serving = iter::once(going_on(since)).chain(serving).collect();
                live.notice(Some(serving), notices.all());
                Ok(live)
            }
            Err(problem) => {
                tracing::error!("{}", useless(&problem));
                Err(Refusals(refusals))
            }
        }
    }

    /// Returns the generation that a request holds until it ends.
    #[must_use]
    pub fn current(&self) -> Arc<Generation> {
        self.current.load_full()
    }

    /// Prepares the candidates that changed and swaps them in; on refusal nothing changes. Returns the number of the generation
    /// that serves afterwards.
    ///
    /// # Errors
    /// All refusals.
    pub async fn replace(&self, candidates: &[Candidate; Slot::COUNT]) -> Result<u64, Refusals> {
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

    /// As [`Live::replace`], with the result of a look at the folder: all its mistakes are reported.
    pub(super) async fn take(&self, look: &Look) -> Result<u64, Refusals> {
        let _one_at_a_time = self.replacing.lock().await;
        let current = self.current();
        let serves = |candidate: &Option<Candidate>| {
            let candidate = candidate.as_ref();
            candidate.is_some_and(|new| current.digest(new.slot) == new.digest())
        };
        if !look.refusals.is_empty() || !look.candidates.iter().all(serves) {
            let (next, refusals) = try_all(&self.engine, look, Some(&current)).await;
            let next = next.ok_or(Refusals(refusals))?;
            self.current.store(Arc::new(next));
        }
        Ok(self.current().number())
    }

    /// The refusals of the last candidates; empty if the folder's files are the ones that serve.
    #[must_use]
    pub fn refusals(&self) -> Vec<Refusal> {
        self.refusals.lock().clone()
    }

    /// Warnings about the serving files, and about serving files that cannot be saved for the next start.
    #[must_use]
    pub fn notices(&self) -> Vec<Notice> {
        let noted = self.noted.lock();
        let mut notices = self.keeper.notices();
        notices.extend(noted.all().cloned());
        notices
    }

    /// Saves the serving files, so that the next start can fall back on them.
    pub(super) async fn keep(&self, source: &Source, given: [Given; Slot::COUNT]) {
        self.keeper.keep(source, given).await;
    }

    /// Tries the save again, if it failed.
    pub(super) async fn keep_again(&self, source: &Source) {
        self.keeper.keep_again(source).await;
    }

    /// Logs new notices, and keeps all for health. `serving` replaces the notices about the serving files, `None` leaves them;
    /// `folder` has those about other files in the folder.
    pub(super) fn notice(&self, serving: Option<Vec<Notice>>, mut folder: Vec<Notice>) {
        let mut noted = self.noted.lock();
        let serving = serving.unwrap_or_else(|| noted.serving.clone());
        folder.retain(|notice| !serving.contains(notice));
        let next = Noted { serving, folder };
        let is_news = |notice: &&Notice| noted.all().all(|known| known != *notice);
        for notice in next.all().filter(is_news) {
            tracing::warn!("{notice}");
        }
        *noted = next;
    }

    /// Keeps the refusals of the candidates, for health. Returns whether they changed.
    pub(super) fn note(&self, refusals: Vec<Refusal>) -> bool {
        let mut noted = self.refusals.lock();
        let news = *noted != refusals;
        *noted = refusals;
        news
    }
}

/// The notice that files of an earlier run serve, since the folder is refused.
fn going_on(since: SystemTime) -> Notice {
    let since = humantime::format_rfc3339_seconds(since);
    Notice {
        file: "POLICY_DIR".to_owned(),
        what: format!(
            "it is refused, and the last good policies serve instead: those that served since {since}"
        ),
    }
}

fn useless(problem: &str) -> Notice {
    Notice {
        file: "PROXY_STATE_DIR".to_owned(),
        what: format!("the last good policies cannot serve either: {problem}"),
    }
}

async fn first_look(
    source: &Source,
    facts: &Facts,
) -> Result<(Look, Option<Notice>), Vec<Refusal>> {
    let (source, facts) = (source.clone(), facts.clone());
    let looked = tokio::task::spawn_blocking(move || source.first_look(&facts)).await;
    // Only a defect of the gateway, or the end of the runtime, keeps it from completing.
    looked.map_err(|error| {
        vec![Refusal {
            file: "POLICY_DIR".to_owned(),
            slot: None,
            problem: Problem::Internal(error.to_string()),
        }]
    })
}

/// Reads and prepares the files that served last: since when they served, the generation, and the notices about it. `None` if
/// nothing was saved.
async fn prepare_last_good(
    engine: &Engine,
    source: &Source,
    facts: &Facts,
) -> Result<Option<(SystemTime, Generation, Vec<Notice>)>, String> {
    let (source, facts) = (source.clone(), facts.clone());
    let read = tokio::task::spawn_blocking(move || source.last_good(&facts)).await;
    let Some((since, offer)) = read.map_err(|error| error.to_string())?? else {
        return Ok(None);
    };
    let prepared = prepare(engine, &offer.candidates, None).await;
    let generation = prepared.map_err(|refusals| refusals.to_string())?;
    Ok(Some((since, generation, offer.notices.settings)))
}

/// Prepares the candidates of a look at the folder, and collects all refusals: one slot's refusal does not hide another's.
async fn try_all(
    engine: &Engine,
    look: &Look,
    old: Option<&Generation>,
) -> (Option<Generation>, Vec<Refusal>) {
    let candidates = look.candidates.each_ref().map(Option::as_ref);
    let mut refusals = look.refusals.clone();
    match prepare_each(engine, candidates, old).await {
        Ok(generation) => (generation.filter(|_| refusals.is_empty()), refusals),
        Err(Refusals(further)) => {
            refusals.extend(further);
            (None, refusals)
        }
    }
}

async fn prepare(
    engine: &Engine,
    candidates: &[Candidate; Slot::COUNT],
    old: Option<&Generation>,
) -> Result<Generation, Refusals> {
    let prepared = prepare_each(engine, candidates.each_ref().map(Some), old).await?;
    prepared.ok_or_else(|| Refusals(Vec::new()))
}

/// Prepares the candidates; returns a generation if all four slots have one.
async fn prepare_each(
    engine: &Engine,
    candidates: [Option<&Candidate>; Slot::COUNT],
    old: Option<&Generation>,
) -> Result<Option<Generation>, Refusals> {
    let [auth, model, rate_limit, tool_stop] = candidates;
    let (auth, model, rate_limit, tool_stop) = tokio::join!(
        one(engine, auth, old.map(|old| &old.auth)),
        one(engine, model, old.map(|old| &old.model)),
        one(engine, rate_limit, old.map(|old| &old.rate_limit)),
        one(engine, tool_stop, old.map(|old| &old.tool_stop)),
    );
    let number = old.map_or(1, |old| old.number + 1);
    match (auth, model, rate_limit, tool_stop) {
        (Ok(Some(auth)), Ok(Some(model)), Ok(Some(rate_limit)), Ok(Some(tool_stop))) => {
            Ok(Some(Generation {
                number,
                auth,
                model,
                rate_limit,
                tool_stop,
                observer: None,
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
