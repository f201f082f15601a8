//! A generation: the four prepared policies that a request holds from its first byte to its last.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use super::Slot;
use super::answer::GuestAnswer;
use super::bindings::{Caller, Request, forward_auth, model, rate_limit, tool_stop};
use super::candidate::About;
use super::component::{Decided, Policy, Session};
use super::digest::Digest;
use super::fault::{Fault, Refused};
use super::given::Files;
use super::history::{Activated, Door};
use super::observer::{Decision, DecisionOutcome, Observer};
use super::policies::{Policies, Seat, SlotStatus};
use super::probation::Probation;
use super::world::{
    Authenticate, Catalog, Decide, Observe, Question, Quotas, RateLimit, Resolve, Verify, World,
};

/// Four policies that serve together, from one activation to the next.
pub struct Generation {
    number: u64,
    digest: Digest,
    since: SystemTime,
    door: Door,
    policies: Arc<Policies>,
    /// The policies before, as long as these are compared with them.
    probation: Option<Arc<Probation>>,
    /// Receives every decision.
    observer: Option<Arc<dyn Observer>>,
}

/// Turns a denial of the contract's type into [`Refused`].
fn decided<T>(answer: Result<Result<T, super::Denial>, Fault>) -> Result<T, Refused> {
    answer?.map_err(|denial| Refused::Denied(Box::new(denial)))
}

impl Generation {
    /// The activation of these policies, as the history has it.
    pub(super) fn new(policies: Arc<Policies>, entry: &Activated) -> Self {
        Self {
            number: entry.number,
            digest: policies.digest(),
            since: entry.at,
            door: entry.door,
            policies,
            probation: None,
            observer: None,
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

    /// The same generation on probation.
    pub(super) fn on_probation(self, probation: Probation) -> Self {
        Self {
            probation: Some(Arc::new(probation)),
            ..self
        }
    }

    /// The same policies for one request: the observer receives each of its decisions.
    #[must_use]
    pub fn observed(&self, observer: Arc<dyn Observer>) -> Self {
        Self {
            number: self.number,
            digest: self.digest,
            since: self.since,
            door: self.door,
            policies: Arc::clone(&self.policies),
            probation: self.probation.clone(),
            observer: Some(observer),
        }
    }

    /// The policies that serve, slot by slot.
    #[must_use]
    pub fn slots(&self) -> [SlotStatus; Slot::COUNT] {
        self.policies.slots()
    }

    /// Asks the auth policy who is calling.
    ///
    /// # Errors
    /// The policy's denial, or its fault.
    pub async fn authenticate(&self, request: Request) -> Result<Caller, Refused> {
        decided(self.ask(Authenticate(request)).await)
    }

    /// Asks the auth policy whether an edge proxy may let this request through.
    ///
    /// # Errors
    /// The policy's denial, or its fault.
    pub async fn verify(&self, original: Request) -> Result<forward_auth::Grant, Refused> {
        decided(self.ask(Verify(original)).await)
    }

    /// Asks the model policy which models this caller may see.
    ///
    /// # Errors
    /// Only a fault: a policy that shows no models returns an empty list.
    pub async fn catalog(
        &self,
        caller: Option<Caller>,
        now_ms: u64,
    ) -> Result<Vec<model::Card>, Refused> {
        Ok(self.ask(Catalog { caller, now_ms }).await?)
    }

    /// Asks the model policy which model runs.
    ///
    /// # Errors
    /// The policy's denial, or its fault.
    pub async fn resolve(&self, ask: model::Ask, now_ms: u64) -> Result<model::Target, Refused> {
        decided(self.ask(Resolve { ask, now_ms }).await)
    }

    /// Asks the rate-limit policy which buckets this request draws from. The admission goes on with the status of the buckets.
    /// The answer is `None` if the policy does not need this question: nothing is drawn, and the request goes on.
    ///
    /// # Errors
    /// Only a fault.
    pub async fn quotas(
        &self,
        ask: rate_limit::Ask,
    ) -> Result<Option<(Vec<rate_limit::Quota>, Admission<'_>)>, Refused> {
        let needs = self.policies.rate_limit.needs();
        if ask.caller.is_none() && !needs.by_address() {
            return Ok(None);
        }
        let asked = Quotas(ask);
        let spare = self.spare(&asked);
        let question = asked.declared(needs);
        let begun = self.begin_admission(&question).await;
        if let (Err(fault), Some(asked)) = (&begun, &spare) {
            self.doubt(fault, asked.clone());
        }
        let (quotas, session) = begun?;
        let admission = Admission {
            generation: self,
            question,
            spare,
            session,
        };
        Ok(Some((quotas, admission)))
    }

    async fn begin_admission(
        &self,
        question: &Quotas,
    ) -> Result<(Vec<rate_limit::Quota>, Option<Session<'_, RateLimit>>), Fault> {
        let started = Instant::now();
        let policy = &self.policies.rate_limit;
        if let Some(kept) = policy.remember(question) {
            self.report::<Quotas>(&kept, started);
            return Ok((kept.answer?, None));
        }
        let begun = policy.begin(question.now_ms()).await;
        let (answer, session) = match begun {
            Ok(mut session) => (session.ask(question).await, Some(session)),
            Err(fault) => (Err(fault), None),
        };
        let decided = Decided::now(answer);
        self.report::<Quotas>(&decided, started);
        Ok((decided.answer?, session))
    }

    /// Asks the tool-stop policy whether the turn goes on after this event.
    ///
    /// # Errors
    /// Only a fault.
    pub async fn observe(
        &self,
        progress: tool_stop::Progress,
        event: tool_stop::Event,
        memo: Vec<u8>,
    ) -> Result<(tool_stop::Reaction, Vec<u8>), Fault> {
        let question = Observe {
            progress,
            event,
            memo,
        };
        self.ask(question).await
    }

    /// Makes a decision, and passes its outcome to the observer. A fault on probation is compared with the policies before.
    async fn ask<Q: Question<World: Seat>>(&self, asked: Q) -> Result<Q::Answer, Fault> {
        let started = Instant::now();
        let policy = Q::World::of(&self.policies);
        let spare = self.spare(&asked);
        let decided = policy.decide(&asked.declared(policy.needs())).await;
        self.report::<Q>(&decided, started);
        if let (Err(fault), Some(asked)) = (&decided.answer, spare) {
            self.doubt(fault, asked);
        }
        decided.answer
    }

    /// A copy of the whole question, if the policies before may have to answer it.
    fn spare<Q: Question>(&self, asked: &Q) -> Option<Q> {
        let probation = self.probation.as_ref()?;
        probation.lasts().then(|| asked.clone())
    }

    fn doubt<Q: Question<World: Seat>>(&self, fault: &Fault, asked: Q) {
        if let Some(probation) = &self.probation {
            probation.doubt(fault, move |before| async move {
                let policy = Q::World::of(&before);
                let question = asked.declared(policy.needs());
                policy.decide(&question).await.answer.is_ok()
            });
        }
    }

    fn report<Q: Question>(&self, decided: &Decided<Q::Answer>, started: Instant) {
        if let Some(observer) = &self.observer {
            observer.decided(&Decision {
                slot: Q::World::SLOT,
                question: Q::NAME,
                outcome: match &decided.answer {
                    Ok(answer) if answer.is_denial() => DecisionOutcome::Denied,
                    Ok(_) => DecisionOutcome::Answered,
                    Err(fault) => DecisionOutcome::Fault(fault.kind),
                },
                from_memo: decided.from_memo,
                elapsed: started.elapsed(),
            });
        }
    }
}

/// The second half of a question about limits, whose buckets are drawn from in between.
pub struct Admission<'a> {
    generation: &'a Generation,
    question: Quotas,
    /// The whole question, on probation.
    spare: Option<Quotas>,
    /// The instance that answered the first half. If that answer was kept, there is none yet.
    session: Option<Session<'a, RateLimit>>,
}

impl Admission<'_> {
    /// Asks the rate-limit policy whether the request may go on, given the status of its buckets.
    ///
    /// # Errors
    /// The policy's denial, or its fault.
    pub async fn decide(
        self,
        statuses: Vec<rate_limit::BucketStatus>,
    ) -> Result<Vec<super::Header>, Refused> {
        let Self {
            generation,
            question,
            spare,
            session,
        } = self;
        let started = Instant::now();
        let decide = Decide {
            ask: question.0.clone(),
            statuses,
        };
        let policy = &generation.policies.rate_limit;
        let decided = match policy.remember(&decide) {
            Some(kept) => kept,
            None => Decided::now(finish(policy, &question, session, &decide).await),
        };
        generation.report::<Decide>(&decided, started);
        if let (Err(fault), Some(asked)) = (&decided.answer, spare) {
            generation.doubt_admission(fault, asked, decide.statuses);
        }
        self::decided(decided.answer)
    }
}

impl Generation {
    /// As `doubt`, for the second half of a question about limits: the policies before are asked both halves.
    fn doubt_admission(
        &self,
        fault: &Fault,
        asked: Quotas,
        statuses: Vec<rate_limit::BucketStatus>,
    ) {
        if let Some(probation) = &self.probation {
            probation.doubt(fault, move |before| async move {
                let policy = &before.rate_limit;
                let quotas = asked.declared(policy.needs());
                let decide = Decide {
                    ask: quotas.0.clone(),
                    statuses,
                };
                finish(policy, &quotas, None, &decide).await.is_ok()
            });
        }
    }
}

/// Asks `decide` in an instance that answered `quotas`, as the contract says: otherwise a kept answer to `quotas` could change
/// the one to `decide`.
async fn finish(
    policy: &Policy<RateLimit>,
    quotas: &Quotas,
    session: Option<Session<'_, RateLimit>>,
    decide: &Decide,
) -> Result<Result<Vec<super::Header>, super::Denial>, Fault> {
    let mut session = match session {
        Some(session) => session,
        None => {
            let mut session = policy.begin(decide.now_ms()).await?;
            session.ask(quotas).await?;
            session
        }
    };
    let answer = session.ask(decide).await;
    session.end();
    answer
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
