//! The generation that serves, and its replacement by the next one.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::broadcast;

use super::Slot;
use super::canary::Place;
use super::candidate::Candidate;
use super::engine::Engine;
use super::facts::Facts;
use super::fault::{Refusal, Refusals};
use super::generation::Generation;
use super::guard::Guard;
use super::history::{Activated, Activation, Door};
use super::keeper::Keeper;
use super::life::Life;
use super::look::{FileSet, Look};
use super::notice::Notice;
use super::open_refusals::OpenRefusals;
use super::pin::Pin;
use super::policies::{Policies, prepare, try_all};
use super::replay::replay;
use super::report::Report;
use super::source::{Defaults, Source};
use super::trail::Trail;
use super::trust::Trust;

/// The most events that a listener may lag behind.
const LIVES: usize = 256;

/// The generation that serves now, and the means to replace it.
pub struct Live {
    pub(super) engine: Engine,
    current: ArcSwap<Generation>,
    /// Held for the moment of a swap.
    swapping: Mutex<()>,
    swaps: AtomicU64,
    /// Held while a replacement is prepared: each replacement builds on the generation that serves then.
    pub(super) replacing: tokio::sync::Mutex<()>,
    /// Held while the serving files are saved.
    keeping: tokio::sync::Mutex<()>,
    pub(super) refused: Mutex<OpenRefusals>,
    noted: Mutex<Noted>,
    pub(super) keeper: Keeper,
    pub(super) guard: Guard,
    /// The last decisions.
    pub(super) trail: Arc<Trail>,
    pub(super) source: Source,
    pub(super) facts: Facts,
    /// The canary that lasts.
    pub(super) canary: Place,
    pub(super) lives: broadcast::Sender<Life>,
    /// The number of times that the policy folder became worth another look without a change: policies were pinned, or promoted
    /// ones taken back.
    pub(super) pins: AtomicU64,
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
        let policies = prepare(&engine, candidates, None).await?;
        let entry = activation(&policies, Door::Start, None).alone();
        let trail = Arc::default();
        let generation = Generation::new(Arc::new(policies), &entry, trail);
        let (keeper, guard) = (Keeper::default(), Guard::new(Vec::new()));
        let source = Source::new(None, Defaults::default());
        let home = (source, Facts::default());
        Ok(Self::of(engine, generation, (keeper, guard), home))
    }

    /// As [`Live::start`] with prepared policies, whose activation is recorded.
    pub(super) async fn begin(
        engine: Engine,
        (source, facts): (&Source, &Facts),
        guard: Guard,
        first: First,
    ) -> Self {
        let First {
            door,
            policies,
            files,
            pin,
        } = first;
        guard.begin(files, pin);
        let keeper = Keeper::default();
        let activation = activation(&policies, door, None);
        let entry = keeper.record(source, activation).await;
        let trail = Arc::default();
        let generation = Generation::new(Arc::new(policies), &entry, trail);
        let home = (source.clone(), facts.clone());
        Self::of(engine, generation, (keeper, guard), home)
    }

    fn of(
        engine: Engine,
        generation: Generation,
        (keeper, guard): (Keeper, Guard),
        (source, facts): (Source, Facts),
    ) -> Self {
        generation.announce(None);
        let trail = Arc::clone(generation.trail());
        Self {
            engine,
            current: ArcSwap::from_pointee(generation),
            swapping: Mutex::default(),
            swaps: AtomicU64::new(0),
            replacing: tokio::sync::Mutex::default(),
            keeping: tokio::sync::Mutex::default(),
            refused: Mutex::default(),
            noted: Mutex::default(),
            keeper,
            guard,
            trail,
            source,
            facts,
            canary: Place::default(),
            lives: broadcast::channel(LIVES).0,
            pins: AtomicU64::new(0),
        }
    }

    /// Returns the generation that a request holds until it ends.
    #[must_use]
    pub fn current(&self) -> Arc<Generation> {
        self.current.load_full()
    }

    /// The keys whose signatures count for files that come.
    #[must_use]
    pub fn trust(&self) -> &Trust {
        self.source.trust()
    }

    /// The number of generations of this process that replaced another.
    #[must_use]
    pub fn swaps(&self) -> u64 {
        self.swaps.load(Ordering::Relaxed)
    }

    /// How often the policies of each slot called imports that policies may not use: slot, import, number of calls.
    #[must_use]
    pub fn denied_imports(&self) -> Vec<(&'static str, &'static str, u64)> {
        let counts = |slot: Slot| {
            let counts = self.engine.runtime.denied(slot).counts();
            counts.map(|(import, calls)| (slot.name(), import, calls))
        };
        Slot::ALL.into_iter().flat_map(counts).collect()
    }

    /// Makes `next` serve, given what serves, or nothing if it is none. Nothing else is swapped meanwhile. Returns whether it serves.
    pub(super) fn swap(&self, next: impl FnOnce(&Generation) -> Option<Generation>) -> bool {
        self.still(|before| {
            let Some(next) = next(before) else {
                return false;
            };
            self.current.store(Arc::new(next));
            self.swaps.fetch_add(1, Ordering::Relaxed);
            self.refused.lock().settled();
            true
        })
    }

    /// Acts on what serves while nothing is swapped.
    pub(super) fn still<T>(&self, act: impl FnOnce(&Generation) -> T) -> T {
        let _moment = self.swapping.lock();
        act(&self.current())
    }

    /// A generation that follows `before`. Numbers never fall, whatever was swapped meanwhile.
    pub(super) fn after(
        &self,
        before: &Generation,
        policies: Arc<Policies>,
        mut entry: Activated,
    ) -> Generation {
        entry.number = entry.number.max(before.number().saturating_add(1));
        Generation::new(policies, &entry, Arc::clone(&self.trail))
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
            .all(|candidate| current.policies().slot_digest(candidate.slot) == candidate.digest());
        if !unchanged {
            let next = prepare(&self.engine, candidates, Some(current.policies())).await?;
            let entry = activation(&next, Door::Folder, Some(&current)).alone();
            self.swap(|before| Some(self.after(before, Arc::new(next), entry)));
        }
        Ok(self.current().number())
    }

    /// Decides the last decisions again with other policies.
    pub(super) async fn replay(
        &self,
        old: &Arc<Policies>,
        next: &Arc<Policies>,
        longest: Duration,
    ) -> Report {
        let (old, next) = (Arc::clone(old), Arc::clone(next));
        replay(self.trail.events(), old, next, longest).await
    }

    /// Warnings about the serving files, and about serving files that cannot be saved for the next start.
    #[must_use]
    pub fn notices(&self) -> Vec<Notice> {
        let noted = self.noted.lock();
        let mut notices = self.keeper.notices();
        notices.extend(noted.all().cloned());
        notices
    }

    /// Saves the serving files, so that the next start can fall back on them. Returns the path to which a damaged list of those
    /// before was moved, if there was one.
    pub(super) async fn keep(&self, source: &Source) -> Option<PathBuf> {
        // Whatever was swapped meanwhile: the last save is of what serves.
        let _one_at_a_time = self.keeping.lock().await;
        let serving = self.guard.serving()?;
        self.keeper.keep(source, serving).await
    }

    /// Tries the save again, if it failed.
    pub(super) async fn keep_again(&self, source: &Source) {
        let _one_at_a_time = self.keeping.lock().await;
        self.keeper.record_again(source).await;
        let is_refused = |digest| self.guard.state().rollout.verdict(digest).is_some();
        self.keeper.refuse_again(source, is_refused).await;
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

    /// As [`Live::notice`], for those about the serving files alone.
    pub(super) fn notice_serving(&self, notices: Vec<Notice>) {
        let folder = self.noted.lock().folder.clone();
        self.notice(Some(notices), folder);
    }
}

/// The first generation.
pub(super) struct First {
    pub(super) door: Door,
    pub(super) policies: Policies,
    pub(super) files: FileSet,
    pub(super) pin: Option<Pin>,
}

/// As [`try_all`], and refuses policies that may not serve.
pub(super) async fn offered(
    engine: &Engine,
    guard: &Guard,
    look: &Look,
) -> (Option<Policies>, Vec<Refusal>) {
    let (policies, mut refusals) = try_all(engine, look, None).await;
    let digest = policies.as_ref().map(Policies::digest);
    let verdict = digest.and_then(|digest| Some((digest, guard.verdict(digest, &look.rules)?)));
    match verdict {
        Some((digest, verdict)) => {
            refusals.push(verdict.refusal(digest));
            (None, refusals)
        }
        None => (policies, refusals),
    }
}

pub(super) fn activation(
    policies: &Policies,
    door: Door,
    before: Option<&Generation>,
) -> Activation {
    Activation {
        door,
        by: None,
        digest: policies.digest(),
        taken_back: None,
        files: policies.file_names(),
        at_least: before.map_or(1, |before| before.number().saturating_add(1)),
    }
}

/// The activation of what serves, after another one that was written down and did not come about.
pub(super) fn activation_again(serving: &Generation) -> Activation {
    Activation {
        at_least: serving.number(),
        ..activation(serving.policies(), serving.door(), None)
    }
}
