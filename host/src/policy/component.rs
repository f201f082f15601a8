//! A prepared policy: runs every decision in a fresh or a warm instance, within limits.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::future::BoxFuture;
use tokio::time::timeout;
use wasmtime::Store;
use wasmtime::component::{Instance, InstancePre};

use super::answer::GuestAnswer;
use super::bindings::lifecycle;
use super::candidate::{About, Candidate, Instances, Options};
use super::engine::{Engine, Runtime};
use super::fault::{Fault, FaultKind, Problem, Refusal};
use super::guest::Guest;
use super::prepare::{self, Prepared, configure};
use super::warm::{Pool, Warm};
use super::words::text;
use super::world::World;

/// A policy that passed preparation and may serve.
pub(super) struct Policy<W> {
    runtime: Runtime,
    world: W,
    pre: InstancePre<Guest>,
    /// Present only if the policy runs in warm instances.
    warm: Option<WarmParts>,
    options: Options,
    /// The candidate's digest; it seeds the guests' random numbers.
    digest: [u8; 32],
    about: About,
    faults: AtomicU64,
}

struct WarmParts {
    pool: Pool,
    lifecycle: lifecycle::GuestIndices,
    settings: String,
}

type Failed = (FaultKind, String);

impl<W: World> Policy<W> {
    /// Prepares a candidate. Takes some hundred milliseconds of computing, on a blocking thread, unless the same candidate was
    /// prepared recently.
    pub(super) async fn prepare(
        engine: &Engine,
        candidate: &Candidate,
    ) -> Result<Arc<Self>, Refusal> {
        let digest = candidate.digest();
        let recent = engine.policies.get(digest);
        if let Some(policy) = recent.and_then(|policy| policy.downcast().ok()) {
            return Ok(policy);
        }
        let (runner, work) = (engine.clone(), candidate.clone());
        let runtime = tokio::runtime::Handle::current();
        let done =
            tokio::task::spawn_blocking(move || runtime.block_on(prepare::prepare(&runner, &work)));
        let prepared = match done.await {
            Ok(result) => result.map_err(|problem| candidate.refuse(problem))?,
            Err(error) => return Err(candidate.refuse(Problem::Internal(error.to_string()))),
        };
        let policy = Arc::new(Self::new(engine, candidate, prepared));
        engine.policies.put(digest, policy.clone());
        Ok(policy)
    }

    fn new(engine: &Engine, candidate: &Candidate, prepared: Prepared<W>) -> Self {
        let warm = (prepared.about.instances == Instances::Warm).then(|| WarmParts {
            pool: Pool::default(),
            lifecycle: prepared.lifecycle,
            settings: candidate.settings.clone(),
        });
        Self {
            runtime: engine.runtime.clone(),
            world: prepared.world,
            pre: prepared.pre,
            warm,
            options: candidate.options,
            digest: candidate.digest(),
            about: prepared.about,
            faults: AtomicU64::new(0),
        }
    }

    pub(super) fn about(&self) -> &About {
        &self.about
    }

    pub(super) fn digest(&self) -> [u8; 32] {
        self.digest
    }

    pub(super) fn grants_credential(&self) -> bool {
        self.options.credential
    }

    pub(super) fn faults(&self) -> u64 {
        self.faults.load(Ordering::Relaxed)
    }

    /// Runs one decision, and checks its answer. `now_ms` is the time that the guest's clocks show.
    pub(super) async fn decide<R, F>(&self, now_ms: u64, call: F) -> Result<R, Fault>
    where
        R: GuestAnswer,
        F: for<'a> FnOnce(
                &'a W,
                &'a mut Store<Guest>,
                &'a Instance,
            ) -> BoxFuture<'a, wasmtime::Result<R>>
            + Send,
    {
        let answer = self.run(now_ms, call).await;
        let checked = answer.and_then(|answer| {
            let checked = answer.checked();
            checked.map_err(|found| (FaultKind::Nonsense, found))
        });
        checked.map_err(|(kind, cause)| self.fault(kind, cause))
    }

    /// Counts and logs a fault.
    fn fault(&self, kind: FaultKind, cause: String) -> Fault {
        // The error text contains names of functions, which the component's author chose.
        let cause = text(cause);
        self.faults.fetch_add(1, Ordering::Relaxed);
        let (slot, policy) = (W::SLOT, self.about.name.clone());
        tracing::error!(slot = slot.name(), %policy, kind = kind.code(), %cause, "policy fault");
        Fault {
            slot,
            policy,
            kind,
            cause,
        }
    }

    async fn run<R, F>(&self, now_ms: u64, call: F) -> Result<R, Failed>
    where
        F: for<'a> FnOnce(
                &'a W,
                &'a mut Store<Guest>,
                &'a Instance,
            ) -> BoxFuture<'a, wasmtime::Result<R>>
            + Send,
    {
        let limits = self.options.limits;
        let Ok(Some(_place)) = timeout(limits.wall, self.runtime.admit(W::SLOT)).await else {
            return Err((FaultKind::Busy, "no place to run in became free".to_owned()));
        };
        let _clock = self.runtime.run();
        let mut warm = self.instance(now_ms).await?;
        Guest::rearm(&mut warm.store, limits, now_ms);
        let called = call(&self.world, &mut warm.store, &warm.instance);
        let result = timeout(limits.wall, called).await;
        warm.store.data_mut().rest();
        if let Some(text) = warm.store.data_mut().take_log() {
            tracing::info!(target: "policy", slot = W::SLOT.name(), policy = %self.about.name, "{text}");
        }
        let answer = settle(result, &warm.store)?;
        if let Some(parts) = &self.warm {
            parts.pool.give_back(warm);
        }
        Ok(answer)
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
                let answer = configure(lifecycle, &mut store, &instance, settings).await?;
                answer.map_err(wasmtime::Error::msg)?;
            }
            Ok(instance)
        });
        let instance = settle(made.await, &store)?;
        Ok(Warm::new(store, instance))
    }
}

/// Translates a failed call into the kind of fault and its cause.
fn settle<R>(
    result: Result<wasmtime::Result<R>, tokio::time::error::Elapsed>,
    store: &Store<Guest>,
) -> Result<R, Failed> {
    match result {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err((
            FaultKind::of(&error, store.data().memory_refused),
            format!("{error:#}"),
        )),
        Err(_) => Err((
            FaultKind::Deadline,
            "no answer within the time on the clock".to_owned(),
        )),
    }
}
