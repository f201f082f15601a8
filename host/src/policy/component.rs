//! A prepared policy: runs every decision in a fresh or a warm instance, within limits.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::SemaphorePermit;
use tokio::time::timeout;
use wasmtime::Store;
use wasmtime::component::InstancePre;

use super::answer::GuestAnswer;
use super::aside;
use super::candidate::{About, Candidate, Instances, Options};
use super::contract::{Contract, Lifecycle};
use super::digest::Digest;
use super::engine::{Engine, Running, Runtime};
use super::entries::Entries;
use super::fault::{Fault, FaultKind, Problem, Refusal};
use super::guest::Guest;
use super::needs::Needs;
use super::prepare::{self, Costs, Prepared};
use super::transcript::{Heard, Transcript};
use super::trial::Attempt;
use super::warm::{Pool, Warm};
use super::words::text;
use super::world::{Kept, Question, World};
use crate::memory;

/// A policy that passed preparation and may serve.
pub(super) struct Policy<W> {
    runtime: Runtime,
    world: W,
    pre: InstancePre<Guest>,
    /// Present only if the policy runs in warm instances.
    warm: Option<WarmParts>,
    needs: Arc<Needs>,
    /// Whether answers are kept: an answer of a warm instance may depend on the calls before, and a policy of contract 0.1 does
    /// not say what its answers depend on.
    keeps: bool,
    options: Options,
    /// The candidate's digest; it seeds the guests' random numbers.
    digest: [u8; 32],
    identity: Digest,
    about: About,
    entries: Entries,
    costs: Costs,
    faults: AtomicU64,
    /// Whether the log has that it called an import that policies may not use.
    was_denied: AtomicBool,
    /// In place of the log, if the policy is tried for its author.
    transcript: Option<Transcript>,
}

struct WarmParts {
    pool: Pool,
    lifecycle: Lifecycle,
    settings: String,
}

type Failed = (FaultKind, String);

/// The answer to a question.
pub(super) struct Decided<A> {
    pub(super) answer: Result<A, Fault>,
    /// The policy was not asked: it answered the same question before.
    pub(super) from_memo: bool,
    /// The time that it took, including the wait for a permit to run.
    pub(super) took: Duration,
}

impl<A> Decided<A> {
    /// An answer to a question that was asked at `started`.
    pub(super) fn since(started: Instant, answer: Result<A, Fault>) -> Self {
        Self {
            answer,
            from_memo: false,
            took: started.elapsed(),
        }
    }
}

/// An instance that answers the questions of one request, one after the other.
pub(super) struct Session<'a, W> {
    policy: &'a Policy<W>,
    instance: Warm,
    /// A fault leaves an instance in no known state.
    is_sound: bool,
    _clock: Running<'a>,
    _place: SemaphorePermit<'a>,
}

impl<W: World> Policy<W> {
    /// Prepares a candidate. Takes some hundred milliseconds of computing, on a blocking thread, unless the same candidate was
    /// prepared recently.
    pub(super) async fn prepare(
        engine: &Engine,
        candidate: &Candidate,
    ) -> Result<Arc<Self>, Refusal>
    where
        W: Attempt,
    {
        let digest = candidate.digest();
        let recent = engine.policies.get(digest);
        if let Some(policy) = recent.and_then(|policy| policy.downcast().ok()) {
            return Ok(policy);
        }
        let policy = Arc::new(Self::prepare_anew(engine, candidate).await?);
        engine
            .policies
            .put(digest, policy.costs.image, policy.clone());
        Ok(policy)
    }

    /// As [`Policy::prepare`], for the candidate's author: no answer is kept, and a transcript takes the place of the log.
    pub(super) async fn prepare_alone(
        engine: &Engine,
        candidate: &Candidate,
    ) -> Result<Self, Refusal>
    where
        W: Attempt,
    {
        Ok(Self {
            keeps: false,
            transcript: Some(Transcript::default()),
            ..Self::prepare_anew(engine, candidate).await?
        })
    }

    async fn prepare_anew(engine: &Engine, candidate: &Candidate) -> Result<Self, Refusal>
    where
        W: Attempt,
    {
        let (runner, work) = (engine.clone(), candidate.clone());
        let runtime = tokio::runtime::Handle::current();
        let done =
            tokio::task::spawn_blocking(move || runtime.block_on(prepare::prepare(&runner, &work)));
        let done = done.await;
        // Compiling and freezing take much memory for a moment.
        memory::give_back_soon();
        let prepared = match done {
            Ok(result) => result.map_err(|problem| candidate.refuse(problem))?,
            Err(error) => return Err(candidate.refuse(Problem::Internal(error.to_string()))),
        };
        Ok(Self::new(engine, candidate, prepared))
    }

    fn new(engine: &Engine, candidate: &Candidate, prepared: Prepared<W>) -> Self {
        let warm = (prepared.about.instances == Instances::Warm).then(|| WarmParts {
            pool: Pool::default(),
            lifecycle: prepared.lifecycle,
            settings: candidate.settings.clone(),
        });
        let keeps = warm.is_none() && prepared.contract != Contract::V0_1;
        Self {
            runtime: engine.runtime.clone(),
            world: prepared.world,
            pre: prepared.pre,
            warm,
            needs: Arc::new(prepared.needs),
            keeps,
            options: candidate.options,
            digest: candidate.digest(),
            identity: Digest::of(candidate),
            about: prepared.about,
            entries: prepared.entries,
            costs: prepared.costs,
            faults: AtomicU64::new(0),
            was_denied: AtomicBool::new(false),
            transcript: None,
        }
    }

    pub(super) fn about(&self) -> &About {
        &self.about
    }

    pub(super) fn entries(&self) -> &Entries {
        &self.entries
    }

    pub(super) fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// The digest of the operator's choice.
    pub(super) fn identity(&self) -> Digest {
        self.identity
    }

    /// The costs of its preparation.
    pub(super) fn costs(&self) -> Costs {
        self.costs
    }

    /// The words of the guest since they were last taken, if it is tried for its author.
    pub(super) fn take_heard(&self) -> Heard {
        let transcript = self.transcript.as_ref();
        transcript.map(Transcript::take).unwrap_or_default()
    }

    /// Discards the idle warm instances: the next question gets a fresh one.
    pub(super) fn discard_idle(&self) {
        if let Some(parts) = &self.warm {
            parts.pool.clear();
        }
    }

    /// The parts of the input that the policy declared.
    pub(super) fn needs(&self) -> &Arc<Needs> {
        &self.needs
    }

    pub(super) fn faults(&self) -> u64 {
        self.faults.load(Ordering::Relaxed)
    }

    /// Answers a question: from the kept answers, or in an instance of its own.
    pub(super) async fn decide<Q: Question<World = W>>(&self, question: &Q) -> Decided<Q::Answer> {
        if let Some(decided) = self.remember(question) {
            return decided;
        }
        let started = Instant::now();
        let answer = match self.begin(question.now_ms()).await {
            Ok(mut session) => {
                let answer = session.ask(question).await;
                session.end();
                answer
            }
            Err(fault) => Err(fault),
        };
        Decided::since(started, answer)
    }

    /// The kept answer to a question.
    pub(super) fn remember<Q: Question<World = W>>(
        &self,
        question: &Q,
    ) -> Option<Decided<Q::Answer>> {
        let started = Instant::now();
        let answer = self.memo(question)?.get(&*question.key())?;
        Some(Decided {
            from_memo: true,
            ..Decided::since(started, Ok(answer))
        })
    }

    fn memo<Q: Question<World = W>>(&self, question: &Q) -> Option<&Kept<Q>> {
        question.memo(&self.world).filter(|_| self.keeps)
    }

    /// Takes an instance for one or several questions. `now_ms` is the time that its clocks show.
    pub(super) async fn begin(&self, now_ms: u64) -> Result<Session<'_, W>, Fault> {
        let begun = self.instantiate(now_ms).await;
        begun.map_err(|(kind, cause)| self.fault(kind, cause))
    }

    async fn instantiate(&self, now_ms: u64) -> Result<Session<'_, W>, Failed> {
        let limits = self.options.limits;
        let Ok(Some(place)) = timeout(limits.wall, self.runtime.admit(W::SLOT)).await else {
            return Err((FaultKind::Busy, "no place to run in became free".to_owned()));
        };
        let clock = self.runtime.run();
        Ok(Session {
            policy: self,
            instance: self.instance(now_ms).await?,
            is_sound: true,
            _clock: clock,
            _place: place,
        })
    }

    /// Counts and logs a fault.
    fn fault(&self, kind: FaultKind, cause: String) -> Fault {
        // The error text contains names of functions, which the component's author chose.
        let cause = text(cause);
        if !aside::is_here() {
            self.faults.fetch_add(1, Ordering::Relaxed);
        }
        let (slot, policy) = (W::SLOT, self.about.name.clone());
        tracing::error!(slot = slot.name(), %policy, kind = kind.code(), %cause, "policy fault");
        Fault {
            slot,
            policy,
            kind,
            cause,
        }
    }

    /// A fresh instance, or a warm one: taken from the idle ones, or made and configured now.
    async fn instance(&self, now_ms: u64) -> Result<Warm, Failed> {
        if let Some(warm) = self.warm.as_ref().and_then(|parts| parts.pool.take()) {
            return Ok(warm);
        }
        let limits = match self.warm {
            Some(_) => self.options.limits.to_configure(),
            None => self.options.limits,
        };
        let mut store = Guest::store(
            self.runtime.serving(),
            self.runtime.slices(),
            limits,
            self.digest,
        );
        Guest::rearm(&mut store, limits, now_ms);
        let made = timeout(limits.wall, async {
            let instance = self.pre.instantiate_async(&mut store).await?;
            if let Some(WarmParts {
                lifecycle,
                settings,
                ..
            }) = &self.warm
            {
                let answer = lifecycle.configure(&mut store, &instance, settings).await?;
                answer.map_err(wasmtime::Error::msg)?;
            }
            Ok(instance)
        });
        let made = made.await;
        if !matches!(made, Ok(Ok(_))) {
            self.hear(&mut store);
        }
        let instance = self.settle(made, &store)?;
        Ok(Warm::new(store, instance))
    }

    /// Counts calls of imports that policies may not use; the first one of a policy is in the log.
    fn count_denied(&self, guest: &mut Guest) {
        for import in guest.take_denied() {
            self.runtime.denied(W::SLOT).add(import);
            if !self.was_denied.swap(true, Ordering::Relaxed) {
                let (policy, import) = (&self.about.name, import.name());
                tracing::warn!(slot = W::SLOT.name(), %policy, import, "policy called an import that policies may not use");
            }
        }
    }

    /// Passes the guest's output on: to the transcript or, by default, to the log.
    fn hear(&self, store: &mut Store<Guest>) {
        self.count_denied(store.data_mut());
        match &self.transcript {
            Some(transcript) => transcript.hear(store.data_mut().take_lines()),
            None => {
                if let Some(text) = store.data_mut().take_log() {
                    tracing::info!(target: "policy", slot = W::SLOT.name(), policy = %self.about.name, "{text}");
                }
            }
        }
    }

    /// Translates a failed call into the kind of fault and its cause.
    fn settle<R>(
        &self,
        result: Result<wasmtime::Result<R>, tokio::time::error::Elapsed>,
        store: &Store<Guest>,
    ) -> Result<R, Failed> {
        match result {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                if let Some(transcript) = &self.transcript {
                    transcript.fail(&error);
                }
                Err((
                    FaultKind::of(&error, store.data().memory_refused),
                    format!("{error:#}"),
                ))
            }
            Err(_) => Err((
                FaultKind::Deadline,
                "no answer within the time on the clock".to_owned(),
            )),
        }
    }
}

impl<W: World> Session<'_, W> {
    /// Asks a question, checks the answer and keeps it.
    pub(super) async fn ask<Q: Question<World = W>>(
        &mut self,
        question: &Q,
    ) -> Result<Q::Answer, Fault> {
        let answer = self.call(question).await;
        let checked = answer.and_then(|answer| {
            let checked = answer.checked();
            checked.map_err(|found| (FaultKind::Nonsense, found))
        });
        match checked {
            Ok(answer) => {
                if let Some(memo) = self.policy.memo(question) {
                    memo.put(question.key().into_owned(), &answer);
                }
                Ok(answer)
            }
            Err((kind, cause)) => Err(self.policy.fault(kind, cause)),
        }
    }

    async fn call<Q: Question<World = W>>(&mut self, question: &Q) -> Result<Q::Answer, Failed> {
        let policy = self.policy;
        let limits = policy.options.limits;
        let Warm {
            store, instance, ..
        } = &mut self.instance;
        // Until the call has come back, also if it is cancelled.
        self.is_sound = false;
        Guest::rearm(store, limits, question.now_ms());
        let called = question.ask(&policy.world, store, instance);
        let result = timeout(limits.wall, called).await;
        store.data_mut().rest();
        policy.hear(store);
        let answer = policy.settle(result, store)?;
        self.is_sound = true;
        Ok(answer)
    }

    /// Ends the session: an instance that may be used again is kept.
    pub(super) fn end(self) {
        if let Some(parts) = self.policy.warm.as_ref().filter(|_| self.is_sound) {
            parts.pool.give_back(self.instance);
        }
    }
}
