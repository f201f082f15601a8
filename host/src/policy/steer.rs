//! The wishes of operators about policies while these serve: offer candidates, try them in shadow, let them serve.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::broadcast;

use super::Slot;
use super::candidates::{CandidateStatus, Ready, Shadowed};
use super::digest::Digest;
use super::generation::Generation;
use super::given::{Given, Named};
use super::guard::{Arrival, Put};
use super::history::{Activation, Door};
use super::life::{Life, What};
use super::live::{Live, activation, activation_again};
use super::pin::Pin;
use super::policies::{Policies, prepare};
use super::rules::{Gate, Own, Rules};
use super::unsteered::Unsteered;
use super::verdict::Verdict;

/// The files of one slot of a candidate; what is absent stays as it serves.
#[derive(Debug, Clone, Default)]
pub struct SlotFiles {
    /// The component.
    pub component: Option<Arc<[u8]>>,
    /// The settings.
    pub settings: Option<Arc<[u8]>>,
}

/// The longest replay of the last decisions.
const LONGEST: Duration = Duration::from_secs(10);

impl Live {
    /// Prepares a candidate: what serves, with these files in place of its own. It is compared with the last decisions, and begins the
    /// steps of its own rules, by default those of the policy folder. One that is there already, with the same rules, stays as it is.
    ///
    /// # Errors
    /// All mistakes of the candidate; that it serves already; that another one stands where its first step leads; or that it is on
    /// trial with other rules.
    pub async fn offer(
        self: &Arc<Self>,
        files: [SlotFiles; Slot::COUNT],
        own: Option<Own>,
        by: &str,
    ) -> Result<CandidateStatus, Unsteered> {
        let own = own.unwrap_or_else(|| Own {
            steps: self.guard.rules().steps,
            ..Own::default()
        });
        let steps = own.steps.clone();
        let serving = self.current();
        let base = self.guard.serving().ok_or(Unsteered::Stale)?;
        let given = overlaid(base.given, files);
        let (source, facts) = (self.source.clone(), self.facts.clone());
        let judge = move || {
            let offer = source.offer(given, &facts)?;
            let slots = offer.candidates.each_ref().map(Digest::of);
            Ok::<_, Unsteered>((Digest::of_generation(slots), offer))
        };
        let judged = tokio::task::spawn_blocking(judge).await;
        let (digest, offer) = judged.map_err(|_| Unsteered::Shortage)??;
        if digest == serving.digest() {
            return Err(Unsteered::Serves);
        }
        if self.guard.has_candidate(digest, &own)? {
            return self.candidate(&digest.to_string());
        }
        self.is_way_free(&steps)?;
        let old = serving.policies();
        let policies = Arc::new(prepare(&self.engine, &offer.candidates, Some(old)).await?);
        let replayed = self.replay(old, &policies, LONGEST).await;
        let made = (policies, offer.files());
        let ready = Ready::new(made, (Door::Api, by), own, replayed);
        if self.put(ready, serving.digest())? {
            self.begin_steps(digest, steps, by)?;
        }
        self.candidate(&digest.to_string())
    }

    /// Keeps a candidate that was made for these policies. Returns false if it is there already.
    ///
    /// # Errors
    /// If others serve by now, or it is on trial with other rules.
    pub(super) fn put(&self, ready: Ready, serving: Digest) -> Result<bool, Unsteered> {
        let (digest, by) = (ready.policies.digest(), ready.by.clone());
        let put = self.still(|now| match now.digest() == serving {
            true => self.guard.put(ready),
            false => Err(Unsteered::Stale),
        })?;
        let Put::Added { evicted } = put else {
            return Ok(false);
        };
        if let Some(evicted) = evicted {
            let why = "there are too many candidates".to_owned();
            self.tell(What::Dropped, evicted, &by, Some(why));
        }
        self.tell(What::Ready, digest, &by, None);
        Ok(true)
    }

    /// The candidates, oldest first.
    #[must_use]
    pub fn candidates(&self) -> Vec<CandidateStatus> {
        self.statuses(|_| true)
    }

    /// The candidates whose digests are wanted: each status copies whole reports.
    fn statuses(&self, is_wanted: impl Fn(Digest) -> bool) -> Vec<CandidateStatus> {
        let (serving, now) = (self.current(), self.guard.now());
        let state = self.guard.state();
        let candidates = state.shelf.candidates();
        candidates
            .filter(|(digest, _)| is_wanted(*digest))
            .filter_map(|(digest, ready)| {
                let stage = state.rollout.stage(digest)?;
                let place = (serving.policies().as_ref(), &state.rules);
                Some(CandidateStatus::new(ready, stage, place, now))
            })
            .collect()
    }

    /// The candidate whose digest begins with these digits.
    ///
    /// # Errors
    /// If there is none, or several.
    pub fn candidate(&self, digits: &str) -> Result<CandidateStatus, Unsteered> {
        let digest = self.find(digits)?;
        let found = self.statuses(|known| known == digest).pop();
        found.ok_or_else(|| unknown(digits))
    }

    pub(super) fn find(&self, digits: &str) -> Result<Digest, Unsteered> {
        let state = self.guard.state();
        let digests = state.shelf.candidates().map(|(digest, _)| digest);
        only(digests, digits, "candidate")
    }

    /// Drops a candidate, and ends its shadow. A change of the policy folder is refused from then on, also after a restart.
    ///
    /// # Errors
    /// If there is none, or several.
    pub async fn discard(&self, digits: &str, by: &str) -> Result<(), Unsteered> {
        let digest = self.find(digits)?;
        // Neither while it comes to serve, nor while the folder is looked at, which would bring it back.
        let _one_at_a_time = self.replacing.lock().await;
        let dropped = self.guard.take(digest);
        self.tell(What::Dropped, digest, by, None);
        if dropped.is_some_and(|candidate| candidate.door == Door::Folder) {
            self.refuse_change(digest, Verdict::Dropped(by.to_owned()))
                .await;
        }
        Ok(())
    }

    /// Puts a candidate in shadow: it decides along on all further requests, without effect.
    ///
    /// # Errors
    /// If there is no such candidate, or another one is in shadow.
    pub fn shadow(
        self: &Arc<Self>,
        digits: &str,
        gate: Gate,
        by: &str,
    ) -> Result<CandidateStatus, Unsteered> {
        let digest = self.find(digits)?;
        self.begin_shadow(digest, (gate, None))?;
        self.tell(What::Shadow, digest, by, None);
        self.candidate(digits)
    }

    /// Lets a candidate serve, on probation as the rules say. Until [`Live::follow`] the policy folder is not looked at, unless the
    /// candidate is what the folder has.
    ///
    /// # Errors
    /// If there is no such candidate, or other policies serve by now than those that it was made for.
    pub async fn promote(&self, digits: &str, by: &str) -> Result<Arc<Generation>, Unsteered> {
        let digest = self.find(digits)?;
        let take = || self.guard.take(digest);
        self.promote_taken(digest, by, take).await
    }

    /// As [`Live::promote`], if `take`, asked in the moment of the swap, finds the candidate.
    pub(super) async fn promote_taken(
        &self,
        digest: Digest,
        by: &str,
        take: impl FnOnce() -> Option<Ready>,
    ) -> Result<Arc<Generation>, Unsteered> {
        let _one_at_a_time = self.replacing.lock().await;
        let (policies, door) = {
            let mut state = self.guard.state();
            let candidate = state.shelf.candidate(digest).ok_or(Unsteered::Stale)?;
            (Arc::clone(&candidate.policies), candidate.door)
        };
        let mut canary = None;
        let arrive = |_: &Generation| {
            // In the moment of the swap: a candidate is gone as soon as other policies serve than those that it was made for.
            let candidate = take()?;
            let shadow = candidate.shadow.as_ref().map(Shadowed::report);
            canary = candidate.canary;
            Some(Arrival {
                files: candidate.files,
                rules: self.guard.rules().with(candidate.own),
                known: shadow.into_iter().chain([candidate.replayed]).collect(),
                pin: (door == Door::Api).then(|| Pin::now(by)),
            })
        };
        if !self.serve(policies, (door, by), arrive).await {
            return Err(Unsteered::Stale);
        }
        // Until now: its callers must not get other policies in between.
        drop(canary);
        self.tell(What::Promoted, digest, by, None);
        Ok(self.current())
    }

    /// Makes the policies serve, unless `arrive`, asked in the moment of the swap, says that they may not replace what serves then.
    /// Returns whether they serve.
    pub(super) async fn serve(
        &self,
        policies: Arc<Policies>,
        (door, by): (Door, &str),
        arrive: impl FnOnce(&Generation) -> Option<Arrival>,
    ) -> bool {
        let current = self.current();
        let digest = policies.digest();
        let activation = Activation {
            by: Some(by.to_owned()),
            ..activation(&policies, door, Some(&current))
        };
        let entry = self.keeper.record(&self.source, activation).await;
        let mut notices = Vec::new();
        let serves = self.swap(|before| {
            let arrival = arrive(before)?;
            notices.clone_from(&arrival.files.notices);
            let next = self.after(before, policies, entry);
            Some(self.guard.activate(next, before, arrival))
        });
        let serving = self.current();
        if !serves {
            self.not_serving(digest, &serving).await;
            return false;
        }
        self.pins.fetch_add(1, Ordering::Relaxed);
        self.mended(serving.number());
        match door {
            Door::Folder => self.notice_serving(notices),
            // The folder is not looked at.
            _ => self.notice(Some(notices), Vec::new()),
        }
        self.keep(&self.source).await;
        serving.announce(Some(&current));
        true
    }

    /// An activation that was written down did not come about: the history has to end with what serves, and the activation was no
    /// consent to policies that may not serve.
    async fn not_serving(&self, digest: Digest, serving: &Generation) {
        let activation = activation_again(serving);
        self.keeper.record(&self.source, activation).await;
        if let Some(verdict) = self.guard.verdict(digest, &Rules::default()) {
            self.keeper.refuse(&self.source, digest, verdict).await;
        }
    }

    /// Looks at the policy folder again, after an operator's wish was followed. Promoted policies that were taken back are shown as
    /// refused no longer.
    pub async fn follow(&self, by: &str) {
        self.guard.unpin();
        self.refused.lock().settled();
        self.keep(&self.source).await;
        self.tell(What::Followed, self.current().digest(), by, None);
    }

    /// How often that happened.
    pub(super) fn pins(&self) -> u64 {
        self.pins.load(Ordering::Relaxed)
    }

    /// The operator who pinned the serving policies, if one did: the policy folder is not looked at.
    #[must_use]
    pub fn pinned(&self) -> Option<Pin> {
        self.guard.state().pin.clone()
    }

    /// The events of policies' lives from now on. A listener that reads too slowly misses some.
    #[must_use]
    pub fn lives(&self) -> broadcast::Receiver<Life> {
        self.lives.subscribe()
    }

    /// Logs an event, and tells it to whoever listens.
    pub(super) fn tell(&self, what: What, digest: Digest, by: &str, why: Option<String>) {
        let why_so = why.as_deref();
        tracing::info!(
            digest = digest.short(),
            by,
            why = why_so,
            "policies {}",
            what.words()
        );
        self.tell_only(what, digest, by, why);
    }

    /// Tells an event that is logged already.
    pub(super) fn tell_only(&self, what: What, digest: Digest, by: &str, why: Option<String>) {
        // There may be no listeners.
        let _ = self.lives.send(Life::now(what, digest, by, why));
    }
}

/// The serving files, with these in place of some.
pub(super) fn overlaid(
    mut base: [Given; Slot::COUNT],
    files: [SlotFiles; Slot::COUNT],
) -> [Given; Slot::COUNT] {
    for (slot, (given, files)) in Slot::ALL.into_iter().zip(base.iter_mut().zip(files)) {
        let named = |bytes, ending| Named {
            name: format!("{slot}.{ending}"),
            bytes,
        };
        if let Some(component) = files.component {
            given.component = Some(named(component, "wasm"));
        }
        if let Some(settings) = files.settings {
            given.settings = Some(named(settings, "json"));
        }
    }
    base
}

/// The one digest that begins with these digits.
pub(super) fn only(
    digests: impl Iterator<Item = Digest>,
    digits: &str,
    what: &'static str,
) -> Result<Digest, Unsteered> {
    let mut found =
        digests.filter(|digest| !digits.is_empty() && digest.to_string().starts_with(digits));
    let first = found.next().ok_or_else(|| Unsteered::Unknown {
        what,
        digits: digits.to_owned(),
    })?;
    match found.next() {
        Some(_) => Err(Unsteered::Ambiguous(digits.to_owned())),
        None => Ok(first),
    }
}

fn unknown(digits: &str) -> Unsteered {
    Unsteered::Unknown {
        what: "candidate",
        digits: digits.to_owned(),
    }
}
