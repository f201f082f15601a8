//! A component made ready to serve: checked, configured, frozen, compiled and tried, then asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::future::BoxFuture;
use sha2::{Digest, Sha256};
use wasmtime::Store;
use wasmtime::component::{Component, Instance, InstancePre, Linker};

use super::Slot;
use super::bindings::lifecycle;
use super::engine::{Engine, Runtime};
use super::fault::{Fault, FaultKind, Problem, Refusal};
use super::freeze;
use super::guest::{Guest, Limits};
use super::inspect;
use super::trial::World;
use super::warm::{Pool, Warm};

/// How decisions get their instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Instances {
    /// A fresh one each, from the snapshot of the configured component.
    Frozen,
    /// A configured one, used again.
    Warm,
}

impl Instances {
    /// As `policies.toml` spells it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Frozen => "frozen",
            Self::Warm => "warm",
        }
    }
}

/// What the host, not the guest, must know of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Options {
    /// Frozen unless the component cannot be, or the operator prefers warm.
    pub instances: Instances,
    /// The auth policy may see the secret itself.
    pub credential: bool,
    /// What a call may use.
    pub limits: Limits,
}

/// What is to be prepared for one slot.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// The slot.
    pub slot: Slot,
    /// The component's file name, or "built-in".
    pub file: String,
    /// The component.
    pub wasm: Arc<[u8]>,
    /// Where the settings come from: a file name, or "environment".
    pub settings_file: String,
    /// A JSON object, the host's member included.
    pub settings: String,
    /// The host's part.
    pub options: Options,
}

impl Candidate {
    /// Equal for candidates that prepare to the same policy.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(Sha256::digest(&self.wasm));
        hash.update(self.settings.as_bytes());
        hash.update(format!("{:?}{:?}", self.slot, self.options));
        hash.finalize().into()
    }

    fn refuse(&self, problem: Problem) -> Refusal {
        let file = match problem {
            Problem::Settings(_) | Problem::SettingsShape(_) => &self.settings_file,
            _ => &self.file,
        };
        Refusal {
            file: file.clone(),
            slot: self.slot,
            problem,
        }
    }
}

/// What is known of a policy, for logs and health.
#[derive(Debug, Clone, serde::Serialize)]
pub struct About {
    /// The component's own name.
    pub name: String,
    /// The component's own version.
    pub version: String,
    /// The file it came from, or "built-in".
    pub file: String,
    /// Where its settings came from.
    pub settings: String,
    /// SHA-256 of the component, hexadecimal.
    pub sha256: String,
    /// How it runs.
    pub instances: Instances,
    /// Why it runs warm, if it was to be frozen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warm_because: Option<String>,
}

/// A prepared policy.
pub(super) struct Policy<W> {
    runtime: Runtime,
    world: W,
    pre: InstancePre<Guest>,
    /// Only for warm instances.
    warm: Option<WarmParts>,
    options: Options,
    seed: [u8; 32],
    digest: [u8; 32],
    about: About,
    faults: AtomicU64,
}

struct WarmParts {
    pool: Pool,
    lifecycle: lifecycle::GuestIndices,
    settings: String,
}

impl<W: World> Policy<W> {
    /// Prepares a candidate. Takes some hundred milliseconds of computing, on a blocking thread, unless the same was
    /// prepared lately.
    pub(super) async fn prepare(
        engine: &Engine,
        candidate: &Candidate,
    ) -> Result<Arc<Self>, Refusal> {
        let recent = engine
            .policies
            .get(candidate.digest())
            .and_then(|policy| policy.downcast().ok());
        if let Some(policy) = recent {
            return Ok(policy);
        }
        let policy = Arc::new(Self::make(engine, candidate).await?);
        engine.policies.put(candidate.digest(), policy.clone());
        Ok(policy)
    }

    async fn make(engine: &Engine, candidate: &Candidate) -> Result<Self, Refusal> {
        let (engine, work) = (engine.clone(), candidate.clone());
        let runtime = tokio::runtime::Handle::current();
        let done = tokio::task::spawn_blocking(move || {
            runtime.block_on(
                Preparation {
                    engine,
                    candidate: &work,
                }
                .run(),
            )
        });
        match done.await {
            Ok(result) => result.map_err(|problem| candidate.refuse(problem)),
            Err(error) => Err(candidate.refuse(Problem::Internal(error.to_string()))),
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

    /// Runs one decision in an instance of its own. `now_ms` is what the guest's clocks show.
    pub(super) async fn decide<R, F>(&self, now_ms: u64, call: F) -> Result<R, Fault>
    where
        F: for<'a> FnOnce(
                &'a W,
                &'a mut Store<Guest>,
                &'a Instance,
            ) -> BoxFuture<'a, wasmtime::Result<R>>
            + Send,
    {
        let timed = tokio::time::timeout(self.options.limits.wall, self.run(now_ms, call));
        match timed.await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err((kind, cause))) => Err(self.fault(kind, cause)),
            Err(_) => Err(self.fault(
                FaultKind::Deadline,
                "no answer within the time on the clock".to_owned(),
            )),
        }
    }

    /// Counts and logs a fault.
    pub(super) fn fault(&self, kind: FaultKind, cause: String) -> Fault {
        self.faults.fetch_add(1, Ordering::Relaxed);
        let fault = Fault {
            slot: W::SLOT,
            policy: self.about.name.clone(),
            kind,
            cause,
        };
        tracing::error!(slot = W::SLOT.name(), policy = %fault.policy, kind = kind.code(), cause = %fault.cause, "policy fault");
        fault
    }

    async fn run<R, F>(&self, now_ms: u64, call: F) -> Result<R, (FaultKind, String)>
    where
        F: for<'a> FnOnce(
                &'a W,
                &'a mut Store<Guest>,
                &'a Instance,
            ) -> BoxFuture<'a, wasmtime::Result<R>>
            + Send,
    {
        let Some(_place) = self.runtime.admit().await else {
            return Err((FaultKind::Busy, "the engine is shutting down".to_owned()));
        };
        let _clock = self.runtime.run();
        let mut warm = self.instance(now_ms).await?;
        Guest::rearm(&mut warm.store, now_ms);
        let result = call(&self.world, &mut warm.store, &warm.instance).await;
        if let Some(text) = warm.store.data_mut().take_log() {
            tracing::info!(target: "policy", slot = W::SLOT.name(), policy = %self.about.name, "{text}");
        }
        match result {
            Ok(answer) => {
                if let Some(parts) = &self.warm {
                    parts.pool.give_back(warm);
                }
                Ok(answer)
            }
            Err(error) => Err((
                FaultKind::of(&error, warm.store.data()),
                format!("{error:#}"),
            )),
        }
    }

    async fn instance(&self, now_ms: u64) -> Result<Warm, (FaultKind, String)> {
        if let Some(warm) = self.warm.as_ref().and_then(|parts| parts.pool.take()) {
            return Ok(warm);
        }
        let mut store = Guest::store(self.runtime.serving(), self.options.limits, self.seed);
        Guest::rearm(&mut store, now_ms);
        let made = async {
            let instance = self.pre.instantiate_async(&mut store).await?;
            if let Some(parts) = &self.warm {
                configure(&parts.lifecycle, &mut store, &instance, &parts.settings)
                    .await?
                    .map_err(wasmtime::Error::msg)?;
            }
            Ok(instance)
        };
        match made.await {
            Ok(instance) => Ok(Warm::new(store, instance)),
            Err(error) => {
                let error: wasmtime::Error = error;
                Err((FaultKind::of(&error, store.data()), format!("{error:#}")))
            }
        }
    }
}

/// Configuring may take longer than deciding.
fn patient(limits: Limits) -> Limits {
    Limits {
        deadline: limits.deadline * 40,
        wall: limits.wall * 40,
        answer: limits.answer.max(16 << 20),
        ..limits
    }
}

async fn configure(
    lifecycle: &lifecycle::GuestIndices,
    store: &mut Store<Guest>,
    instance: &Instance,
    settings: &str,
) -> wasmtime::Result<Result<(), String>> {
    lifecycle
        .load(&mut *store, instance)?
        .call_configure(&mut *store, settings)
        .await
}

/// One preparation, step by step; every step may refuse, none changes anything outside.
struct Preparation<'a> {
    engine: Engine,
    candidate: &'a Candidate,
}

/// A component that can be instantiated, and whether it must be configured first.
struct Configured {
    component: Component,
    warm_because: Option<String>,
    warm: bool,
}

impl Preparation<'_> {
    async fn run<W: World>(self) -> Result<Policy<W>, Problem> {
        let candidate = self.candidate;
        inspect::magic(&candidate.wasm)?;
        let _clock = self.engine.runtime.run();
        let seed = candidate.digest();
        let configured = self.configure().await?;
        let linker = self.engine.runtime.serving_linker();
        let pre = link(linker, &configured.component)?;
        let world = W::find(&pre).map_err(|error| Problem::Types(format!("{error:#}")))?;
        let lifecycle = lifecycle::GuestIndices::new(&pre)
            .map_err(|error| Problem::Types(format!("{error:#}")))?;
        let about = self
            .attempt(&pre, &world, &lifecycle, configured.warm)
            .await?;
        let about = About {
            name: about.name,
            version: about.version,
            file: candidate.file.clone(),
            settings: candidate.settings_file.clone(),
            sha256: hex(&Sha256::digest(&candidate.wasm)),
            instances: if configured.warm {
                Instances::Warm
            } else {
                Instances::Frozen
            },
            warm_because: configured.warm_because,
        };
        let warm = configured.warm.then(|| WarmParts {
            pool: Pool::default(),
            lifecycle,
            settings: candidate.settings.clone(),
        });
        let (options, runtime) = (candidate.options, self.engine.runtime.clone());
        Ok(Policy {
            runtime,
            world,
            pre,
            warm,
            options,
            seed,
            digest: seed,
            about,
            faults: AtomicU64::new(0),
        })
    }

    /// Freezes the component, or leaves it as it is where that cannot be.
    async fn configure(&self) -> Result<Configured, Problem> {
        let serving = self.engine.runtime.serving();
        let as_is = |warm_because| {
            let component = Component::new(serving, &self.candidate.wasm)
                .map_err(|e| Problem::Invalid(format!("{e:#}")))?;
            inspect::exports_and_imports(&component, self.candidate.slot)?;
            Ok(Configured {
                component,
                warm_because,
                warm: true,
            })
        };
        if self.candidate.options.instances == Instances::Warm {
            return as_is(None);
        }
        let instrumented = match freeze::instrument(&self.candidate.wasm) {
            Ok(instrumented) => instrumented,
            // Not valid at all, or valid but with something wizer does not know: compiling tells which.
            Err(error) => return as_is(Some(format!("{error:#}"))),
        };
        let component = self.compile_instrumented(&instrumented.wasm)?;
        inspect::exports_and_imports(&component, self.candidate.slot)?;
        let (mut store, instance) = self.run_configure(&component).await?;
        if store.data().holds_resources() {
            return as_is(Some(
                "configure left host resources open (it printed something?)".to_owned(),
            ));
        }
        let frozen = instrumented
            .snapshot(&mut store, instance)
            .await
            .map_err(|error| Problem::Configure(format!("{error:#}")))?;
        let component = Component::new(serving, frozen)
            .map_err(|error| Problem::Internal(format!("{error:#}")))?;
        Ok(Configured {
            component,
            warm_because: None,
            warm: false,
        })
    }

    fn compile_instrumented(&self, wasm: &[u8]) -> Result<Component, Problem> {
        let digest = Sha256::digest(&self.candidate.wasm).into();
        if let Some(component) = self.engine.instrumented.get(digest) {
            return Ok(component);
        }
        let component = Component::new(self.engine.runtime.freezing(), wasm);
        let component = component.map_err(|error| Problem::Invalid(format!("{error:#}")))?;
        self.engine.instrumented.put(digest, component.clone());
        Ok(component)
    }

    async fn run_configure(
        &self,
        component: &Component,
    ) -> Result<(Store<Guest>, Instance), Problem> {
        let pre = link(self.engine.runtime.freezing_linker(), component)?;
        let lifecycle = lifecycle::GuestIndices::new(&pre)
            .map_err(|error| Problem::Types(format!("{error:#}")))?;
        let limits = patient(self.candidate.options.limits);
        let mut store = Guest::store(
            self.engine.runtime.freezing(),
            limits,
            self.candidate.digest(),
        );
        Guest::rearm(&mut store, 0);
        let work = async {
            let instance = pre.instantiate_async(&mut store).await?;
            let answer =
                configure(&lifecycle, &mut store, &instance, &self.candidate.settings).await?;
            Ok::<_, wasmtime::Error>((instance, answer))
        };
        let result = tokio::time::timeout(limits.wall, work).await;
        let printed = store
            .data_mut()
            .take_log()
            .map(|text| format!("; it printed: {text}"))
            .unwrap_or_default();
        match result {
            Ok(Ok((instance, Ok(())))) => Ok((store, instance)),
            Ok(Ok((_, Err(message)))) => Err(Problem::Settings(message)),
            Ok(Err(error)) if is_type_error(&error) => Err(Problem::Types(format!("{error:#}"))),
            Ok(Err(error)) => {
                let kind = FaultKind::of(&error, store.data());
                Err(Problem::Configure(format!(
                    "{kind}: {}{printed}",
                    error.root_cause()
                )))
            }
            Err(_) => Err(Problem::Configure(format!(
                "no answer within {:?}",
                limits.wall
            ))),
        }
    }

    /// The first calls are ours, so that no request meets a policy that cannot answer. A second round leaves the
    /// image mapped and its code touched: the first request is not slower than the next.
    async fn attempt<W: World>(
        &self,
        pre: &InstancePre<Guest>,
        world: &W,
        lifecycle: &lifecycle::GuestIndices,
        warm: bool,
    ) -> Result<lifecycle::Manifest, Problem> {
        let mut about = None;
        for _ in 0..2 {
            let limits = self.candidate.options.limits;
            let patience = if warm { patient(limits) } else { limits };
            let mut store = Guest::store(
                self.engine.runtime.serving(),
                patience,
                self.candidate.digest(),
            );
            Guest::rearm(&mut store, 0);
            let work = async {
                let instance = pre.instantiate_async(&mut store).await?;
                if warm {
                    let answer =
                        configure(lifecycle, &mut store, &instance, &self.candidate.settings)
                            .await?;
                    if let Err(message) = answer {
                        return Ok(Err(Problem::Settings(message)));
                    }
                }
                let manifest = lifecycle
                    .load(&mut store, &instance)?
                    .call_about(&mut store)
                    .await?;
                world.attempt(&mut store, &instance).await?;
                Ok::<_, wasmtime::Error>(Ok(manifest))
            };
            let result = tokio::time::timeout(patience.wall, work).await;
            about = Some(match result {
                Ok(Ok(answer)) => answer?,
                Ok(Err(error)) if is_type_error(&error) => {
                    return Err(Problem::Types(format!("{error:#}")));
                }
                Ok(Err(error)) => {
                    let kind = FaultKind::of(&error, store.data());
                    return Err(Problem::Trial(format!("{kind}: {}", error.root_cause())));
                }
                Err(_) => {
                    return Err(Problem::Trial(format!(
                        "no answer within {:?}",
                        patience.wall
                    )));
                }
            });
        }
        about.ok_or_else(|| Problem::Internal("no trial was made".to_owned()))
    }
}

fn link(linker: &Linker<Guest>, component: &Component) -> Result<InstancePre<Guest>, Problem> {
    linker
        .instantiate_pre(component)
        .map_err(|error| Problem::Import(format!("{error:#}")))
}

/// Function types are only compared when a live instance is loaded; wasmtime has no type for that error.
fn is_type_error(error: &wasmtime::Error) -> bool {
    error.chain().any(|cause| {
        let words = cause.to_string();
        words.contains("failed to convert function to given type")
            || words.contains("no exported instance")
    })
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
