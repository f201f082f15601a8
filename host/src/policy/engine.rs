//! The two wasmtime engines (one runs decisions, one runs `configure` before freezing) and their clock.

pub(super) mod compile;

use std::any::Any;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::Thread;
use std::time::Duration;

use tempfile::TempDir;
use tokio::sync::{Semaphore, SemaphorePermit};
use wasmtime::component::{Component, Linker};
use wasmtime::{Config, Enabled, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig};

use super::Slot;
use super::cache::Cache;
use super::component_cache::ComponentCache;
use super::denied;
use super::guest::Guest;
use super::imports::Calls;
use super::per_slot::PerSlot;
use super::slices::{Slices, TICK};
use compile::Compiler;

/// The most decisions of one slot that run at once: long decisions of one slot take no capacity from the other slots.
const PER_SLOT: u32 = 128;
/// Instances for trials, and for warm instances between decisions.
const RESERVED: u32 = 64;
/// The most instances that exist at once.
const INSTANCES: u32 = Slot::ALL.len() as u32 * PER_SLOT + RESERVED;
/// The highest memory limit that a policy can be given.
pub const MAX_MEMORY: usize = 128 << 20;
/// Ticks without a decision after which the clock stops until the next one.
const IDLE_TICKS: u32 = 500;

/// Runs policies, and caches the ones that it prepared recently. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    pub(super) runtime: Runtime,
    pub(super) policies: Arc<ComponentCache<Arc<dyn Any + Send + Sync>>>,
    /// Components compiled recently.
    compiled: Arc<ComponentCache<Component>>,
    /// Compiles heavy components; if absent, they are compiled in this process.
    compiler: Option<Compiler>,
    cache: Option<Cache>,
    /// A temporary cache folder, deleted with the last engine.
    _passing: Option<Arc<TempDir>>,
}

/// The use a component is compiled for; it decides the compiler's settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Runs decisions; with small memory reservations if the address space is small.
    Serving {
        small: bool,
    },
    Freezing,
}

impl Purpose {
    /// The settings on which compiled code depends, without those that concern only instances.
    pub(super) fn config(self) -> Config {
        let mut config = Config::new();
        config
            .epoch_interruption(true)
            .concurrency_support(false)
            // The threads of this process serve.
            .parallel_compilation(false);
        match self {
            Self::Serving { small } => {
                config.memory_init_cow(true);
                if small {
                    config
                        .memory_reservation(MAX_MEMORY as u64)
                        .memory_guard_size(64 << 10);
                }
            }
            Self::Freezing => {
                config.cranelift_opt_level(OptLevel::None);
            }
        }
        config
    }

    /// The purpose as an argument of the command line, read by [`Purpose::parse`].
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Serving { small: false } => "serving",
            Self::Serving { small: true } => "serving-small",
            Self::Freezing => "freezing",
        }
    }

    pub(super) fn parse(word: &str) -> Option<Self> {
        let all = [false, true].map(|small| Self::Serving { small });
        all.into_iter()
            .chain([Self::Freezing])
            .find(|purpose| purpose.word() == word)
    }
}

/// The shared state that a prepared policy needs to run.
#[derive(Clone)]
pub(super) struct Runtime(Arc<Inner>);

struct Inner {
    /// The purpose that serving components are compiled for.
    purpose: Purpose,
    serving: wasmtime::Engine,
    freezing: wasmtime::Engine,
    serving_linker: Linker<Guest>,
    freezing_linker: Linker<Guest>,
    admission: PerSlot<Semaphore>,
    slices: Slices,
    clock: Arc<Clock>,
    /// Calls of imports that policies may not use.
    denied: PerSlot<Calls>,
}

impl Engine {
    /// Builds both engines and starts the clock's thread. The cache folder keeps compiled components between starts; a folder
    /// that cannot be used is logged as a warning.
    ///
    /// # Errors
    /// If the machine has not enough address space even for the small configuration.
    pub fn new(cache_folder: Option<&Path>) -> Result<Self, wasmtime::Error> {
        let cache = cache_folder.and_then(open_cache);
        let wide = Purpose::Serving { small: false };
        let (serving, purpose) = match wasmtime::Engine::new(&serving_config(wide)) {
            Ok(engine) => (engine, wide),
            Err(error) => {
                tracing::warn!(%error, "little address space: policies run with small memory reservations");
                let small = Purpose::Serving { small: true };
                (wasmtime::Engine::new(&serving_config(small))?, small)
            }
        };
        let freezing = wasmtime::Engine::new(&Purpose::Freezing.config())?;
        let clock = Arc::new(Clock::default());
        clock.start(&serving, &freezing);
        let runtime = Runtime(Arc::new(Inner {
            serving_linker: linker(&serving)?,
            freezing_linker: linker(&freezing)?,
            purpose,
            serving,
            freezing,
            admission: PerSlot::from_fn(|_| Semaphore::new(PER_SLOT as usize)),
            slices: Slices::new(),
            clock,
            denied: PerSlot::from_fn(|_| Calls::default()),
        }));
        Ok(Self {
            runtime,
            policies: Arc::default(),
            compiled: Arc::default(),
            compiler: None,
            cache,
            _passing: None,
        })
    }

    /// Makes the folder of the compile cache again, if it is gone.
    pub(super) fn restore_cache(&self) {
        if let Some(cache) = &self.cache {
            cache.restore();
        }
    }

    /// As [`Engine::new`], with a program (this one, run again) that compiles heavy components in a child process, which leaves
    /// the result in the cache folder. Without a cache folder, a temporary one is made and deleted with the engine.
    ///
    /// # Errors
    /// As [`Engine::new`], and if no temporary folder can be made.
    pub fn compiling_with(
        program: &Path,
        cache_folder: Option<&Path>,
    ) -> Result<Self, wasmtime::Error> {
        let passing = match cache_folder {
            Some(_) => None,
            None => Some(Arc::new(tempfile::tempdir()?)),
        };
        let folder = cache_folder.or(passing.as_ref().map(|passing| passing.path()));
        let compiler = folder.map(|folder| Compiler::new(program.into(), folder.into()));
        let engine = Self::new(folder)?;
        Ok(Self {
            compiler,
            _passing: passing,
            ..engine
        })
    }
}

impl Runtime {
    pub(super) fn serving(&self) -> &wasmtime::Engine {
        &self.0.serving
    }

    pub(super) fn serving_linker(&self) -> &Linker<Guest> {
        &self.0.serving_linker
    }

    pub(super) fn purpose(&self) -> Purpose {
        self.0.purpose
    }

    /// The turns to run of calls that take longer than a tick.
    pub(super) fn slices(&self) -> &Slices {
        &self.0.slices
    }

    /// The calls of a slot's policies to imports that policies may not use.
    pub(super) fn denied(&self, slot: Slot) -> &Calls {
        self.0.denied.of(slot)
    }

    /// The engine that runs components compiled for this purpose.
    pub(super) fn engine(&self, purpose: Purpose) -> &wasmtime::Engine {
        match purpose {
            Purpose::Freezing => &self.0.freezing,
            Purpose::Serving { .. } => &self.0.serving,
        }
    }

    pub(super) fn freezing_linker(&self) -> &Linker<Guest> {
        &self.0.freezing_linker
    }

    /// A permit to run one decision of a slot. Waits while all are taken; the caller of the function limits the wait.
    pub(super) async fn admit(&self, slot: Slot) -> Option<SemaphorePermit<'_>> {
        self.0.admission.of(slot).acquire().await.ok()
    }

    /// Keeps the clock ticking for as long as the guard lives.
    pub(super) fn run(&self) -> Running<'_> {
        self.0.clock.enter();
        Running(&self.0.clock)
    }
}

fn open_cache(folder: &Path) -> Option<Cache> {
    let opened = Cache::open(folder);
    if let Err(problem) = &opened {
        let folder = folder.display();
        tracing::warn!(%folder, %problem, "no compile cache: policies are compiled anew at every start");
    }
    opened.ok()
}

fn serving_config(purpose: Purpose) -> Config {
    let mut pool = PoolingAllocationConfig::new();
    // If the kernel can report the touched pages, resetting an instance costs only as much as it touched; otherwise a large
    // resident part would be copied on every decision.
    let resident = if PoolingAllocationConfig::is_pagemap_scan_available() {
        2 << 20
    } else {
        64 << 10
    };
    pool.total_component_instances(INSTANCES)
        // wasmtime only counts these. A component in Python has some 40.
        .total_core_instances(64 * INSTANCES)
        .total_memories(INSTANCES)
        .total_tables(4 * INSTANCES)
        .total_stacks(INSTANCES)
        .max_core_instances_per_component(64)
        .max_tables_per_component(64)
        .max_memory_size(MAX_MEMORY)
        .max_unused_warm_slots(16)
        .pagemap_scan(Enabled::Auto)
        .linear_memory_keep_resident(resident)
        .table_keep_resident(64 << 10);
    let mut config = purpose.config();
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    config
}

fn linker(engine: &wasmtime::Engine) -> Result<Linker<Guest>, wasmtime::Error> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    denied::refuse_sockets(&mut linker)?;
    Ok(linker)
}

pub(super) struct Running<'a>(&'a Clock);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Advances the engines' epochs while guests run, and sleeps while none do.
#[derive(Default)]
struct Clock {
    running: AtomicUsize,
    asleep: AtomicBool,
    thread: OnceLock<Thread>,
}

impl Clock {
    fn enter(&self) {
        self.running.fetch_add(1, Ordering::SeqCst);
        if self.asleep.load(Ordering::SeqCst)
            && let Some(thread) = self.thread.get()
        {
            thread.unpark();
        }
    }

    /// The thread ends with the engines: it holds only weak references to them.
    fn start(self: &Arc<Self>, serving: &wasmtime::Engine, freezing: &wasmtime::Engine) {
        let (serving, freezing) = (serving.weak(), freezing.weak());
        let clock = Arc::clone(self);
        let handle = std::thread::spawn(move || {
            let mut idle = 0;
            while let (Some(serving), Some(freezing)) = (serving.upgrade(), freezing.upgrade()) {
                serving.increment_epoch();
                freezing.increment_epoch();
                drop((serving, freezing));
                idle = if clock.running.load(Ordering::SeqCst) == 0 {
                    idle + 1
                } else {
                    0
                };
                if idle < IDLE_TICKS {
                    std::thread::sleep(TICK);
                    continue;
                }
                clock.asleep.store(true, Ordering::SeqCst);
                if clock.running.load(Ordering::SeqCst) == 0 {
                    // The timeout lets the thread notice that the engines are gone. Without running guests it goes back to sleep.
                    std::thread::park_timeout(Duration::from_secs(5));
                }
                clock.asleep.store(false, Ordering::SeqCst);
            }
        });
        // Set once: a clock is started once.
        let _ = self.thread.set(handle.thread().clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_full_slot_leaves_the_others_their_places() {
        let engine = Engine::new(None).unwrap();
        let mut held = Vec::new();
        for _ in 0..PER_SLOT {
            held.push(engine.runtime.admit(Slot::Auth).await);
        }
        let soon = Duration::from_millis(10);
        let another = engine.runtime.admit(Slot::Auth);
        assert!(tokio::time::timeout(soon, another).await.is_err());
        assert!(engine.runtime.admit(Slot::Model).await.is_some());
    }
}
