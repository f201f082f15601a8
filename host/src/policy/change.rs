//! Changes of the policy folder: they serve at once, or take the steps of `policies.toml` before.

use std::sync::Arc;
use std::time::Duration;

use super::candidate::Candidate;
use super::candidates::Ready;
use super::digest::Digest;
use super::fault::{Problem, Refusal, Refusals};
use super::generation::Generation;
use super::guard::{Arrival, Change};
use super::history::Door;
use super::life::What;
use super::live::{Live, activation};
use super::look::{FileSet, Look};
use super::policies::{Policies, try_all};
use super::report::Report;
use super::rollout::{Input, Stage};
use super::rules::{Own, Rules, Steps};
use super::source::Source;
use super::verdict::{Verdict, not_passed, of_folder};

/// The longest replay before a change is activated, or begins its steps.
const PATIENCE: Duration = Duration::from_secs(2);
/// Brings the changes of the policy folder, as an operator brings other candidates.
const FOLDER: &str = "folder";

/// A change that is prepared and compared with the last decisions.
struct Found {
    policies: Arc<Policies>,
    files: FileSet,
    replayed: Report,
}

impl Live {
    /// As [`Live::replace`], with the result of a look at the folder: all its mistakes are reported. If the rules have steps, a
    /// change becomes a candidate that takes them, and serves then.
    pub(super) async fn take(
        self: &Arc<Self>,
        source: &Source,
        look: &Look,
    ) -> Result<u64, Refusals> {
        let _one_at_a_time = self.replacing.lock().await;
        let current = self.current();
        if self.pinned().is_some() {
            return Ok(current.number());
        }
        if look.has_rules() {
            self.guard.rule(&look.rules);
            self.refused.lock().ruled(&look.rules);
        }
        let serves = |candidate: &Option<Candidate>| {
            let candidate = candidate.as_ref();
            candidate.is_some_and(|new| current.policies().slot_digest(new.slot) == new.digest())
        };
        if !look.refusals.is_empty() || !look.candidates.iter().all(serves) {
            return self.change(source, look, &current).await;
        }
        self.drop_changes(None);
        if self.guard.accept(current.digest(), &look.rules) {
            tracing::info!(
                digest = current.digest().short(),
                "policies kept, as policies.toml says"
            );
        }
        Ok(self.current().number())
    }

    /// Prepares a change; then it serves, or takes its steps.
    async fn change(
        self: &Arc<Self>,
        source: &Source,
        look: &Look,
        current: &Generation,
    ) -> Result<u64, Refusals> {
        let old = current.policies();
        let (next, refusals) = try_all(&self.engine, look, Some(old)).await;
        let rules = &look.rules;
        self.drop_changes(next.as_ref().map(|next| (next.digest(), &rules.steps)));
        let (Some(next), Some(files)) = (next, look.files()) else {
            return Err(Refusals(refusals));
        };
        let (policies, digest) = (Arc::new(next), files.digest);
        let verdict = self.guard.verdict(digest, rules);
        // An operator may let one that failed serve all the same, also after a restart.
        let is_offered = matches!(verdict, Some(Verdict::Failed(_))) && !self.guard.knows(digest);
        if let Some(verdict) = verdict.as_ref().filter(|_| !is_offered) {
            return Err(Refusals(vec![verdict.refusal(digest)]));
        }
        let replayed = self.replay(old, &policies, PATIENCE).await;
        tracing::info!(digest = digest.short(), "policies replayed: {replayed}");
        let found = Found {
            policies,
            files,
            replayed,
        };
        if let Some(Verdict::Failed(why)) = verdict {
            let refusal = not_passed(digest, why.clone());
            self.put_failed(found, rules, why);
            return Err(Refusals(vec![refusal]));
        }
        if takes_steps(digest, rules) && digest != current.digest() {
            let tried = self.try_change(found, rules, current);
            tried.map_err(|refusal| Refusals(vec![refusal]))?;
        } else {
            self.activate(source, found, (rules, current)).await;
        }
        Ok(self.current().number())
    }

    /// Makes a change serve at once.
    async fn activate(
        &self,
        source: &Source,
        found: Found,
        (rules, current): (&Rules, &Generation),
    ) {
        let Found {
            policies, files, ..
        } = found;
        let activation = activation(&policies, Door::Folder, Some(current));
        let entry = self.keeper.record(source, activation).await;
        self.swap(|before| {
            let next = self.after(before, policies, entry);
            let arrival = Arrival {
                files,
                rules: rules.clone(),
                known: Vec::new(),
                pin: None,
            };
            Some(self.guard.activate(next, before, arrival))
        });
        let serving = self.current();
        self.tell_only(What::Activated, serving.digest(), FOLDER, None);
    }

    /// Makes a candidate of a change, and begins its steps; the same change goes on where it is.
    ///
    /// # Errors
    /// If it went no further than its steps, or they cannot begin now.
    fn try_change(
        self: &Arc<Self>,
        found: Found,
        rules: &Rules,
        current: &Generation,
    ) -> Result<(), Refusal> {
        let (digest, steps) = (found.files.digest, rules.steps.clone());
        let known = {
            let mut state = self.guard.state();
            state.change = Some(Change {
                digest,
                steps: steps.clone(),
            });
            let stage = state.rollout.stage(digest).cloned();
            let ready = state.shelf.candidate(digest);
            ready.map(|ready| (ready.door, ready.by.clone())).zip(stage)
        };
        match known {
            Some(((Door::Folder, _), Stage::Failed(why) | Stage::Unseen(why))) => {
                return Err(not_passed(digest, why));
            }
            Some(((Door::Folder, _), _)) => return Ok(()),
            Some(((_, by), _)) => {
                return Err(not_begun(format!("{by} has uploaded the same policies")));
            }
            None => {}
        }
        let begun = self
            .is_way_free(&steps)
            .and_then(|()| self.put(found.candidate(rules), current.digest()))
            .and_then(|_| self.begin_steps(digest, steps, FOLDER));
        begun.map_err(|why| not_begun(why.to_string()))
    }

    /// Makes a candidate of a change that failed in an earlier run.
    fn put_failed(&self, found: Found, rules: &Rules, why: String) {
        let digest = found.files.digest;
        let put = self.put(found.candidate(rules), self.current().digest());
        if put.is_ok_and(|is_new| is_new) {
            let mut state = self.guard.state();
            let input = Input::Failed { digest, why };
            state.rollout.step(self.guard.now(), input);
        }
    }

    /// Drops the changes that the folder has no longer, or that are to take other steps; those of this digest, with these steps,
    /// it has.
    fn drop_changes(&self, has: Option<(Digest, &Steps)>) {
        let gone: Vec<Digest> = {
            let mut state = self.guard.state();
            state.change = None;
            let changes = state.shelf.candidates().filter(|(digest, ready)| {
                ready.door == Door::Folder && Some((*digest, &ready.own.steps)) != has
            });
            changes.map(|(digest, _)| digest).collect()
        };
        for digest in gone {
            drop(self.guard.take(digest));
            self.tell(What::Dropped, digest, FOLDER, None);
        }
    }

    /// Whether the folder has a change that takes steps before it serves, or that waits for their beginning.
    pub(super) fn is_trying(&self) -> bool {
        self.guard.state().change.is_some()
    }

    /// Whether a change could begin its steps now: it is no candidate any longer, or the way was not free.
    pub(super) fn is_change_due(&self) -> bool {
        let (digest, steps) = match &self.guard.state().change {
            Some(Change { digest, steps }) => (*digest, steps.clone()),
            None => return false,
        };
        let is_settled = self.current().digest() == digest
            || self.guard.knows(digest)
            || self.guard.verdict(digest, &Rules::default()).is_some();
        !is_settled && self.is_way_free(&steps).is_ok()
    }

    /// Shows why a change went no further, and keeps the verdict on one that failed.
    pub(super) async fn settle_change(&self) {
        // A promotion that is being written down says otherwise.
        let Ok(_one_at_a_time) = self.replacing.try_lock() else {
            return;
        };
        let ended = {
            let state = self.guard.state();
            let mut changes = state.shelf.candidates();
            let change = changes.find(|(_, ready)| ready.door == Door::Folder);
            change.and_then(|(digest, _)| Some((digest, state.rollout.stage(digest)?.clone())))
        };
        match ended {
            Some((digest, Stage::Failed(why))) => {
                self.refuse_change(digest, Verdict::Failed(why)).await;
            }
            Some((digest, Stage::Unseen(why))) => self.show(not_passed(digest, why)),
            _ => {}
        }
    }

    /// Refuses a change from now on, also after a restart.
    pub(super) async fn refuse_change(&self, digest: Digest, verdict: Verdict) {
        let refusal = verdict.refusal(digest);
        if self.guard.refuse(digest, &verdict) {
            self.keeper.refuse(&self.source, digest, verdict).await;
        }
        self.show(refusal);
    }

    fn show(&self, refusal: Refusal) {
        if self.note(vec![refusal.clone()]) {
            tracing::error!("policy refused, the old ones go on: {refusal}");
        }
    }
}

impl Found {
    fn candidate(self, rules: &Rules) -> Ready {
        let own = Own {
            steps: rules.steps.clone(),
            ..Own::default()
        };
        let made = (self.policies, self.files);
        Ready::new(made, (Door::Folder, FOLDER), own, self.replayed)
    }
}

/// Whether policies of the folder take steps before they serve.
pub(super) fn takes_steps(digest: Digest, rules: &Rules) -> bool {
    rules.steps.is_any() && !rules.accepts(digest)
}

fn not_begun(why: String) -> Refusal {
    of_folder(Problem::NotBegun(why))
}
