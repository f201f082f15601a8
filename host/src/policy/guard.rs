//! Guards new generations: on probation the policies before stand by, and serve again if the new ones cannot decide.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::Slot;
use super::digest::Digest;
use super::fault::{Problem, Refusal};
use super::generation::Generation;
use super::given::Given;
use super::policies::Policies;
use super::probation::{Blame, Probation};
use super::rollout::{Input, Output, Rollout, Rules};
use super::source::FileSet;

/// The rules of new generations, applied to what serves.
pub(super) struct Guard {
    began: Instant,
    state: Mutex<State>,
    reports: mpsc::Sender<Blame>,
    unread: tokio::sync::Mutex<mpsc::Receiver<Blame>>,
    taken_back: AtomicU64,
}

#[derive(Default)]
struct State {
    rollout: Rollout,
    /// The serving files, and the notices about them.
    serving: Option<FileSet>,
    before: Option<Standby>,
}

impl State {
    /// Ends the probation, if there is one. Returns the policies that stood by.
    fn dismiss(&mut self) -> Option<Standby> {
        let before = self.before.take()?;
        before.probation.end();
        Some(before)
    }
}

/// Policies that served before, and can again at once.
pub(super) struct Standby {
    pub(super) policies: Arc<Policies>,
    pub(super) files: Option<FileSet>,
    /// Of the policies after them.
    probation: Arc<Probation>,
}

impl Guard {
    /// Goes on with the policies that were taken back earlier, and why.
    pub(super) fn new(refused: Vec<(Digest, String)>) -> Self {
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

    /// Remembers the files of the first generation.
    pub(super) fn begin(&self, files: FileSet) {
        self.state.lock().serving = Some(files);
    }

    /// The serving files.
    pub(super) fn serving(&self) -> Option<[Given; Slot::COUNT]> {
        let state = self.state.lock();
        state.serving.as_ref().map(|files| files.given.clone())
    }

    /// Refuses policies that were taken back, unless the operator accepts them.
    pub(super) fn refusal(&self, digest: Digest, rules: &Rules) -> Option<Refusal> {
        let state = self.state.lock();
        let why = state.rollout.refusal(digest)?;
        (!rules.accepts(digest)).then(|| refusal(digest, why.to_owned()))
    }

    /// Puts a generation that replaces `before` on probation, as the rules say.
    pub(super) fn activate(
        &self,
        next: Generation,
        before: &Generation,
        files: FileSet,
        rules: &Rules,
    ) -> Generation {
        let digest = next.digest();
        let mut rules = rules.clone();
        if rules.accepts(digest) {
            // The operator wants them, whatever they do.
            rules.probation = Duration::ZERO;
        }
        let mut state = self.state.lock();
        let served = state.serving.replace(files);
        // Policies that are on probation themselves are nothing to go back to.
        let (policies, files) = match state.dismiss() {
            Some(kept) => (kept.policies, kept.files),
            None => (Arc::clone(before.policies()), served),
        };
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
        let probation = Arc::new(probation);
        state.before = Some(Standby {
            policies,
            files,
            probation: Arc::clone(&probation),
        });
        next.on_probation(probation)
    }

    /// Waits until policies must be taken back, and returns those that serve in their place.
    pub(super) async fn blamed(&self) -> (Blame, Standby) {
        let mut unread = self.unread.lock().await;
        while let Some(blame) = unread.recv().await {
            let mut state = self.state.lock();
            let input = Input::Blamed {
                digest: blame.digest,
                charge: blame.charge,
                why: blame.why(),
            };
            let output = state.rollout.step(self.began.elapsed(), input);
            if let Some(Output::TakeBack { .. }) = output
                && let Some(before) = state.before.take()
            {
                before.probation.end();
                state.serving.clone_from(&before.files);
                self.taken_back.fetch_add(1, Ordering::Relaxed);
                return (blame, before);
            }
        }
        pending().await
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

    /// Lets the policies before go, if the probation is over.
    pub(super) fn look(&self) {
        let mut state = self.state.lock();
        let output = state.rollout.step(self.began.elapsed(), Input::Looked);
        if let Some(Output::Keep(digest)) = output {
            state.dismiss();
            tracing::info!(
                digest = digest.short(),
                "policies kept: their probation is over"
            );
        }
    }

    /// The end of the probation, if there is one.
    pub(super) fn on_probation_until(&self) -> Option<SystemTime> {
        let until = self.state.lock().rollout.on_probation_until()?;
        Some(SystemTime::now() + until.saturating_sub(self.began.elapsed()))
    }

    /// How many generations were taken back.
    pub(super) fn taken_back(&self) -> u64 {
        self.taken_back.load(Ordering::Relaxed)
    }
}

impl Blame {
    /// The slot, and its fault or denial.
    pub(super) fn why(&self) -> String {
        format!("{} policy: {}", self.slot, self.what)
    }

    /// The refusal of the same policies from now on.
    pub(super) fn refusal(&self) -> Refusal {
        refusal(self.digest, self.why())
    }
}

fn refusal(digest: Digest, why: String) -> Refusal {
    Refusal {
        file: "POLICY_DIR".to_owned(),
        slot: None,
        problem: Problem::TakenBack {
            digest: digest.short(),
            why,
        },
    }
}
