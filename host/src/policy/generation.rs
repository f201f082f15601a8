//! A generation: the four prepared policies that a request holds from its first byte to its last.

use std::sync::Arc;
use std::time::Instant;

use super::Slot;
use super::answer::GuestAnswer;
use super::bindings::{Caller, Request, forward_auth, model, rate_limit, tool_stop};
use super::candidate::About;
use super::component::{Decided, Policy, Session};
use super::fault::{Fault, Refused};
use super::given::Files;
use super::observer::{Decision, DecisionOutcome, Observer};
use super::world::{
    Auth, Authenticate, Catalog, Decide, Model, Observe, Question, Quotas, RateLimit, Resolve,
    ToolStop, Verify, World,
};

/// Four policies that serve together.
pub struct Generation {
    pub(super) number: u64,
    pub(super) auth: Arc<Policy<Auth>>,
    pub(super) model: Arc<Policy<Model>>,
    pub(super) rate_limit: Arc<Policy<RateLimit>>,
    pub(super) tool_stop: Arc<Policy<ToolStop>>,
    /// Receives every decision.
    pub(super) observer: Option<Arc<dyn Observer>>,
}

/// One slot of a generation, for health and metrics.
#[derive(Debug, Clone, serde::Serialize)]
pub struct SlotStatus {
    /// The slot's name.
    pub slot: &'static str,
    /// The component in it.
    #[serde(flatten)]
    pub about: About,
    /// The number of faults since the policy was prepared.
    pub faults: u64,
}

fn status<W: World>(policy: &Policy<W>) -> SlotStatus {
    SlotStatus {
        slot: W::SLOT.name(),
        about: policy.about().clone(),
        faults: policy.faults(),
    }
}

/// Turns a denial of the contract's type into [`Refused`].
fn decided<T>(answer: Result<Result<T, super::Denial>, Fault>) -> Result<T, Refused> {
    answer?.map_err(|denial| Refused::Denied(Box::new(denial)))
}

impl Generation {
    /// The number, which counts up from 1 with every swap; sent to clients as `x-codex-generation`.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The same policies for one request: the observer receives each of its decisions.
    #[must_use]
    pub fn observed(&self, observer: Arc<dyn Observer>) -> Self {
        Self {
            number: self.number,
            auth: Arc::clone(&self.auth),
            model: Arc::clone(&self.model),
            rate_limit: Arc::clone(&self.rate_limit),
            tool_stop: Arc::clone(&self.tool_stop),
            observer: Some(observer),
        }
    }

    /// The policies that serve, slot by slot.
    #[must_use]
    pub fn slots(&self) -> [SlotStatus; Slot::COUNT] {
        [
            status(&self.auth),
            status(&self.model),
            status(&self.rate_limit),
            status(&self.tool_stop),
        ]
    }

    /// Asks the auth policy who is calling.
    ///
    /// # Errors
    /// The policy's denial, or its fault.
    pub async fn authenticate(&self, request: Request) -> Result<Caller, Refused> {
        let question = Authenticate(self.declared(request));
        decided(self.ask(&self.auth, &question).await)
    }

    /// Asks the auth policy whether an edge proxy may let this request through.
    ///
    /// # Errors
    /// The policy's denial, or its fault.
    pub async fn verify(&self, original: Request) -> Result<forward_auth::Grant, Refused> {
        let question = Verify(self.declared(original));
        decided(self.ask(&self.auth, &question).await)
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
        let needs = self.model.needs();
        let question = Catalog {
            caller: caller.map(|caller| needs.caller(caller)),
            now_ms: needs.now(now_ms),
        };
        Ok(self.ask(&self.model, &question).await?)
    }

    /// Asks the model policy which model runs.
    ///
    /// # Errors
    /// The policy's denial, or its fault.
    pub async fn resolve(&self, ask: model::Ask, now_ms: u64) -> Result<model::Target, Refused> {
        let needs = self.model.needs();
        let question = Resolve {
            ask: needs.model(ask),
            now_ms: needs.now(now_ms),
        };
        decided(self.ask(&self.model, &question).await)
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
        let needs = self.rate_limit.needs();
        if ask.caller.is_none() && !needs.by_address() {
            return Ok(None);
        }
        let question = Quotas(needs.limits(ask));
        let (quotas, session) = self.begin_admission(&question).await?;
        let admission = Admission {
            generation: self,
            question,
            session,
        };
        Ok(Some((quotas, admission)))
    }

    async fn begin_admission(
        &self,
        question: &Quotas,
    ) -> Result<(Vec<rate_limit::Quota>, Option<Session<'_, RateLimit>>), Fault> {
        let started = Instant::now();
        let policy = &self.rate_limit;
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
            progress: self.tool_stop.needs().progress(progress),
            event,
            memo,
        };
        self.ask(&self.tool_stop, &question).await
    }

    /// Makes a decision, and passes its outcome to the observer.
    async fn ask<Q: Question>(
        &self,
        policy: &Policy<Q::World>,
        question: &Q,
    ) -> Result<Q::Answer, Fault> {
        let started = Instant::now();
        let decided = policy.decide(question).await;
        self.report::<Q>(&decided, started);
        decided.answer
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

    /// The parts of a request that the auth policy declared and was granted.
    fn declared(&self, mut request: Request) -> Request {
        self.withhold_secret(&mut request);
        self.auth.needs().request(request)
    }

    fn withhold_secret(&self, request: &mut Request) {
        if !self.auth.grants_credential()
            && let Some(credential) = &mut request.credential
        {
            credential.secret = None;
        }
    }
}

/// The second half of a question about limits, whose buckets are drawn from in between.
pub struct Admission<'a> {
    generation: &'a Generation,
    question: Quotas,
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
            session,
        } = self;
        let started = Instant::now();
        let decide = Decide {
            ask: question.0.clone(),
            statuses,
        };
        let policy = &generation.rate_limit;
        let decided = match policy.remember(&decide) {
            Some(kept) => kept,
            None => Decided::now(finish(policy, &question, session, &decide).await),
        };
        generation.report::<Decide>(&decided, started);
        self::decided(decided.answer)
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
        let files = self.files();
        if before.is_none() {
            let names = files
                .iter()
                .flat_map(|files| [&files.component, &files.settings]);
            let names: Vec<_> = names.flatten().map(String::as_str).collect();
            let files = (!names.is_empty()).then(|| names.join(", "));
            tracing::info!(generation = self.number, files, "policies serve");
        }
        for (slot, status) in Slot::ALL.into_iter().zip(self.slots()) {
            let is_new = match before {
                Some(before) => before.digest(slot) != self.digest(slot),
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

    /// The operator's files that this generation was made of.
    pub(super) fn files(&self) -> [Files; Slot::COUNT] {
        self.slots()
            .map(|SlotStatus { about, .. }| Files::named(&about.file, &about.settings))
    }

    pub(super) fn digest(&self, slot: Slot) -> [u8; 32] {
        match slot {
            Slot::Auth => self.auth.digest(),
            Slot::Model => self.model.digest(),
            Slot::RateLimit => self.rate_limit.digest(),
            Slot::ToolStop => self.tool_stop.digest(),
        }
    }
}
