//! HTTP: the only module that says axum. A handler extracts, asks and answers; everything else is below.

mod activity;
mod admission;
mod arrival;
mod authority;
mod bodies;
mod client_addr;
mod connection;
mod connections;
mod endpoints;
mod entrance;
mod error;
mod forwarded;
mod generate;
mod id;
mod middleware;
mod output_mode;
mod request;
mod request_context;
mod response_store;
mod serve;
mod sse;
mod timeouts;
mod turn_stream;

use std::sync::Arc;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{get, post};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use crate::openai::Reading;
pub use bodies::Bodies;
pub use client_addr::TrustedProxies;
pub use connections::Connections;
pub use endpoints::metrics::MetricsAccess;
pub use entrance::{Entrance, Stage};
pub use middleware::cors::Origins;
pub use output_mode::OutputMode;
pub use response_store::Responses;
pub use serve::serve;
pub use timeouts::Timeouts;

use endpoints::{chat, completions, health, metrics, models, openapi, responses, usage, verify};
use middleware::{auth, cors, drain_body, head};

use crate::codex::Backend;
use crate::policy::Live;
use crate::quota::Store;
use crate::telemetry::Telemetry;

/// What the HTTP surface needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    /// The largest request body, in bytes.
    pub max_body: usize,
    /// How long answers may take.
    pub timers: Timeouts,
    /// A turn ends when its client has gone; otherwise it runs to its end.
    pub kill_on_disconnect: bool,
    /// Whose `X-Forwarded-For` and `Forwarded` are believed.
    pub trusted: TrustedProxies,
    /// Whose pages may call; none: a page cannot read any answer.
    pub origins: Option<Origins>,
    /// The most answers a chat request may ask for.
    pub max_choices: u32,
    /// What becomes of tool calls that are written as text, where a request does not say.
    pub output_mode: OutputMode,
    /// Who may read the metrics; absent where there are none.
    pub metrics: Option<MetricsAccess>,
    /// The same for responses.
    pub responses_output_mode: OutputMode,
    /// What stands between two such calls that follow each other and stay text; nothing: what the model wrote.
    pub block_delimiter: Option<String>,
    /// Whether there are responses.
    pub responses: bool,
    /// The longest prompt, in estimated tokens.
    pub max_prompt_tokens: Option<u64>,
    /// How requests are read.
    pub reading: Reading,
}

/// What every request shares.
#[derive(Clone)]
pub struct Shared(Arc<Parts>);

/// See [`Shared`].
pub struct Parts {
    /// See [`Config`].
    pub config: Config,
    /// The policies.
    pub live: Arc<Live>,
    /// Who answers.
    pub backend: Backend,
    /// All connections.
    pub connections: Connections,
    /// What of requests is in memory.
    pub bodies: Bodies,
    /// Those that are not over, whether or not their clients are still there.
    pub requests: TaskTracker,
    /// Responses that may be continued.
    pub responses: Responses,
    /// What operators see.
    pub telemetry: Telemetry,
    /// What rate limits count.
    pub counters: Arc<dyn Store>,
    /// Cancelled when it is told to stop: readiness says no from then on, whether or not requests are still taken.
    pub draining: CancellationToken,
    /// Cancelled when the grace is over: what still streams ends with an error.
    pub ending: CancellationToken,
}

impl Shared {
    /// Shares the parts.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }
}

impl std::ops::Deref for Shared {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

/// The paths of [`router`] whose requests are limited; `/*` stands for all below.
#[must_use]
pub fn endpoints(config: &Config) -> Vec<&'static str> {
    let mut endpoints = vec![
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/models",
        "/v1/models/*",
        "/v1/usage",
        "/v1/usage/raw",
    ];
    if config.responses {
        endpoints.extend(["/v1/responses", "/v1/responses/*"]);
    }
    endpoints
}

/// All routes. What is added to `guarded` is closed by default; what is in `open` answers anybody.
pub fn router(shared: Shared) -> Router {
    // These ask the second question about limits when they have read what is asked of them.
    let mut generating = Router::new()
        .route(
            "/v1/chat/completions",
            post(chat::complete).head(chat::probe),
        )
        .route(
            "/v1/completions",
            post(completions::complete).head(chat::probe),
        );
    let mut guarded = Router::new()
        .route("/v1/models", get(models::list))
        .route("/v1/models/{id}", get(models::show))
        .route("/v1/usage", get(usage::sum))
        .route("/v1/usage/raw", get(usage::raw));
    if shared.config.responses {
        generating = generating.route("/v1/responses", post(responses::create).head(chat::probe));
        guarded = guarded.route(
            "/v1/responses/{id}",
            get(responses::show).delete(responses::delete),
        );
    }
    let guarded = guarded
        .route_layer(from_fn_with_state(shared.clone(), auth::rate_limit))
        .merge(generating)
        .route_layer(from_fn_with_state(shared.clone(), auth::authenticate));
    let open = Router::new()
        .route("/healthz", get(health::health))
        .route("/readyz", get(health::ready))
        .route("/livez", get(health::live))
        .route("/metrics", get(metrics::read))
        .route("/openapi.json", get(openapi::document));
    let routes = guarded.merge(open).fallback(error::unknown_endpoint);
    surface(routes, shared)
}

/// Only what an edge proxy asks, for a listener of its own.
pub fn verify_router(shared: Shared) -> Router {
    let routes = Router::new().route("/healthz", get(health::health));
    surface(routes.fallback(error::unknown_path), shared)
}

/// What is the same on every listener. An `OPTIONS` that an edge proxy asks about is for the policy to answer.
fn surface(routes: Router<Shared>, shared: Shared) -> Router {
    routes
        .method_not_allowed_fallback(error::wrong_method)
        .layer(from_fn(cors::preflight))
        .layer(from_fn_with_state(shared.clone(), head::head))
        .merge(verify::routes())
        .layer(from_fn_with_state(
            shared.clone(),
            middleware::request_context::attach,
        ))
        .layer(from_fn_with_state(shared.clone(), cors::share))
        .layer(from_fn_with_state(shared.clone(), drain_body::drain))
        .with_state(shared)
}
