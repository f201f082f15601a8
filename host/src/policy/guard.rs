//! Guards new generations: on probation the policies before stand by, and serve again if the new ones cannot decide.

use std::future::pending;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::mpsc;

use super::candidates::{Past, Ready, Shadowed, Shelf};
use super::digest::Digest;
use super::fault::Refusal;
use super::generation::Generation;
use super::last_good::Serving;
use super::look::FileSet;
use super::pin::Pin;
use super::policies::Policies;
use super::probation::{Blame, OnProbation, Probation};
use super::report::Report;
use super::rollout::{Input, Next, Output, Rollout, Seen, Stage};
use super::rules::{CanaryStep, Gate, Own, Rules, Steps};
use super::shadow::{Glance, Shadow};
use super::unsteered::Unsteered;
use super::verdict::Verdict;

/// The rules of new generations, applied to what serves.
pub(super) struct Guard {
    pub(super) began: Instant,
    state: Mutex<State>,
    reports: mpsc::Sender<Blame>,
    unread: tokio::sync::Mutex<mpsc::Receiver<Blame>>,
    taken_back: AtomicU64,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) rollout: Rollout,
    /// The serving files, and the notices about them.
    serving: Option<FileSet>,
    before: Option<Standby>,
    pub(super) shelf: Shelf,
    /// The operator who pinned the serving policies.
    pub(super) pin: Option<Pin>,
    /// The rules of the policy folder.
    pub(super) rules: Rules,
    /// The newest policies of the folder, if they take steps before they serve.
    pub(super) change: Option<Change>,
}

/// Policies of the folder that do not serve yet.
pub(super) struct Change {
    pub(super) digest: Digest,
    pub(super) steps: Steps,
}

/// The end of a candidate's shadow, or of the canary that it began by itself.
pub(super) struct Over {
    pub(super) digest: Digest,
    pub(super) stage: Stage,
    pub(super) next: Next,
}

impl State {
    /// Remembers what served, and forgets the candidates that were made for it.
    fn retire(&mut self, before: &Generation, files: Option<&FileSet>) {
        self.shelf.clear();
        if let Some(files) = files {
            self.shelf.retire(Past {
                policies: Arc::clone(before.policies()),
                files: files.clone(),
            });
        }
    }

    pub(super) fn take(&mut self, digest: Digest, now: Duration) -> Option<Ready> {
        self.rollout.step(now, Input::Dropped { digest });
        self.shelf.take(digest)
    }

    fn has_candidate(&mut self, digest: Digest, own: &Own) -> Result<bool, Unsteered> {
        match self.shelf.candidate(digest) {
            Some(known) if known.own == *own => Ok(true),
            Some(known) if known.is_on_trial() => Err(Unsteered::OnTrial(digest.short())),
            _ => Ok(false),
        }
    }

    /// Ends the probation, if there is one. Returns the policies that stood by.
    fn dismiss(&mut self) -> Option<Standby> {
        let before = self.before.take()?;
        before.probation.end();
        Some(before)
    }
}

/// The place of a candidate that was offered.
pub(super) enum Put {
    /// It was there before, and stays as it is.
    Known,
    /// It is there from now on, maybe in place of another.
    Added { evicted: Option<Digest> },
}

/// The way in which policies come to serve.
pub(super) struct Arrival {
    pub(super) files: FileSet,
    pub(super) rules: Rules,
    /// The reports that were seen before.
    pub(super) known: Vec<Report>,
    /// The operator who pins them, if one does.
    pub(super) pin: Option<Pin>,
}

/// Policies that served before, and can again at once.
pub(super) struct Standby {
    pub(super) policies: Arc<Policies>,
    pub(super) files: Option<FileSet>,
    pin: Option<Pin>,
    /// Of the policies after them.
    probation: Arc<Probation>,
}

impl Guard {
    /// Goes on with the verdicts of earlier runs.
    pub(super) fn new(refused: Vec<(Digest, Verdict)>) -> Self {
        let (reports, unread) = Probation::channel();
        Self {
            began: Instant::now(),
            state: Mutex::new(State {
                rollout: Rollout::new(refused),
                ..State::default()
            }),
            reports,
            unread: tokio::sync::Mutex::new(unread),
            taken_back: AtomicU64::new(0),
        }
    }

    /// Remembers the files of the first generation, and who pinned them.
    pub(super) fn begin(&self, files: FileSet, pin: Option<Pin>) {
        let mut state = self.state.lock();
        state.serving = Some(files);
        state.pin = pin;
    }

    /// The time of the state machine.
    pub(super) fn now(&self) -> Duration {
        self.began.elapsed()
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// The serving files, and who pinned them.
    pub(super) fn serving(&self) -> Option<Serving> {
        let state = self.state.lock();
        let files = state.serving.as_ref()?;
        Some(Serving {
            given: files.given.clone(),
            digest: files.digest,
            pin: state.pin.clone(),
        })
    }

    /// Why policies may not serve, unless the operator accepts them.
    pub(super) fn verdict(&self, digest: Digest, rules: &Rules) -> Option<Verdict> {
        let state = self.state.lock();
        let verdict = state.rollout.verdict(digest)?;
        (!rules.accepts(digest)).then(|| verdict.clone())
    }

    /// Refuses policies from now on. Returns whether that is news.
    pub(super) fn refuse(&self, digest: Digest, verdict: &Verdict) -> bool {
        let mut state = self.state.lock();
        let is_news = state.rollout.verdict(digest) != Some(verdict);
        let verdict = verdict.clone();
        let input = Input::Refused { digest, verdict };
        state.rollout.step(self.began.elapsed(), input);
        is_news
    }

    /// Puts a generation that replaces `before` on probation, as the rules say.
    pub(super) fn activate(
        &self,
        next: Generation,
        before: &Generation,
        arrival: Arrival,
    ) -> Generation {
        let digest = next.digest();
        let Arrival {
            files,
            mut rules,
            known,
            pin: pinned,
        } = arrival;
        if rules.accepts(digest) {
            // The operator wants them, whatever they do.
            rules.probation = Duration::ZERO;
        }
        let mut state = self.state.lock();
        let served = state.serving.replace(files);
        state.retire(before, served.as_ref());
        // Policies that are on probation themselves are nothing to go back to.
        let (policies, files, pin) = match state.dismiss() {
            Some(kept) => (kept.policies, kept.files, kept.pin),
            None => (Arc::clone(before.policies()), served, state.pin.clone()),
        };
        state.pin = pinned;
        state.rollout.step(
            self.began.elapsed(),
            Input::Activated {
                digest,
                before: policies.digest(),
                probation: rules.probation,
                max_denials: rules.max_denials,
            },
        );
        if state.rollout.on_probation_until().is_none() {
            return next;
        }
        let reports = self.reports.clone();
        let probation = Probation::new(digest, Arc::clone(&policies), &rules, reports);
        if rules.max_denials.is_some()
            && let Err(error) = probation.count_denials(next.trail(), next.policies(), &known)
        {
            tracing::error!(%error, "denials are not compared with those before");
        }
        let probation = Arc::new(probation);
        state.before = Some(Standby {
            policies,
            files,
            pin,
            probation: Arc::clone(&probation),
        });
        next.on_probation(probation)
    }

    /// Waits until policies did not decide as those before.
    pub(super) async fn blamed(&self) -> Blame {
        match self.unread.lock().await.recv().await {
            Some(blame) => blame,
            None => pending().await,
        }
    }

    /// The policies that serve again in place of those that are blamed, if the rules say so.
    pub(super) fn take_back(&self, blame: &Blame) -> Option<Standby> {
        let mut state = self.state.lock();
        let input = Input::Blamed {
            digest: blame.digest,
            charge: blame.charge,
            why: blame.why(),
        };
        let output = state.rollout.step(self.began.elapsed(), input);
        let Some(Output::TakeBack { .. }) = output else {
            return None;
        };
        let before = state.before.take()?;
        before.probation.end();
        state.serving.clone_from(&before.files);
        state.pin.clone_from(&before.pin);
        state.shelf.clear();
        self.taken_back.fetch_add(1, Ordering::Relaxed);
        Some(before)
    }

    /// Ends the probation of the serving policies if the operator accepts them now, or wants none. Returns whether there was one.
    pub(super) fn accept(&self, serving: Digest, rules: &Rules) -> bool {
        if !rules.accepts(serving) && !rules.probation.is_zero() {
            return false;
        }
        let mut state = self.state.lock();
        let input = Input::Accepted { digest: serving };
        let kept = state.rollout.step(self.began.elapsed(), input);
        if kept.is_some() {
            state.dismiss();
        }
        kept.is_some()
    }

    /// Lets the policies before go, if the probation is over. Returns the digest of those that were on probation.
    pub(super) fn look(&self) -> Option<Digest> {
        let mut state = self.state.lock();
        match state.rollout.step(self.began.elapsed(), Input::Looked) {
            Some(Output::Keep(digest)) => {
                state.dismiss();
                Some(digest)
            }
            _ => None,
        }
    }

    /// The end of the probation, if there is one.
    pub(super) fn on_probation_until(&self) -> Option<SystemTime> {
        let until = self.state.lock().rollout.on_probation_until()?;
        Some(SystemTime::now() + until.saturating_sub(self.began.elapsed()))
    }

    /// The probation, if there is one.
    pub(super) fn on_probation(&self) -> Option<OnProbation> {
        let until = self.on_probation_until()?;
        let state = self.state.lock();
        let before = state.before.as_ref()?;
        Some(before.probation.status(until))
    }

    /// How many generations were taken back.
    pub(super) fn taken_back(&self) -> u64 {
        self.taken_back.load(Ordering::Relaxed)
    }
}

/// The candidates.
impl Guard {
    /// Whether a candidate is there already, with the same rules.
    ///
    /// # Errors
    /// If it is on trial with others.
    pub(super) fn has_candidate(&self, digest: Digest, own: &Own) -> Result<bool, Unsteered> {
        self.state.lock().has_candidate(digest, own)
    }

    /// Keeps a candidate that was made for what serves now.
    ///
    /// # Errors
    /// If it is on trial with other rules.
    pub(super) fn put(&self, ready: Ready) -> Result<Put, Unsteered> {
        let mut state = self.state.lock();
        let digest = ready.policies.digest();
        if state.has_candidate(digest, &ready.own)? {
            return Ok(Put::Known);
        }
        let now = self.began.elapsed();
        let evicted = state.shelf.put(ready);
        if let Some(digest) = evicted {
            state.rollout.step(now, Input::Dropped { digest });
        }
        state.rollout.step(now, Input::Prepared { digest });
        Ok(Put::Added { evicted })
    }

    /// Whether there is a candidate of this digest.
    pub(super) fn knows(&self, digest: Digest) -> bool {
        self.state.lock().shelf.candidate(digest).is_some()
    }

    /// Takes a candidate away.
    pub(super) fn take(&self, digest: Digest) -> Option<Ready> {
        self.state.lock().take(digest, self.now())
    }

    /// Puts a candidate in shadow.
    ///
    /// # Errors
    /// If it is gone, or another one is in shadow.
    pub(super) fn shadow(
        &self,
        digest: Digest,
        (gate, canary): (Gate, Option<CanaryStep>),
        start: impl FnOnce(Arc<Policies>) -> io::Result<Shadow>,
    ) -> Result<(), Unsteered> {
        let mut state = self.state.lock();
        if let Some(other) = state.rollout.in_shadow() {
            return Err(Unsteered::InShadow(other.short()));
        }
        let ready = state.shelf.candidate(digest).ok_or(Unsteered::Stale)?;
        let shadow = start(Arc::clone(&ready.policies))?;
        ready.shadow = Some(Shadowed::Lasts(shadow));
        let input = Input::Shadowed {
            digest,
            gate,
            canary,
        };
        state.rollout.step(self.began.elapsed(), input);
        Ok(())
    }

    /// Looks at what a candidate in shadow has shown. Returns how it ended, if it is over now.
    pub(super) fn seen(&self, digest: Digest, seen: Seen, glance: &Glance<'_>) -> Option<Over> {
        let mut state = self.state.lock();
        let output = state
            .rollout
            .step(self.began.elapsed(), Input::Seen { digest, seen });
        let Some(Output::Unshadow { next, .. }) = output else {
            return None;
        };
        let stage = state.rollout.stage(digest)?.clone();
        if let Some(ready) = state.shelf.candidate(digest) {
            ready.shadow = Some(Shadowed::Over(glance.report()));
            if let Stage::Failed(_) = stage {
                ready.canary = None;
            }
        }
        Some(Over {
            digest,
            stage,
            next,
        })
    }

    /// The rules of the policy folder from now on.
    pub(super) fn rule(&self, rules: &Rules) {
        self.state.lock().rules.clone_from(rules);
    }

    /// The rules of the policy folder.
    pub(super) fn rules(&self) -> Rules {
        self.state.lock().rules.clone()
    }

    /// Lets the policy folder decide again.
    pub(super) fn unpin(&self) {
        self.state.lock().pin = None;
    }
}

impl Blame {
    /// The slot, and its fault or denial.
    pub(super) fn why(&self) -> String {
        format!("{} policy: {}", self.slot, self.what)
    }

    /// The refusal of the same policies from now on.
    pub(super) fn refusal(&self) -> Refusal {
        Verdict::TakenBack(self.why()).refusal(self.digest)
    }
}
