//! Compiles components: light ones here, heavy ones in a child process with limits of its own, which leaves the result in the compile
//! cache.

use std::io::Read;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, Signal, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::sync::Semaphore;
use wasmtime::component::Component;

use super::{Engine, Purpose};
use crate::file;
use crate::policy::cache::{self, Cache, Key};
use crate::policy::fault::Problem;
use crate::policy::image;
use crate::policy::weigh::Weight;

/// The threads that compile in the child, at most: each reserves address space.
const THREADS: usize = 4;
/// The child's limits. Components in JavaScript and Python take 0.4 GiB, and some 10 s of a release build.
const MEMORY: u64 = 2 << 30;
const CPU_SECONDS: u64 = 60;
/// Wall-clock time: the child runs at low priority.
const DEADLINE: Duration = Duration::from_secs(300);
/// The child's results, as exit codes.
const INVALID: u8 = 65;
const NOT_KEPT: u8 = 74;
/// The most bytes of the child's error text.
const MAX_WORDS: u64 = 4096;
/// The most bytes of a component on standard input: an instrumented one is larger than its file.
const MAX_COMPONENT: u64 = 256 << 20;

/// The program's own subcommand that does the compiling.
pub const SUBCOMMAND: &str = "compile-component";

/// Starts the compiling children, one at a time.
#[derive(Clone)]
pub(in crate::policy) struct Compiler {
    program: PathBuf,
    cache: PathBuf,
    turn: Arc<Semaphore>,
}

impl Engine {
    /// The compiled component, which was compiled recently, is in the cache, or is compiled now.
    pub(in crate::policy) async fn compiled(
        &self,
        weight: Weight,
        purpose: Purpose,
        wasm: &[u8],
    ) -> Result<Component, Problem> {
        let key = cache::key(self.runtime.engine(purpose), wasm);
        if let Some(component) = self.compiled.get(key) {
            return Ok(component);
        }
        let component = self.found_or_compiled(weight, purpose, (wasm, key)).await?;
        self.compiled.put(key, wasm.len(), component.clone());
        Ok(component)
    }

    async fn found_or_compiled(
        &self,
        weight: Weight,
        purpose: Purpose,
        (wasm, key): (&[u8], Key),
    ) -> Result<Component, Problem> {
        let engine = self.runtime.engine(purpose);
        let find = || self.cache.as_ref()?.find(engine, &key);
        if let Some(component) = find() {
            return Ok(component);
        }
        if let Some(compiler) = self.compiler.as_ref().filter(|_| !weight.is_light()) {
            compiler.compile(purpose, wasm).await?;
            return find().ok_or_else(|| internal("the compiled component is not in the cache"));
        }
        let invalid = |error: wasmtime::Error| Problem::of(&error, Problem::Invalid);
        let code = engine.precompile_component(wasm).map_err(invalid)?;
        if let Some(cache) = &self.cache {
            match cache.keep(&key, &code) {
                Ok(()) => {
                    if let Some(component) = find() {
                        return Ok(component);
                    }
                }
                Err(error) => tracing::debug!(%error, "the compile cache cannot be written"),
            }
        }
        cache::load(engine, &code, self.cache.as_ref()).map_err(invalid)
    }

    /// The component of a snapshot. Its code is that of its template, so only a component's first settings compile something.
    pub(in crate::policy) async fn frozen(
        &self,
        weight: Weight,
        template: wasmtime::Result<Vec<u8>>,
        snapshot: &[u8],
    ) -> Result<Component, Problem> {
        let purpose = self.runtime.purpose();
        let error = match template {
            Err(error) => error,
            Ok(template) => match self.compiled(weight, purpose, &template).await {
                Err(Problem::Invalid(words)) => wasmtime::format_err!("{words}"),
                Err(problem) => return Err(problem),
                Ok(template) => match self.with_state(&template, snapshot) {
                    Ok(component) => return Ok(component),
                    Err(error) => error,
                },
            },
        };
        let error = format!("{error:#}");
        tracing::warn!(
            error,
            "each change of this policy's settings is compiled, as its snapshot does not fit its code"
        );
        let key = cache::key(self.runtime.engine(purpose), snapshot);
        let component = self.found_or_compiled(weight, purpose, (snapshot, key));
        let component = component.await?;
        // It has the settings in it.
        if let Some(cache) = &self.cache {
            cache.forget(&key);
        }
        Ok(component)
    }

    fn with_state(&self, template: &Component, snapshot: &[u8]) -> wasmtime::Result<Component> {
        let code = image::code(template, snapshot)?;
        cache::load(template.engine(), &code, self.cache.as_ref())
    }
}

impl Compiler {
    /// `program` is the running executable, `cache` the folder that it shares with its children.
    pub(super) fn new(program: PathBuf, cache: PathBuf) -> Self {
        let turn = Arc::new(Semaphore::new(1));
        Self {
            program,
            cache,
            turn,
        }
    }

    /// Compiles the component in a child, and returns when it is in the cache.
    async fn compile(&self, purpose: Purpose, wasm: &[u8]) -> Result<(), Problem> {
        let _turn = self.turn.acquire().await.map_err(internal)?;
        let child = self.start(purpose);
        let mut child = child.map_err(|error| Problem::of_io(&error, Problem::Internal))?;
        let watched = tokio::time::timeout(DEADLINE, finish(&mut child, wasm)).await;
        match watched {
            Ok(ended) => ended,
            // Dropping the child kills it.
            Err(_) => Err(Problem::TooHeavy(format!(
                "{} s of compiling",
                DEADLINE.as_secs()
            ))),
        }
    }

    fn start(&self, purpose: Purpose) -> std::io::Result<Child> {
        let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
        Command::new(&self.program)
            .arg(SUBCOMMAND)
            .arg(&self.cache)
            .arg(purpose.word())
            .env_clear()
            .env("RAYON_NUM_THREADS", threads.min(THREADS).to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
    }
}

async fn finish(child: &mut Child, wasm: &[u8]) -> Result<(), Problem> {
    use std::os::unix::process::ExitStatusExt;
    let (input, output) = (child.stdin.take(), child.stderr.take());
    let (Some(mut input), Some(output)) = (input, output) else {
        return Err(internal("a child without pipes"));
    };
    let write = async {
        // If the child ends early, its exit status tells the reason.
        let _ = input.write_all(wasm).await;
        drop(input);
    };
    let mut words = Vec::new();
    let mut output = output.take(MAX_WORDS);
    let (status, (), _) = tokio::join!(child.wait(), write, output.read_to_end(&mut words));
    let status = status.map_err(internal)?;
    let words = String::from_utf8_lossy(&words).trim().to_owned();
    let signal = status.signal().map(Signal::from_named_raw);
    match (status.code(), signal.flatten()) {
        (Some(0), _) => Ok(()),
        (Some(code), _) if code == i32::from(INVALID) => Err(Problem::Invalid(words)),
        (Some(code), _) if code == i32::from(NOT_KEPT) => Err(internal(words)),
        (_, Some(Signal::XCPU | Signal::KILL)) => Err(Problem::TooHeavy(format!(
            "{CPU_SECONDS} s of processor time to compile"
        ))),
        // Rust aborts when an allocation is refused.
        (_, Some(Signal::ABORT)) => Err(Problem::TooHeavy(format!(
            "{} GiB of memory to compile",
            MEMORY >> 30
        ))),
        (_, Some(Signal::XFSZ)) => Err(Problem::Hindered(format!(
            "the compile cache cannot be written: {}",
            file::RAISE_FILE_LIMIT
        ))),
        _ => Err(internal(format!(
            "the compiling child ended with {status}: {words}"
        ))),
    }
}

fn internal(error: impl ToString) -> Problem {
    Problem::Internal(error.to_string())
}

/// The child's part: compiles the component from standard input into the cache. Returns the exit code.
#[must_use]
pub fn compile_component(cache: &Path, purpose: &str) -> u8 {
    let Some(purpose) = Purpose::parse(purpose) else {
        return INVALID;
    };
    match try_compile(cache, purpose) {
        Ok(()) => 0,
        Err((code, words)) => {
            eprintln!("{words}");
            code
        }
    }
}

fn try_compile(folder: &Path, purpose: Purpose) -> Result<(), (u8, String)> {
    let not_kept = |error: String| (NOT_KEPT, error);
    confine().map_err(|error| not_kept(error.to_string()))?;
    let mut wasm = Vec::new();
    let mut input = std::io::stdin().take(MAX_COMPONENT);
    input
        .read_to_end(&mut wasm)
        .map_err(|error| not_kept(error.to_string()))?;
    let cache = Cache::open(folder).map_err(not_kept)?;
    let mut config = purpose.config();
    config.parallel_compilation(true);
    let engine = wasmtime::Engine::new(&config).map_err(|error| not_kept(error.to_string()))?;
    let code = engine.precompile_component(&wasm);
    let code = code.map_err(|error| (INVALID, format!("{error:#}")))?;
    let kept = cache.keep(&cache::key(&engine, &wasm), &code);
    kept.map_err(|error| not_kept(format!("the compile cache cannot be written: {error}")))
}

/// Limits this process: memory, processor time and priority; on Linux it is killed when its parent ends.
fn confine() -> std::io::Result<()> {
    let limit = |most: u64| Rlimit {
        current: Some(most),
        maximum: Some(most),
    };
    setrlimit(Resource::As, limit(MEMORY))?;
    setrlimit(Resource::Cpu, limit(CPU_SECONDS))?;
    setrlimit(Resource::Core, limit(0))?;
    #[cfg(target_os = "linux")]
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    // If lowering the priority is forbidden, the child runs at normal priority.
    let _ = rustix::process::nice(10);
    Ok(())
}
