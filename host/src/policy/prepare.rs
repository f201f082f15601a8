//! Prepares a component step by step: check, configure, freeze, compile, trial calls. Every step may refuse.

use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use tokio::time::timeout;
use wasmtime::Store;
use wasmtime::component::{Component, Instance, InstancePre, Linker};

use super::answer::{GuestAnswer, Nonsense};
use super::bindings::lifecycle;
use super::candidate::{About, Candidate, Instances, hex};
use super::contract::{Contract, Lifecycle};
use super::engine::{Engine, Purpose};
use super::entries::Entries;
use super::fault::{FaultKind, Problem};
use super::guest::{Guest, Limits};
use super::needs::Needs;
use super::trial::{Attempt, Trial};
use super::weigh::Weight;
use super::words::text;
use super::{denied, freeze, inspect, schema, streams};

/// A policy that passed every step of preparation.
pub(super) struct Prepared<W> {
    pub(super) world: W,
    pub(super) pre: InstancePre<Guest>,
    pub(super) lifecycle: Lifecycle,
    pub(super) needs: Needs,
    pub(super) contract: Contract,
    pub(super) about: About,
    pub(super) entries: Entries,
    pub(super) costs: Costs,
}

/// The costs of a preparation. Compiled code that is cached costs next to nothing.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Costs {
    /// The time to compile the component for freezing, to configure it, and to take the snapshot; none if it runs warm.
    pub(super) freezing: Option<Duration>,
    /// The time to compile what serves.
    pub(super) compiling: Duration,
    /// The bytes of the component that serves: of the snapshot, if it is frozen.
    pub(super) image: usize,
}

/// Prepares a candidate. Computes for some hundred milliseconds, so it must not run on a thread that serves.
pub(super) async fn prepare<W: Attempt>(
    engine: &Engine,
    candidate: &Candidate,
) -> Result<Prepared<W>, Problem> {
    let (preparation, weight) = Preparation::of(engine, candidate)?;
    preparation.run(weight).await
}

/// The component's manifest, whatever its settings are.
pub(super) async fn manifest(
    engine: &Engine,
    candidate: &Candidate,
) -> Result<lifecycle::Manifest, Problem> {
    let (preparation, weight) = Preparation::of(engine, candidate)?;
    let _clock = engine.runtime.run();
    let purpose = engine.runtime.purpose();
    let component = engine.compiled(weight, purpose, &candidate.wasm).await?;
    let pre = link(engine.runtime.serving_linker(), &component)?;
    preparation.manifest(purpose, &pre).await
}

/// One preparation; no step changes anything outside of it.
struct Preparation<'a> {
    engine: &'a Engine,
    candidate: &'a Candidate,
    contract: Contract,
}

/// The exports of a component that is ready to be tried.
struct Exports<'a, W> {
    pre: &'a InstancePre<Guest>,
    world: &'a W,
    lifecycle: &'a Lifecycle,
    instances: Instances,
}

/// A component that can be instantiated, and whether each instance must be configured.
struct Configured {
    component: Component,
    instances: Instances,
    warm_because: Option<String>,
    manifest: lifecycle::Manifest,
    costs: Costs,
}

impl<'a> Preparation<'a> {
    /// Looks at the component before anything compiles it.
    fn of(engine: &'a Engine, candidate: &'a Candidate) -> Result<(Self, Weight), Problem> {
        inspect::magic(&candidate.wasm)?;
        let weight = Weight::of(&candidate.wasm)?;
        let contract = inspect::exports_and_imports(&candidate.wasm, candidate.slot)?;
        let preparation = Self {
            engine,
            candidate,
            contract,
        };
        Ok((preparation, weight))
    }

    async fn run<W: Attempt>(self, weight: Weight) -> Result<Prepared<W>, Problem> {
        let (candidate, contract) = (self.candidate, self.contract);
        self.engine.restore_cache();
        let _clock = self.engine.runtime.run();
        let configured = self.configure(weight).await?;
        let pre = link(self.engine.runtime.serving_linker(), &configured.component)?;
        let world = W::find(contract, &pre).map_err(types)?;
        let lifecycle = Lifecycle::find(contract, &pre).map_err(types)?;
        let exports = Exports {
            pre: &pre,
            world: &world,
            lifecycle: &lifecycle,
            instances: configured.instances,
        };
        let needs = self.attempt(&exports).await?;
        let schema = &configured.manifest.settings_schema;
        let entries = Entries::of(schema, &candidate.settings);
        let about = About {
            name: configured.manifest.name,
            version: configured.manifest.version,
            file: candidate.file.clone(),
            settings: candidate.settings_file.clone(),
            sha256: hex(&Sha256::digest(&candidate.wasm)),
            instances: configured.instances,
            warm_because: configured.warm_because.map(text),
            contract: contract.name(),
            needs: match contract {
                Contract::V0_2 => Some(needs.words()),
                Contract::V0_1 => None,
            },
        };
        Ok(Prepared {
            world,
            pre,
            lifecycle,
            needs,
            contract,
            about,
            entries,
            costs: configured.costs,
        })
    }

    /// Freezes the component, or keeps it unfrozen if it cannot be frozen.
    async fn configure(&self, weight: Weight) -> Result<Configured, Problem> {
        if self.candidate.options.instances == Instances::Warm {
            return self.as_it_is(weight, None).await;
        }
        let began = Instant::now();
        let instrumented = match freeze::instrument(&self.candidate.wasm) {
            Ok(instrumented) => instrumented,
            // The component is invalid, or valid with a feature that wizer does not support: compiling shows which.
            Err(error) => return self.as_it_is(weight, Some(format!("{error:#}"))).await,
        };
        let runtime = &self.engine.runtime;
        let purpose = Purpose::Freezing;
        let component = self.engine.compiled(weight, purpose, &instrumented.wasm);
        let component = component.await?;
        let pre = link(runtime.freezing_linker(), &component)?;
        let manifest = self.describe(purpose, &pre).await?;
        let (mut store, instance) = self.run_configure(purpose, &pre).await?;
        let Some(streams) = store.data_mut().streams() else {
            let because = "configure left host resources open, and not only those for printing";
            return self.as_it_is(weight, Some(because.to_owned())).await;
        };
        let frozen = instrumented.snapshot(&mut store, instance).await;
        let frozen = frozen.map_err(|error| Problem::of(&error, Problem::Configure))?;
        drop(store);
        let (freezing, began) = (began.elapsed(), Instant::now());
        let template = instrumented.template().await;
        let template = template.and_then(|template| streams::opened(template, &streams));
        let frozen = streams::opened(frozen, &streams).map_err(internal)?;
        let component = self.engine.frozen(weight, template, &frozen).await?;
        if !streams.is_empty() && !self.prints(&component).await? {
            let because = "configure printed, and could not print in an instance of its snapshot";
            return self.as_it_is(weight, Some(because.to_owned())).await;
        }
        Ok(Configured {
            component,
            instances: Instances::Frozen,
            warm_because: None,
            manifest,
            costs: Costs {
                freezing: Some(freezing),
                compiling: began.elapsed(),
                image: frozen.len(),
            },
        })
    }

    async fn as_it_is(
        &self,
        weight: Weight,
        warm_because: Option<String>,
    ) -> Result<Configured, Problem> {
        let runtime = &self.engine.runtime;
        let purpose = runtime.purpose();
        let began = Instant::now();
        let component = self.engine.compiled(weight, purpose, &self.candidate.wasm);
        let component = component.await?;
        let compiling = began.elapsed();
        let pre = link(runtime.serving_linker(), &component)?;
        let manifest = self.describe(purpose, &pre).await?;
        Ok(Configured {
            component,
            instances: Instances::Warm,
            warm_because,
            manifest,
            costs: Costs {
                freezing: None,
                compiling,
                image: self.candidate.wasm.len(),
            },
        })
    }

    /// Reads the manifest, and checks the operator's settings and options against it before the policy is configured.
    async fn describe(
        &self,
        purpose: Purpose,
        pre: &InstancePre<Guest>,
    ) -> Result<lifecycle::Manifest, Problem> {
        let manifest = self.manifest(purpose, pre).await?;
        let Candidate {
            options, settings, ..
        } = self.candidate;
        schema::check(&manifest.settings_schema, settings, *options)?;
        Ok(manifest)
    }

    /// Reads the manifest from a separate instance.
    async fn manifest(
        &self,
        purpose: Purpose,
        pre: &InstancePre<Guest>,
    ) -> Result<lifecycle::Manifest, Problem> {
        let lifecycle = Lifecycle::find(self.contract, pre).map_err(types)?;
        let limits = self.candidate.options.limits.to_configure();
        let mut store = self.store(self.engine.runtime.engine(purpose), limits);
        let done = timeout(limits.wall, async {
            let instance = pre.instantiate_async(&mut store).await?;
            let manifest = lifecycle.about(&mut store, &instance).await?;
            Ok(manifest.checked().map_err(Nonsense)?)
        });
        match explain(done.await, &mut store) {
            Ok(manifest) => Ok(manifest),
            Err(Trouble::Problem(problem)) => Err(problem),
            Err(Trouble::Fault(words)) => Err(Problem::Trial(words)),
        }
    }

    /// Runs `configure` in a new instance, and returns it with its store.
    async fn run_configure(
        &self,
        purpose: Purpose,
        pre: &InstancePre<Guest>,
    ) -> Result<(Store<Guest>, Instance), Problem> {
        let lifecycle = Lifecycle::find(self.contract, pre).map_err(types)?;
        let limits = self.candidate.options.limits.to_configure();
        let mut store = self.store(self.engine.runtime.engine(purpose), limits);
        let done = timeout(limits.wall, async {
            let instance = pre.instantiate_async(&mut store).await?;
            let settings = &self.candidate.settings;
            let answer = lifecycle.configure(&mut store, &instance, settings).await?;
            Ok((instance, answer))
        });
        let done = done.await;
        self.count_denied(&mut store);
        let (instance, answer) = match explain(done, &mut store) {
            Ok(done) => done,
            Err(Trouble::Problem(problem)) => return Err(problem),
            Err(Trouble::Fault(words)) => return Err(Problem::Configure(words)),
        };
        answer.map_err(|words| Problem::Settings(text(words)))?;
        Ok((store, instance))
    }

    /// Whether `configure`, which printed before the snapshot, can print in an instance of the snapshot.
    async fn prints(&self, component: &Component) -> Result<bool, Problem> {
        let runtime = &self.engine.runtime;
        let pre = link(runtime.serving_linker(), component)?;
        Ok(self.run_configure(runtime.purpose(), &pre).await.is_ok())
    }

    /// Asks for the needs and makes trial calls, so that no request meets a policy that cannot answer. The second round leaves
    /// the image mapped and its code touched, so that the first request is not slower than the next.
    async fn attempt<W: Attempt>(&self, exports: &Exports<'_, W>) -> Result<Needs, Problem> {
        self.attempt_once(exports).await?;
        self.attempt_once(exports).await
    }

    async fn attempt_once<W: Attempt>(&self, exports: &Exports<'_, W>) -> Result<Needs, Problem> {
        let Exports {
            pre,
            world,
            lifecycle,
            instances,
        } = *exports;
        let options = self.candidate.options;
        let limits = options.limits.to_configure();
        let mut store = self.store(self.engine.runtime.serving(), limits);
        let done = timeout(limits.wall, async {
            let instance = pre.instantiate_async(&mut store).await?;
            if instances == Instances::Warm {
                let settings = &self.candidate.settings;
                let answer = lifecycle.configure(&mut store, &instance, settings).await?;
                if let Err(message) = answer {
                    return Ok(Err(message));
                }
            }
            let declared = lifecycle.needs(&mut store, &instance).await?;
            let needs = declared.map(|needs| Needs::read(W::SLOT, needs));
            let needs = needs.unwrap_or_else(|| Ok(Needs::everything()));
            let needs = needs.map_err(Nonsense)?.with_grants(&options);
            let mut trial = Trial {
                store: &mut store,
                instance,
                options,
                needs: &needs,
            };
            world.attempt(&mut trial).await?;
            Ok(Ok(needs))
        });
        let done = done.await;
        self.count_denied(&mut store);
        match explain(done, &mut store) {
            Ok(answer) => answer.map_err(|words| Problem::Settings(text(words))),
            Err(Trouble::Problem(problem)) => Err(problem),
            Err(Trouble::Fault(words)) => Err(Problem::Trial(words)),
        }
    }

    /// Counts calls of imports that policies may not use, and logs the first one.
    fn count_denied(&self, store: &mut Store<Guest>) {
        let slot = self.candidate.slot;
        let imports = store.data_mut().take_denied();
        if let Some(import) = imports.first() {
            let (file, import) = (&self.candidate.file, import.name());
            tracing::warn!(slot = slot.name(), %file, import, "policy called an import that policies may not use");
        }
        for import in imports {
            self.engine.runtime.denied(slot).add(import);
        }
    }

    fn store(&self, engine: &wasmtime::Engine, limits: Limits) -> Store<Guest> {
        let mut store = Guest::store(
            engine,
            self.engine.runtime.slices(),
            limits,
            self.candidate.digest(),
        );
        Guest::rearm(&mut store, limits, 0);
        store
    }
}

/// The reason why running a candidate failed.
enum Trouble {
    Problem(Problem),
    Fault(String),
}

/// Explains a failure: its kind, its cause and the guest's output.
fn explain<T>(
    result: Result<wasmtime::Result<T>, tokio::time::error::Elapsed>,
    store: &mut Store<Guest>,
) -> Result<T, Trouble> {
    let error = match result {
        Ok(Ok(done)) => return Ok(done),
        Ok(Err(error)) => error,
        Err(_) => {
            return Err(Trouble::Fault(
                "deadline: no answer within the time on the clock".to_owned(),
            ));
        }
    };
    if let Some(Nonsense(found)) = error.downcast_ref() {
        return Err(Trouble::Problem(Problem::Nonsense(found.clone())));
    }
    if is_type_error(&error) {
        return Err(Trouble::Problem(types(error)));
    }
    let kind = FaultKind::of(&error, store.data().memory_refused);
    let printed = store.data_mut().take_log();
    let printed = printed
        .map(|text| format!("; it printed: {text}"))
        .unwrap_or_default();
    match Problem::of(&error, Problem::Internal) {
        problem if problem.is_of_the_machine() => Err(Trouble::Problem(problem)),
        _ => {
            let cause = error.root_cause();
            Err(Trouble::Fault(format!("{kind}: {cause}{printed}")))
        }
    }
}

fn internal(error: wasmtime::Error) -> Problem {
    Problem::of(&error, Problem::Internal)
}

fn types(error: wasmtime::Error) -> Problem {
    Problem::Types(format!("{error:#}"))
}

fn link(linker: &Linker<Guest>, component: &Component) -> Result<InstancePre<Guest>, Problem> {
    let own = denied::linker(linker, component);
    let pre = own.and_then(|own| own.as_ref().unwrap_or(linker).instantiate_pre(component));
    pre.map_err(|error| Problem::Import(format!("{error:#}")))
}

/// Function types are compared only when a live instance is loaded; wasmtime has no type for that error.
fn is_type_error(error: &wasmtime::Error) -> bool {
    error.chain().any(|cause| {
        let words = cause.to_string();
        words.contains("failed to convert function to given type")
            || words.contains("no exported instance")
    })
}
