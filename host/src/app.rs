//! Builds the gateway from its configuration, serves requests, and drains it.
//!
//! `door` opens the listeners, `drain` ends them, `operators` serves operators. Without serving, `check` tries a start, `again` decides
//! recorded decisions again, and `author` prepares single policies.

mod again;
mod author;
mod check;
mod door;
mod drain;
mod matrix;
mod operators;
mod start_error;

use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use rustix::process::Resource;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::api::{self, Bodies, Connections, Parts, Shared, Stage};
use crate::codex::{self, Backend, Models};
use crate::config::{Codex, Config};
use crate::file::RAISE_FILE_LIMIT;
use crate::listen::{self, Handed, Sockets};
use crate::policy::{self, Engine, Facts, FaultKind, Live, Slot, Source};
use crate::quota::{Memory, State};
use crate::telemetry::{Metrics, Telemetry};
pub use again::{ReplayError, replacement, replay, signature_of};
pub use author::{
    Deployed, deploy, read_case, read_small, workbench, write_deployed, write_files,
    write_signature,
};
pub use check::{check, check_file, check_folder};
use door::Doors;
use drain::Drain;
pub use matrix::{MatrixError, Other, matrix};
use operators::Operators;
pub use start_error::StartError;

/// The size of the largest files that the gateway writes: compiled policies, counters, the usage log.
const LARGEST_FILE: u64 = 192 << 20;

/// Makes a write beyond the limit of file sizes (`ulimit -f`) fail instead of ending the process, and warns of a low limit. The
/// signal (SIGXFSZ) is caught and not ignored, so that children start with its default, as they do with that of SIGPIPE.
///
/// # Errors
/// If signals cannot be caught.
pub fn outlive_file_limit() -> std::io::Result<()> {
    let kind = SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw());
    signal(kind).map(drop)?;
    let limit = rustix::process::getrlimit(Resource::Fsize).current;
    if let Some(bytes) = limit.filter(|bytes| *bytes < LARGEST_FILE) {
        tracing::warn!(
            bytes,
            "some files cannot be written whole: {RAISE_FILE_LIMIT}"
        );
    }
    Ok(())
}

/// A gateway that is ready to serve.
pub struct App {
    doors: Doors,
    inside: Inside,
    drain: Drain,
}

/// Everything behind the listeners.
struct Inside {
    live: Arc<Live>,
    backend: Backend,
    telemetry: Telemetry,
    requests: TaskTracker,
    counters: Memory,
    state: Option<State>,
    watcher: JoinHandle<()>,
}

impl App {
    /// Listens, and starts everything else. `/healthz` answers at once; other requests wait until the start is complete. If
    /// another gateway may share the port or the socket, this one accepts no connections before it can answer: meanwhile the
    /// other gateway serves, or the system queues the connections.
    ///
    /// # Errors
    /// The reason why it cannot start, with a remedy where there is one; [`StartError::Stopped`] if `stop` came first.
    pub async fn build(
        config: Config,
        sockets: Handed,
        stop: &CancellationToken,
    ) -> Result<Self, StartError> {
        let open = Sockets::open(&config.listen, sockets)?;
        Self::build_on(config, open, None, stop).await
    }

    /// As [`App::build`], with an existing engine, which several gateways in one process can share.
    ///
    /// # Errors
    /// As [`App::build`].
    pub async fn build_with(
        config: Config,
        engine: Engine,
        stop: &CancellationToken,
    ) -> Result<Self, StartError> {
        let open = Sockets::open(&config.listen, Handed::default())?;
        Self::build_on(config, open, Some(engine), stop).await
    }

    async fn build_on(
        config: Config,
        sockets: Sockets,
        engine: Option<Engine>,
        stop: &CancellationToken,
    ) -> Result<Self, StartError> {
        let drain = Drain::new(config.drain_delay, config.shutdown_grace);
        let connections = Connections::of_descriptors(listen::descriptors());
        let operators = Operators::of(&config, source(&config));
        let is_late = config.listen.reuse_port || sockets.is_listening();
        let start = Start {
            config,
            engine,
            drain: &drain,
            stop,
            connections: connections.clone(),
            operators: operators.as_ref().map(Operators::by_token),
        };
        let (doors, inside, shared) = if is_late {
            let (inside, shared) = start.run(|_| {}).await?;
            match Doors::open(sockets, &drain.closing, &connections) {
                Ok(doors) => (doors, inside, shared),
                Err(error) => {
                    inside.backend.shutdown().await;
                    return Err(error.into());
                }
            }
        } else {
            let mut doors = Doors::open(sockets, &drain.closing, &connections)?;
            match start.run(|stage| doors.reach(stage)).await {
                Ok((inside, shared)) => (doors, inside, shared),
                Err(error) => {
                    doors.reach(Stage::Ending);
                    drain.give_up(doors.closed()).await;
                    return Err(error);
                }
            }
        };
        doors.serve(shared.clone());
        if let Some(operators) = operators {
            operators.serve(&doors, shared, &drain.closing);
        }
        Ok(Self {
            doors,
            inside,
            drain,
        })
    }

    /// The address it listens on; with the real port if 0 was configured.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.doors.main.address
    }

    /// The address of the listener for edge proxies only, with `AUTH_PORT`.
    #[must_use]
    pub fn auth_address(&self) -> Option<SocketAddr> {
        self.doors.auth.as_ref().map(|door| door.address)
    }

    /// The address of the listener for operators, with `ADMIN_ADDR`.
    #[must_use]
    pub fn admin_address(&self) -> Option<&listen::AdminAddr> {
        self.doors.admin.as_ref().map(|door| &door.address)
    }

    /// The serving policies, and the means to replace them.
    #[must_use]
    pub fn live(&self) -> Arc<Live> {
        Arc::clone(&self.inside.live)
    }

    /// The backend that answers turns.
    #[must_use]
    pub fn backend(&self) -> Backend {
        self.inside.backend.clone()
    }

    /// Serves until `stop` completes, then drains: `/readyz` fails, no new requests are accepted after the delay, streams may
    /// finish within the grace, later ones end with an error, and the Codex child is reaped.
    ///
    /// # Errors
    /// If a task of a listener fails.
    pub async fn serve(
        self,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> std::io::Result<()> {
        let Self {
            mut doors,
            inside,
            drain,
        } = self;
        let Inside {
            backend,
            telemetry,
            requests,
            counters,
            state,
            watcher,
            live,
        } = inside;
        let settled = CancellationToken::new();
        let keeper = state.map(|state| tokio::spawn(state.keep(counters, settled.clone())));
        let serving = async {
            doors.closed().await?;
            // Requests whose clients have gone have no connection, so closed connections do not mean that they have ended.
            requests.close();
            requests.wait().await;
            Ok(())
        };
        let result = tokio::select! {
            result = serving => result,
            () = drain.after(stop) => Ok(()),
        };
        // Also after a listener failed: nothing of the gateway outlives this call.
        drain.end();
        drop(doors);
        backend.shutdown().await;
        drain::finish("the policy watcher", watcher).await;
        // The counters are saved last, so that they include every answer.
        settled.cancel();
        if let Some(keeper) = keeper {
            drain::finish("saving the counters", keeper).await;
        }
        let closing = tokio::task::spawn_blocking(move || telemetry.close());
        let recorded = tokio::task::spawn_blocking(move || live.close_records());
        drain::finish("closing usage and traces", closing).await;
        drain::finish("closing the records of decisions", recorded).await;
        result
    }
}

/// The parts of a start.
struct Start<'a> {
    config: Config,
    engine: Option<Engine>,
    drain: &'a Drain,
    stop: &'a CancellationToken,
    connections: Connections,
    operators: Option<api::Operators>,
}

impl Start<'_> {
    /// Starts everything behind the listeners.
    async fn run(self, reach: impl Fn(Stage)) -> Result<(Inside, Shared), StartError> {
        let Self {
            config,
            engine,
            drain,
            stop,
            connections,
            operators,
        } = self;
        let telemetry = operators::observe(&config, metrics)?;
        reach(Stage::Codex);
        let backend = tokio::select! {
            backend = connect(&config.codex) => backend?,
            // Dropping the future kills a Codex program that is being asked.
            () = stop.cancelled() => return Err(StartError::Stopped),
        };
        reach(Stage::Policies);
        let facts = facts(&config, Some(backend.models()));
        let source = source(&config);
        let prepared = tokio::select! {
            prepared = prepare(engine, &config, &source, &facts) => prepared,
            () = stop.cancelled() => Err(StartError::Stopped),
        };
        let live = match prepared {
            Ok(live) => Arc::new(live),
            Err(error) => {
                backend.shutdown().await;
                return Err(error);
            }
        };
        let state = config.state_dir.map(State::new);
        let counters = state.as_ref().map(State::load).unwrap_or_default();
        let watching = policy::watch(Arc::clone(&live), source, facts, drain.closing.clone());
        let requests = TaskTracker::new();
        let shared = Shared::new(Parts {
            connections,
            bodies: Bodies::new(config.api.max_body),
            config: config.api,
            live: Arc::clone(&live),
            backend: backend.clone(),
            telemetry: telemetry.clone(),
            requests: requests.clone(),
            responses: api::Responses::default(),
            sockets: api::Sockets::default(),
            counters: Arc::new(counters.clone()),
            operators,
            draining: drain.draining.clone(),
            ending: drain.ending.clone(),
        });
        let inside = Inside {
            live,
            backend,
            telemetry,
            requests,
            counters,
            state,
            watcher: tokio::spawn(watching),
        };
        Ok((inside, shared))
    }
}

async fn prepare(
    engine: Option<Engine>,
    config: &Config,
    source: &Source,
    facts: &Facts,
) -> Result<Live, StartError> {
    let cache = config.cache_dir.as_deref();
    let engine = engine.map_or_else(|| self::engine(config, cache), Ok)?;
    let live = Live::resume(engine, source, facts).await?;
    if let Some(records) = &config.records {
        live.record(records.clone()).map_err(StartError::Records)?;
    }
    Ok(live)
}

async fn connect(codex: &Codex) -> Result<Backend, codex::StartError> {
    match codex {
        Codex::Program(config, choice) => Backend::connect((**config).clone(), *choice).await,
        Codex::Demo => Ok(Backend::demo()),
    }
}

/// `cache` is the folder of compiled components.
fn engine(config: &Config, cache: Option<&Path>) -> Result<Engine, StartError> {
    let engine = match &config.program {
        Some(program) => Engine::compiling_with(program, cache),
        None => Engine::new(cache),
    };
    engine.map_err(StartError::Engine)
}

/// The activations of policies, oldest first, as the state folder has them; `None` without a state folder.
///
/// # Errors
/// If there is a history that cannot be read.
pub fn history(config: &Config) -> std::io::Result<Option<Vec<policy::Activated>>> {
    source(config).history()
}

fn source(config: &Config) -> Source {
    let (folder, defaults) = (config.policy_dir.clone(), config.policy_defaults.clone());
    Source::new(folder, defaults)
        .remembering(config.state_dir.as_deref())
        .trusting(config.policy_trust.clone())
}

/// `models` are the models that Codex offers, if they are known.
fn facts(config: &Config, models: Option<Models>) -> Facts {
    let listed = models.iter().flat_map(|models| &models.listed);
    let listed = listed.filter_map(|model| serde_json::to_value(model).ok());
    let codex_model = config.model.clone();
    Facts {
        environment: config.environment.name().to_owned(),
        cors: config.api.origins.is_some(),
        models: listed.collect(),
        codex_model: codex_model.or_else(|| Some(models?.default)),
        endpoints: api::closed_paths(&config.api),
    }
}

/// The counters of policies exist from the start, under the names that logs and health use.
fn metrics() -> Metrics {
    let slots = Slot::ALL.map(Slot::name);
    let kinds = FaultKind::ALL.map(FaultKind::code);
    Metrics::new(&slots, &kinds)
}
