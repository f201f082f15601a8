//! The HTTP surface: routes, middleware and connections. Only this module uses axum. Handlers read a request, ask the other
//! modules and write the answer.
//!
//! `router` lists every path. A request passes `middleware`, gets an owner (`request`), which runs its endpoint (`endpoints`) and its
//! turns (`turn_stream`).

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

/// The settings of the HTTP surface.
#[derive(Debug, Clone)]
pub struct Config {
    /// The largest request body, in bytes.
    pub max_body: usize,
    /// The timeouts for answers.
    pub timers: Timeouts,
    /// Whether a turn ends when its client has left; otherwise it runs to its end.
    pub kill_on_disconnect: bool,
    /// The proxies whose `X-Forwarded-For` and `Forwarded` are believed.
    pub trusted: TrustedProxies,
    /// The origins whose pages may call; without any, a page cannot read any answer.
    pub origins: Option<Origins>,
    /// The most answers a chat request may ask for.
    pub max_choices: u32,
    /// How tool calls that the model wrote as text reach the client of a chat request, unless the request names a mode.
    pub output_mode: OutputMode,
    /// The rule for access to the metrics; absent if no metrics are kept.
    pub metrics: Option<MetricsAccess>,
    /// As `output_mode`, for `/v1/responses`.
    pub responses_output_mode: OutputMode,
    /// The text between two such calls that follow each other and stay text; if absent, the text that the model wrote.
    pub block_delimiter: Option<String>,
    /// Whether `/v1/responses` is served.
    pub responses: bool,
    /// The longest prompt, in estimated tokens.
    pub max_prompt_tokens: Option<u64>,
    /// How request bodies are read.
    pub reading: Reading,
}

/// The state that all requests share.
#[derive(Clone)]
pub struct Shared(Arc<Parts>);

/// See [`Shared`].
pub struct Parts {
    /// See [`Config`].
    pub config: Config,
    /// The policies.
    pub live: Arc<Live>,
    /// The backend that runs turns.
    pub backend: Backend,
    /// The open connections of all listeners.
    pub connections: Connections,
    /// The memory limit for request bodies.
    pub bodies: Bodies,
    /// The requests that are not over, whether or not their clients are still connected.
    pub requests: TaskTracker,
    /// Responses that may be continued or fetched.
    pub responses: Responses,
    /// Log, metrics, traces and usage.
    pub telemetry: Telemetry,
    /// The counters of the rate limits.
    pub counters: Arc<dyn Store>,
    /// Cancelled when the gateway begins to drain: readiness says no from then on, whether or not requests are still taken.
    pub draining: CancellationToken,
    /// Cancelled when the grace of the drain is over: streams that still run end with an error.
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

/// The rate-limited paths of [`router`]; `/*` stands for all paths below.
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

/// All routes. Routes in `guarded` need authentication; routes in `open` do not.
pub fn router(shared: Shared) -> Router {
    // These ask the rate-limit policy themselves, after they have read the request.
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

/// The routes for edge proxies only, for a listener of its own.
pub fn verify_router(shared: Shared) -> Router {
    let routes = Router::new().route("/healthz", get(health::health));
    surface(routes.fallback(error::unknown_path), shared)
}

/// The middleware of every listener. An `OPTIONS` request of an edge proxy is answered by the policy, not as a preflight.
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
