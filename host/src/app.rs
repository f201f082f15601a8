//! Builds the gateway from its configuration, serves, and drains it.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tower::Layer;
use tower_http::normalize_path::NormalizePathLayer;

use crate::api::{self, Parts, Shared};
use crate::codex::{self, Backend};
use crate::config::{Codex, Config};
use crate::policy::{self, Engine, Facts, Live, Refusals, Source};
use crate::quota::Counters;

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
    listener: TcpListener,
    address: SocketAddr,
    router: Router,
    live: Arc<Live>,
    backend: Backend,
    watcher: JoinHandle<()>,
    draining: CancellationToken,
    ending: CancellationToken,
    shutdown_grace: Duration,
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
        let address = SocketAddr::new(config.host, config.port);
        let listen = |cause| StartError::Listen { address, cause };
        let listener = TcpListener::bind(address).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;

        let backend = match &config.codex {
            Codex::AppServer(codex) => Backend::app_server((**codex).clone()).await?,
            Codex::Demo => Backend::demo(),
        };
        let facts = facts(&config, &backend);
        let source = Source::new(config.policy_dir, config.policy_defaults);
        let live = match source.read(&facts) {
            Ok(candidates) => Live::start(engine, &candidates).await,
            Err(refusals) => Err(refusals),
        };
        let live = match live {
            Ok(live) => Arc::new(live),
            Err(refusals) => {
                backend.shutdown().await;
                return Err(refusals.into());
            }
        };
        let (draining, ending) = (CancellationToken::new(), CancellationToken::new());
        let watcher = watch_policies(&live, source, facts, draining.clone());
        let router = api::router(Shared::new(Parts {
            config: config.api,
            live: Arc::clone(&live),
            backend: backend.clone(),
            responses: api::Responses::default(),
            counters: Arc::new(Counters::default()),
            draining: draining.clone(),
            ending: ending.clone(),
        }));
        let shutdown_grace = config.shutdown_grace;
        Ok(Self {
            listener,
            address,
            router,
            live,
            backend,
            watcher,
            draining,
            ending,
            shutdown_grace,
        })
    }

    /// Where it listens; the real port if 0 was configured.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
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

    /// Serves until `stop` is ready, then drains: intake closes, streams finish within the grace, those that do not
    /// end with an error, the Codex child is reaped.
    ///
    /// # Errors
    /// If the listener breaks.
    pub async fn serve(
        self,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> std::io::Result<()> {
        let Self {
            listener,
            router,
            backend,
            watcher,
            draining,
            ending,
            shutdown_grace,
            ..
        } = self;
        // Outside the router, so that it applies before a route is chosen.
        let service = NormalizePathLayer::trim_trailing_slash().layer(router);
        let service =
            axum::ServiceExt::<Request>::into_make_service_with_connect_info::<SocketAddr>(service);
        let closing = draining.clone();
        let serving = axum::serve(listener, service).with_graceful_shutdown(async move {
            stop.await;
            tracing::info!(
                grace_ms = shutdown_grace.as_millis() as u64,
                "draining: no new requests"
            );
            closing.cancel();
        });
        let serving = std::pin::pin!(serving.into_future());
        let limit = async {
            draining.cancelled().await;
            tokio::time::sleep(shutdown_grace).await;
            tracing::warn!("the grace is over: what still streams ends with an error");
            ending.cancel();
            tokio::time::sleep(LAST_WORDS).await;
        };
        let result = tokio::select! {
            result = serving => result,
            () = limit => Ok(()),
        };
        // Also when the listener broke: nothing of ours outlives this call.
        draining.cancel();
        ending.cancel();
        backend.shutdown().await;
        if let Err(error) = watcher.await {
            tracing::error!(%error, "the policy watcher failed");
        }
        result
    }
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
        codex_model,
        models,
    }
}

fn watch_policies(
    live: &Arc<Live>,
    source: Source,
    facts: Facts,
    stop: CancellationToken,
) -> JoinHandle<()> {
    let live = Arc::clone(live);
    tokio::spawn(async move {
        // Kept here: the facts stay what they are for as long as the process runs.
        let (_facts, receiver) = watch::channel(facts);
        policy::watch(live, source, receiver, stop).await;
    })
}
