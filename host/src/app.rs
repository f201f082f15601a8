//! Builds the gateway from its configuration, serves, and drains it.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::serve::ListenerExt;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tower::Layer;
use tower_http::normalize_path::NormalizePathLayer;

use crate::api::{self, Parts, Shared};
use crate::codex::{self, Backend};
use crate::config::{Codex, Config};
use crate::policy::{self, Engine, Facts, FaultKind, Live, Refusals, Slot, Source};
use crate::quota::{Memory, State};
use crate::telemetry::{self, Metrics, Telemetry};

/// After the grace, how long streams that were told to end may take to say so.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Why the gateway did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// wasmtime cannot run here.
    #[error("the policy engine cannot start: {0:#}")]
    Engine(wasmtime::Error),
    /// The first policies are not usable.
    #[error("the policies cannot serve: {0}")]
    Policies(#[from] Refusals),
    /// Codex cannot be used.
    #[error(transparent)]
    Codex(#[from] codex::StartError),
    /// What operators are to see cannot be recorded or sent.
    #[error(transparent)]
    Telemetry(#[from] telemetry::StartError),
    /// The address cannot be had.
    #[error("cannot listen on {address}: {cause}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The system's words.
        cause: std::io::Error,
    },
}

/// A gateway that listens, not serving yet.
pub struct App {
    main: Door,
    /// For edge proxies, with `AUTH_PORT`.
    auth: Option<Door>,
    live: Arc<Live>,
    backend: Backend,
    telemetry: Telemetry,
    counters: Memory,
    state: Option<State>,
    watcher: JoinHandle<()>,
    drain: Drain,
}

impl App {
    /// Starts everything but serving.
    ///
    /// # Errors
    /// What keeps it from starting, with the remedy where there is one.
    pub async fn build(config: Config) -> Result<Self, StartError> {
        let engine = Engine::new().map_err(StartError::Engine)?;
        Self::build_with(config, engine).await
    }

    /// As [`App::build`], with an engine that is already there: several gateways in one process can share it.
    ///
    /// # Errors
    /// As [`App::build`].
    pub async fn build_with(config: Config, engine: Engine) -> Result<Self, StartError> {
        let listening = listen(config.host, config.port).await?;
        let auth_listener = match config.auth_port {
            Some(port) => Some(listen(config.host, port).await?),
            None => None,
        };

        let metrics = config.api.metrics.is_some().then(metrics);
        let telemetry = Telemetry::start(config.telemetry.clone(), metrics)?;
        let backend = match &config.codex {
            Codex::Program(codex, choice) => Backend::connect((**codex).clone(), *choice).await?,
            Codex::Demo => Backend::demo(),
        };
        let facts = facts(&config, &backend);
        let source = Source::new(config.policy_dir, config.policy_defaults);
        let live = match start(engine, &source, &facts).await {
            Ok(live) => live,
            Err(refusals) => {
                backend.shutdown().await;
                return Err(refusals.into());
            }
        };
        let state = config.state_dir.map(State::new);
        let counters = state.as_ref().map(State::load).unwrap_or_default();
        let drain = Drain::new(config.drain_delay, config.shutdown_grace);
        let watching = policy::watch(Arc::clone(&live), source, facts, drain.closing.clone());
        let watcher = tokio::spawn(watching);
        let shared = Shared::new(Parts {
            config: config.api,
            live: Arc::clone(&live),
            backend: backend.clone(),
            telemetry: telemetry.clone(),
            responses: api::Responses::default(),
            counters: Arc::new(counters.clone()),
            draining: drain.draining.clone(),
            ending: drain.ending.clone(),
        });
        let auth =
            auth_listener.map(|listening| Door::new(listening, api::verify_router(shared.clone())));
        let main = Door::new(listening, api::router(shared));
        Ok(Self {
            main,
            auth,
            live,
            backend,
            telemetry,
            counters,
            state,
            watcher,
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
        Arc::clone(&self.live)
    }

    /// Who answers.
    #[must_use]
    pub fn backend(&self) -> Backend {
        self.backend.clone()
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
            main,
            auth,
            backend,
            telemetry,
            counters,
            state,
            watcher,
            drain,
            ..
        } = self;
        let settled = CancellationToken::new();
        let keeper = state.map(|state| tokio::spawn(state.keep(counters, settled.clone())));
        let serving = async {
            let auth = async {
                match auth {
                    Some(door) => door.serve(&drain.closing).await,
                    None => Ok(()),
                }
            };
            tokio::try_join!(main.serve(&drain.closing), auth)
        };
        let result = tokio::select! {
            result = serving => result.map(|((), ())| ()),
            () = drain.after(stop) => Ok(()),
        };
        // Also when the listener broke: nothing of ours outlives this call.
        drain.end();
        backend.shutdown().await;
        if let Err(error) = watcher.await {
            tracing::error!(%error, "the policy watcher failed");
        }
        // Last: what was answered until now counts.
        settled.cancel();
        if let Some(keeper) = keeper
            && let Err(error) = keeper.await
        {
            tracing::error!(%error, "the counters were not kept");
        }
        if let Err(error) = tokio::task::spawn_blocking(move || telemetry.close()).await {
            tracing::error!(%error, "usage and traces were not closed");
        }
        result
    }
}

/// How the gateway ends, step by step.
struct Drain {
    /// Load balancers are told to turn away.
    draining: CancellationToken,
    /// Nothing new is taken in.
    closing: CancellationToken,
    /// What still streams is cut.
    ending: CancellationToken,
    /// From the first to the second.
    delay: Duration,
    /// From the second to the third.
    grace: Duration,
}

impl Drain {
    fn new(delay: Duration, grace: Duration) -> Self {
        Self {
            draining: CancellationToken::new(),
            closing: CancellationToken::new(),
            ending: CancellationToken::new(),
            delay,
            grace,
        }
    }

    /// Takes the steps once `stop` is ready, and returns when nobody is waited for any more.
    async fn after(&self, stop: impl Future<Output = ()>) {
        stop.await;
        self.draining.cancel();
        if !self.delay.is_zero() {
            let delay_ms = self.delay.as_millis() as u64;
            tracing::info!(delay_ms, "draining: not ready, but requests are taken");
            tokio::time::sleep(self.delay).await;
        }
        let grace_ms = self.grace.as_millis() as u64;
        tracing::info!(grace_ms, "draining: no new requests");
        self.closing.cancel();
        tokio::time::sleep(self.grace).await;
        tracing::warn!("the grace is over: what still streams ends with an error");
        self.ending.cancel();
        tokio::time::sleep(LAST_WORDS).await;
    }

    /// Takes all of them at once.
    fn end(&self) {
        for step in [&self.draining, &self.closing, &self.ending] {
            step.cancel();
        }
    }
}

/// A listener and what it serves.
struct Door {
    listener: TcpListener,
    address: SocketAddr,
    router: Router,
}

impl Door {
    fn new((listener, address): (TcpListener, SocketAddr), router: Router) -> Self {
        Self {
            listener,
            address,
            router,
        }
    }

    /// Serves until intake closes and what was taken in is answered.
    async fn serve(self, closing: &CancellationToken) -> std::io::Result<()> {
        // Outside the router, so that it applies before a route is chosen.
        let service = NormalizePathLayer::trim_trailing_slash().layer(self.router);
        let service =
            axum::ServiceExt::<Request>::into_make_service_with_connect_info::<api::Peer>(service);
        axum::serve(api::Attended(self.listener.tap_io(tune)), service)
            .with_graceful_shutdown(closing.clone().cancelled_owned())
            .await
    }
}

/// Small pieces go out at once, and a peer that vanished without a word is noticed.
fn tune(stream: &mut TcpStream) {
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(60))
        .with_interval(Duration::from_secs(15));
    let tuned = stream
        .set_nodelay(true)
        .and_then(|()| SockRef::from(&*stream).set_tcp_keepalive(&keepalive));
    if let Err(error) = tuned {
        tracing::debug!(%error, "a connection goes on as it is");
    }
}

async fn listen(host: IpAddr, port: u16) -> Result<(TcpListener, SocketAddr), StartError> {
    let address = SocketAddr::new(host, port);
    let failed = |cause| StartError::Listen { address, cause };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

async fn start(engine: Engine, source: &Source, facts: &Facts) -> Result<Arc<Live>, Refusals> {
    let candidates = source.read(facts)?;
    Live::start(engine, &candidates).await.map(Arc::new)
}

fn facts(config: &Config, backend: &Backend) -> Facts {
    let models = backend
        .models()
        .iter()
        .filter_map(|model| serde_json::to_value(model).ok())
        .collect();
    let codex_model = config.model.clone().or_else(|| backend.default_model());
    Facts {
        environment: config.environment.name().to_owned(),
        cors: config.api.origins.is_some(),
        codex_model,
        models,
    }
}

/// Policies' counters exist from the start, under the names that logs and health use.
fn metrics() -> Metrics {
    let slots = Slot::ALL.map(Slot::name);
    let kinds = FaultKind::ALL.map(FaultKind::code);
    Metrics::new(&slots, &kinds)
}
