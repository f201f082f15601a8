//! A generation: the four prepared policies that a request holds from its first byte to its last.

use std::future::Future;
use std::sync::Arc;
use std::time::SystemTime;

use super::Slot;
use super::answer::GuestAnswer;
use super::asking::{Asking, OfRequest};
use super::bindings::{Caller, forward_auth, model, tool_stop};
use super::canary::Substitute;
use super::candidate::About;
use super::cards::Cards;
use super::described::Described;
use super::digest::Digest;
use super::doubt::is_worse;
use super::event::Asker;
use super::exchange::{Remembered, What};
use super::fault::{Fault, Refused, decided};
use super::given::Files;
use super::history::{Activated, Door};
use super::observer::{Decision, DecisionOutcome, Denied, Observer};
use super::packed::Made;
use super::policies::{Policies, Seat, SlotStatus};
use super::probation::Probation;
use super::trail::Trail;
use super::world::{Authenticate, Catalog, Observe, Question, Resolve, Verify, World};

/// Four policies that serve together, from one activation to the next.
pub struct Generation {
    number: u64,
    digest: Digest,
    since: SystemTime,
    door: Door,
    policies: Arc<Policies>,
    /// The policies before, as long as these are compared with them.
    probation: Option<Arc<Probation>>,
    /// The candidate whose policies these are, on a request of a canary.
    candidate: Option<Arc<Substitute>>,
    /// The last decisions of all generations.
    trail: Arc<Trail>,
    observed: Option<Observed>,
}

/// The request that a generation decides on.
#[derive(Clone)]
struct Observed {
    request: Arc<Asker>,
    /// Receives every decision.
    observer: Arc<dyn Observer>,
}

impl Generation {
    /// The activation of these policies, as the history has it.
    pub(super) fn new(policies: Arc<Policies>, entry: &Activated, trail: Arc<Trail>) -> Self {
        Self {
            number: entry.number,
            digest: policies.digest(),
            since: entry.at,
            door: entry.door,
            policies,
            probation: None,
            candidate: None,
            trail,
            observed: None,
        }
    }

    /// The number, which counts activations; sent to clients as `x-codex-generation`.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The identity of the four policies; its first digits are sent to clients as `x-codex-policy`.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The time of the activation.
    #[must_use]
    pub fn since(&self) -> SystemTime {
        self.since
    }

    /// The way by which the policies came to serve.
    #[must_use]
    pub fn door(&self) -> Door {
        self.door
    }

    pub(super) fn policies(&self) -> &Arc<Policies> {
        &self.policies
    }

    pub(super) fn trail(&self) -> &Arc<Trail> {
        &self.trail
    }

    /// The same generation on probation.
    pub(super) fn on_probation(self, probation: Arc<Probation>) -> Self {
        Self {
            probation: Some(probation),
            ..self
        }
    }

    /// The same policies for the request of this id: its decisions are remembered, and the observer receives each of them.
    #[must_use]
    pub fn observed(&self, id: &str, observer: Arc<dyn Observer>) -> Self {
        let request = self.trail.request(id, self.number, self.digest);
        Self {
            number: self.number,
            digest: self.digest,
            since: self.since,
            door: self.door,
            policies: Arc::clone(&self.policies),
            probation: self.probation.clone(),
            candidate: None,
            trail: Arc::clone(&self.trail),
            observed: Some(Observed { request, observer }),
        }
    }

    /// The same request, decided by a candidate from now on. A candidate has no number: it was never activated.
    pub(super) fn instead(&self, candidate: Arc<Substitute>) -> Self {
        let digest = candidate.digest;
        let observed = self.observed.as_ref().map(|observed| Observed {
            request: Arc::new(observed.request.decided_by(digest)),
            observer: Arc::clone(&observed.observer),
        });
        Self {
            number: self.number,
            digest,
            since: self.since,
            door: self.door,
            policies: Arc::clone(&candidate.policies),
            probation: None,
            candidate: Some(candidate),
            trail: Arc::clone(&self.trail),
            observed,
        }
    }

    /// The policies that serve, slot by slot.
    #[must_use]
    pub fn slots(&self) -> [SlotStatus; Slot::COUNT] {
        self.policies.slots()
    }

    /// The lists in the settings of each slot that are not empty, with the number of their entries.
    #[must_use]
    pub fn entries(&self) -> [&[(String, usize)]; Slot::COUNT] {
        self.policies.entries()
    }

    /// The names of the operator's files that the policies were made of.
    #[must_use]
    pub fn file_names(&self) -> Vec<String> {
        self.policies.file_names()
    }

    /// Asks the auth policy who is calling.
    ///
    /// # Errors
    /// The policy's denial, or its fault.
    pub async fn authenticate<'a>(
        &self,
        request: impl Into<Described<'a>>,
    ) -> Result<Caller, Refused> {
        let asked = OfRequest::<Authenticate>::new(request.into());
        decided(self.ask(asked).await)
    }

    /// Asks the auth policy whether an edge proxy may let this request through.
    ///
    /// # Errors
    /// The policy's denial, or its fault.
    pub async fn verify<'a>(
        &self,
        original: impl Into<Described<'a>>,
    ) -> Result<forward_auth::Grant, Refused> {
        let asked = OfRequest::<Verify>::new(original.into());
        decided(self.ask(asked).await)
    }

    /// Asks the model policy which models this caller may see.
    ///
    /// # Errors
    /// Only a fault: a policy that shows no models returns an empty list.
    pub async fn catalog(&self, caller: Option<Caller>, now_ms: u64) -> Result<Cards, Refused> {
        Ok(self.ask(Catalog { caller, now_ms }).await?)
    }

    /// Asks the model policy which model runs.
    ///
    /// # Errors
    /// The policy's denial, or its fault.
    pub async fn resolve(&self, ask: model::Ask, now_ms: u64) -> Result<model::Target, Refused> {
        decided(self.ask(Resolve { ask, now_ms }).await)
    }

    /// Asks the tool-stop policy whether the request's turn of this number goes on after this event.
    ///
    /// # Errors
    /// Only a fault.
    pub async fn observe(
        &self,
        turn: u32,
        progress: tool_stop::Progress,
        event: tool_stop::Event,
        memo: Vec<u8>,
    ) -> Result<(tool_stop::Reaction, Vec<u8>), Fault> {
        let question = Observe {
            turn,
            progress,
            event,
            memo,
        };
        self.ask(question).await
    }

    /// Makes a decision, remembers it, and passes its outcome to the observer. A fault on probation, or of a candidate, is put to others.
    async fn ask<Q>(&self, asked: impl Asking<Question = Q>) -> Result<Q::Answer, Fault>
    where
        Q: Remembered<World: Seat>,
    {
        let policy = Q::World::of(&self.policies);
        let question = asked.question(policy.needs());
        let decided = policy.decide(&question).await;
        if let Err(fault) = &decided.answer {
            self.doubt(fault, &asked.whole());
        }
        self.report(Made {
            asked: &asked,
            question: &question,
            needs: policy.needs(),
            decided: &decided,
        });
        decided.answer
    }

    /// Holds a fault against these policies if those that they are compared with decide the same question.
    pub(super) fn doubt<Q: Question<World: Seat>>(&self, fault: &Fault, asked: &Q) {
        let (kind, current) = (fault.kind, Arc::clone(&self.policies));
        self.compare(fault, |others| {
            let asked = asked.clone();
            async move {
                if Arc::ptr_eq(Q::World::of(&others), Q::World::of(&current)) {
                    return false;
                }
                let decides = |policies: Arc<Policies>| {
                    let asked = asked.clone();
                    async move { answer(&policies, asked).await.is_ok() }
                };
                is_worse(kind, (others, current), decides).await
            }
        });
    }

    /// Compares these policies, which had a fault, with those before on probation, and a candidate with those that serve.
    pub(super) fn compare<F>(&self, fault: &Fault, confirmed: impl FnOnce(Arc<Policies>) -> F)
    where
        F: Future<Output = bool> + Send + 'static,
    {
        match (&self.candidate, &self.probation) {
            (Some(candidate), _) => candidate.doubt(fault, confirmed),
            (None, Some(probation)) => probation.doubt(fault, confirmed),
            (None, None) => {}
        }
    }

    /// Passes a decision to the observer, and remembers it.
    pub(super) fn report<A: Asking>(&self, made: Made<'_, A>) {
        let Some(Observed { observer, request }) = &self.observed else {
            return;
        };
        let decided = made.decided;
        let denial = decided.answer.as_ref().ok().and_then(GuestAnswer::denial);
        if let Some(denial) = denial {
            observer.denied(&Denied {
                slot: <A::Question as Question>::World::SLOT,
                denial,
                rules: made.question.exhausted(),
            });
        }
        let decision = Decision {
            slot: <A::Question as Question>::World::SLOT,
            question: A::Question::NAME,
            outcome: match &decided.answer {
                Ok(_) if denial.is_some() => DecisionOutcome::Denied,
                Ok(_) => DecisionOutcome::Answered,
                Err(fault) => DecisionOutcome::Fault(fault.kind),
            },
            from_memo: decided.from_memo,
            elapsed: decided.took,
        };
        observer.decided(&decision);
        if let Some(candidate) = &self.candidate {
            candidate.decided(&decision, decided.answer.as_ref().err());
        }
        self.trail.push(request, made);
    }

    /// Remembers what happened to the request, if there is one.
    pub(super) fn remember(&self, what: What) {
        if let Some(Observed { request, .. }) = &self.observed {
            self.trail.push(request, what);
        }
    }

    /// Remembers that the request used so many tokens, and that nothing is reserved for it any longer.
    pub fn settled(&self, tokens: u64) {
        self.remember(What::Settled(tokens));
    }

    /// The number of the request's next turn.
    #[must_use]
    pub fn next_turn(&self) -> u32 {
        let request = self.observed.as_ref().map(|observed| &observed.request);
        request.map_or(0, |request| request.next_turn())
    }
}

/// Asks other policies the same: with blanks for what they did not declare.
async fn answer<Q: Question<World: Seat>>(
    policies: &Policies,
    asked: Q,
) -> Result<Q::Answer, Fault> {
    let policy = Q::World::of(policies);
    let question = asked.declared(policy.needs());
    policy.decide(&question).await.answer
}

impl Generation {
    /// Logs the policies that serve from now on, if they differ from before. Built-in policies get no line each at the start.
    pub(super) fn announce(&self, before: Option<&Self>) {
        let files = self.policies.files();
        let names = self.policies.file_names();
        let names = (!names.is_empty()).then(|| names.join(", "));
        tracing::info!(
            generation = self.number,
            digest = self.digest.short(),
            by = self.door.name(),
            files = names,
            "policies serve"
        );
        for (slot, status) in Slot::ALL.into_iter().zip(self.slots()) {
            let digest = |of: &Self| of.policies.slot_digest(slot);
            let is_new = match before {
                Some(before) => digest(before) != digest(self),
                None => files[slot as usize] != Files::default(),
            };
            if is_new {
                self.announce_slot(slot, &status.about);
            }
        }
    }

    fn announce_slot(&self, slot: Slot, about: &About) {
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
