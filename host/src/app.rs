//! Builds the gateway from its configuration, serves, and drains it.

mod door;
mod drain;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::api::{self, Bodies, Connections, Parts, Shared, Stage};
use crate::codex::{self, Backend};
use crate::config::{Codex, Config};
use crate::listen::{self, Listeners};
use crate::policy::{self, Engine, Facts, FaultKind, Live, Refusals, Slot, Source};
use crate::quota::{Memory, State};
use crate::telemetry::{self, Metrics, Telemetry};
use door::Door;
use drain::Drain;

/// Why the gateway did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// wasmtime cannot run here.
    #[error("the policy engine cannot start: {0:#}")]
    Engine(wasmtime::Error),
    /// The first policies are not usable.
    #[error("the policies cannot serve: {0}")]
    Policies(#[from] Refusals),
    /// It was told to stop before it could serve.
    #[error("stopped before it could serve")]
    Stopped,
    /// Codex cannot be used.
    #[error(transparent)]
    Codex(#[from] codex::StartError),
    /// What operators are to see cannot be recorded or sent.
    #[error(transparent)]
    Telemetry(#[from] telemetry::StartError),
    /// There is nothing to listen on.
    #[error(transparent)]
    Listen(#[from] listen::Error),
}

impl StartError {
    /// Whether trying again as it is cannot help: the operator must change a file or a setting.
    #[must_use]
    pub fn is_configuration(&self) -> bool {
        match self {
            Self::Policies(_) => true,
            Self::Codex(error) => error.is_configuration(),
            Self::Engine(_) | Self::Stopped | Self::Telemetry(_) | Self::Listen(_) => false,
        }
    }
}

/// Tries the policies as a start would, but without a Codex to say which models there are, and without the last good
/// ones.
///
/// # Errors
/// What would be refused.
pub async fn check(config: &Config) -> Result<Vec<policy::Notice>, StartError> {
    let engine = Engine::new(config.cache_dir.as_deref()).map_err(StartError::Engine)?;
    let source = source(config);
    let demo = matches!(config.codex, Codex::Demo).then(Backend::demo);
    let facts = facts(config, demo.as_ref());
    Ok(Live::check(engine, &source, &facts).await?)
}

/// Beyond a limit of the size of files (`ulimit -f`) a write fails from now on, instead of ending the process. The signal
/// is caught, and not ignored: that way children have the default again, as they have of SIGPIPE.
///
/// # Errors
/// If signals cannot be caught.
pub fn outlive_file_limit() -> std::io::Result<()> {
    let kind = SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw());
    signal(kind).map(drop)
}

/// A gateway that can answer, and does: it listens since its start began.
pub struct App {
    main: Door,
    /// For edge proxies, with `AUTH_PORT`.
    auth: Option<Door>,
    inside: Inside,
    drain: Drain,
}

/// All that is behind the listeners.
struct Inside {
    live: Arc<Live>,
    backend: Backend,
    telemetry: Telemetry,
    turns: TaskTracker,
    counters: Memory,
    state: Option<State>,
    watcher: JoinHandle<()>,
}

impl App {
    /// Listens, and starts everything else. Alive at once; other requests wait for the rest.
    ///
    /// # Errors
    /// What keeps it from starting, with the remedy where there is one; [`StartError::Stopped`] if `stop` came first.
    pub async fn build(config: Config, stop: &CancellationToken) -> Result<Self, StartError> {
        Self::build_with(config, None, stop).await
    }

    /// As [`App::build`], perhaps with an engine that is already there: several gateways in one process can share it.
    ///
    /// # Errors
    /// As [`App::build`].
    pub async fn build_with(
        config: Config,
        engine: Option<Engine>,
        stop: &CancellationToken,
    ) -> Result<Self, StartError> {
        let drain = Drain::new(config.drain_delay, config.shutdown_grace);
        let listeners = Listeners::open(&config.listen)?;
        let connections = Connections::of_descriptors(listen::descriptors());
        let open = |listener| Door::open(listener, &drain.closing, &connections);
        let (main, auth) = (open(listeners.main), listeners.auth.map(open));
        tracing::info!(address = %main.address, "listening");
        if let Some(Door { address, .. }) = &auth {
            tracing::info!(%address, "listening for edge proxies");
        }
        let reach = |stage| {
            for door in [Some(&main), auth.as_ref()].into_iter().flatten() {
                door.entrance.reach(stage);
            }
        };
        let (inside, shared) = Start {
            config,
            engine,
            drain: &drain,
            stop,
            connections: connections.clone(),
        }
        .run(reach)
        .await?;
        if let Some(door) = &auth {
            door.entrance.open(api::verify_router(shared.clone()));
        }
        main.entrance.open(api::router(shared));
        Ok(Self {
            main,
            auth,
            inside,
            drain,
        })
    }

    /// Where it listens; the real port if 0 was configured.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.main.address
    }

    /// Where it listens for edge proxies only, with `AUTH_PORT`.
    #[must_use]
    pub fn auth_address(&self) -> Option<SocketAddr> {
        self.auth.as_ref().map(|door| door.address)
    }

    /// The policies that serve, and how they are replaced.
    #[must_use]
    pub fn live(&self) -> Arc<Live> {
        Arc::clone(&self.inside.live)
    }

    /// Who answers.
    #[must_use]
    pub fn backend(&self) -> Backend {
        self.inside.backend.clone()
    }

    /// Serves until `stop` is ready, then drains: `/readyz` says no, intake closes after the delay, streams finish
    /// within the grace, those that do not end with an error, the Codex child is reaped.
    ///
    /// # Errors
    /// If a listener breaks.
    pub async fn serve(
        self,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> std::io::Result<()> {
        let Self {
            mut main,
            mut auth,
            inside,
            drain,
        } = self;
        let Inside {
            backend,
            telemetry,
            turns,
            counters,
            state,
            watcher,
            ..
        } = inside;
        let settled = CancellationToken::new();
        let keeper = state.map(|state| tokio::spawn(state.keep(counters, settled.clone())));
        let serving = async {
            let auth = async {
                match &mut auth {
                    Some(door) => door.closed().await,
                    None => Ok(()),
                }
            };
            tokio::try_join!(main.closed(), auth)?;
            // Those whose clients have gone have no connection to be waited for.
            turns.close();
            turns.wait().await;
            Ok(())
        };
        let result = tokio::select! {
            result = serving => result,
            () = drain.after(stop) => Ok(()),
        };
        // Also when the listener broke: nothing of ours outlives this call.
        drain.end();
        drop((main, auth));
        backend.shutdown().await;
        drain::finish("the policy watcher", watcher).await;
        // Last: what was answered until now counts.
        settled.cancel();
        if let Some(keeper) = keeper {
            drain::finish("saving the counters", keeper).await;
        }
        let closing = tokio::task::spawn_blocking(move || telemetry.close());
        drain::finish("closing usage and traces", closing).await;
        result
    }
}

/// What a start is made of.
struct Start<'a> {
    config: Config,
    engine: Option<Engine>,
    drain: &'a Drain,
    stop: &'a CancellationToken,
    connections: Connections,
}

impl Start<'_> {
    /// Starts what is behind the listeners.
    async fn run(self, reach: impl Fn(Stage)) -> Result<(Inside, Shared), StartError> {
        let Self {
            config,
            engine,
            drain,
            stop,
            connections,
        } = self;
        let metrics = config.api.metrics.is_some().then(metrics);
        let telemetry = Telemetry::start(config.telemetry.clone(), metrics)?;
        reach(Stage::Codex);
        let backend = match &config.codex {
            Codex::Program(codex, choice) => Backend::connect((**codex).clone(), *choice).await?,
            Codex::Demo => Backend::demo(),
        };
        reach(Stage::Policies);
        let facts = facts(&config, Some(&backend));
        let source = source(&config);
        let cache = config.cache_dir.as_deref();
        let prepared = async {
            let engine = engine.map_or_else(|| Engine::new(cache), Ok);
            let engine = engine.map_err(StartError::Engine)?;
            Ok(Live::resume(engine, &source, &facts).await?)
        };
        let prepared = tokio::select! {
            prepared = prepared => prepared,
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
        let turns = TaskTracker::new();
        let shared = Shared::new(Parts {
            connections,
            bodies: Bodies::new(config.api.max_body),
            config: config.api,
            live: Arc::clone(&live),
            backend: backend.clone(),
            telemetry: telemetry.clone(),
            turns: turns.clone(),
            responses: api::Responses::default(),
            counters: Arc::new(counters.clone()),
            draining: drain.draining.clone(),
            ending: drain.ending.clone(),
        });
        let inside = Inside {
            live,
            backend,
            telemetry,
            turns,
            counters,
            state,
            watcher: tokio::spawn(watching),
        };
        Ok((inside, shared))
    }
}

fn source(config: &Config) -> Source {
    let (folder, defaults) = (config.policy_dir.clone(), config.policy_defaults.clone());
    Source::new(folder, defaults).remembering(config.state_dir.as_deref())
}

fn facts(config: &Config, backend: Option<&Backend>) -> Facts {
    let models = backend.map(Backend::models).unwrap_or_default();
    let models = models
        .iter()
        .filter_map(|model| serde_json::to_value(model).ok())
        .collect();
    let codex_model = config.model.clone();
    Facts {
        environment: config.environment.name().to_owned(),
        cors: config.api.origins.is_some(),
        codex_model: codex_model.or_else(|| backend?.default_model()),
        models,
    }
}

/// Policies' counters exist from the start, under the names that logs and health use.
fn metrics() -> Metrics {
    let slots = Slot::ALL.map(Slot::name);
    let kinds = FaultKind::ALL.map(FaultKind::code);
    Metrics::new(&slots, &kinds)
}
