//! The HTTP surface: routes, middleware and connections. Only this module uses axum. Handlers read a request, ask the other
//! modules and write the answer.
//!
//! `endpoints` has the table of all paths. A request passes `middleware`, gets an owner (`request`), which runs its endpoint (`endpoints`) and its
//! turns (`turn_stream`).

mod activity;
pub mod admin;
mod admission;
mod aliases;
mod arrival;
mod authority;
mod bodies;
mod canary;
mod choices;
mod client_addr;
mod connection;
mod connections;
mod content_coding;
mod credential;
mod departure;
mod dialect;
mod endpoints;
mod entrance;
mod error;
mod facts;
mod forwarded;
mod generate;
mod id;
mod left_out;
mod middleware;
mod operator_access;
mod output_mode;
mod query;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod replay;
mod request;
mod request_context;
mod response_store;
mod routes;
mod serve;
mod socket;
mod sse;
mod timeouts;
mod turn_stream;

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use futures_util::FutureExt;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use crate::openai::Reading;
pub use bodies::Bodies;
pub use canary::Operators;
pub use client_addr::TrustedProxies;
pub use connections::Connections;
pub use entrance::{Entrance, Stage};
pub use middleware::cors::Origins;
pub use operator_access::OperatorAccess;
pub use output_mode::OutputMode;
pub use response_store::Responses;
pub use routes::Routes;
pub use serve::serve;
pub use socket::{SocketLimits, Sockets};
pub use timeouts::Timeouts;

use endpoints::{Access, health, unknown, verify};
use middleware::{Path, Surface, auth};

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
    /// The most answers a chat request may ask for, and the most turns of any request that are under way at once.
    pub max_choices: u32,
    /// The most answers a completion request may ask for, over all its prompts.
    pub max_completion_choices: u32,
    /// How tool calls that the model wrote as text reach the client of a chat request, unless the request names a mode.
    pub output_mode: OutputMode,
    /// The rule for access to the metrics; absent if no metrics are kept.
    pub metrics: Option<OperatorAccess>,
    /// The rule for access to the test endpoints; absent if they are not served.
    pub test_endpoints: Option<OperatorAccess>,
    /// As `output_mode`, for `/v1/responses` and `/v1/messages`.
    pub responses_output_mode: OutputMode,
    /// The text between two such calls that follow each other and stay text; if absent, the text that the model wrote.
    pub block_delimiter: Option<String>,
    /// Whether `/v1/responses` is served.
    pub responses: bool,
    /// Whether clients with another base URL are served.
    pub aliases: bool,
    /// The limits for its WebSockets; absent if it answers over none.
    pub sockets: Option<SocketLimits>,
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
    /// The open WebSockets.
    pub sockets: Sockets,
    /// Log, metrics, traces and usage.
    pub telemetry: Telemetry,
    /// The counters of the rate limits.
    pub counters: Arc<dyn Store>,
    /// The operators who may send a request to a candidate; absent if there are none.
    pub operators: Option<Operators>,
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

/// The paths that need authentication; `/*` stands for all paths below.
#[must_use]
pub fn closed_paths(config: &Config) -> Vec<String> {
    let closed = endpoints::closed(config.responses);
    closed
        .map(|endpoint| endpoint.path.replace("{id}", "*"))
        .collect()
}

/// The paths of all endpoints; `{id}` stands for one segment, `{*path}` for any number.
pub fn paths() -> impl Iterator<Item = &'static str> {
    endpoints::paths()
}

/// The routes of the table of endpoints, each with the checks that the table names, and those for edge proxies.
pub fn router(shared: Shared) -> Routes {
    let (mut open, mut limited, mut generating) = (Router::new(), Router::new(), Router::new());
    for endpoint in endpoints::served(shared.config.responses) {
        let routes = match endpoint.access {
            Access::Open => &mut open,
            Access::Limited => &mut limited,
            Access::Generating => &mut generating,
        };
        *routes = std::mem::take(routes).route(endpoint.path, (endpoint.handlers)());
    }
    let routes = limited
        .route_layer(from_fn_with_state(shared.clone(), auth::limit))
        .merge(generating.route_layer(from_fn_with_state(shared.clone(), auth::authenticate)))
        .merge(open)
        .fallback(unknown::endpoint);
    let paths = endpoints::served(shared.config.responses).map(|endpoint| endpoint.path);
    surface(routes, paths, shared)
}

/// The routes for edge proxies only, for a listener of its own.
pub fn verify_router(shared: Shared) -> Routes {
    let routes = Router::new().route("/healthz", get(health::health));
    surface(routes.fallback(unknown::path), ["/healthz"], shared)
}

/// The middleware of every listener, around these routes and those for edge proxies. An `OPTIONS` request of an edge proxy is
/// answered by the policy, not as a preflight.
fn surface(
    routes: Router<Shared>,
    paths: impl IntoIterator<Item = &'static str>,
    shared: Shared,
) -> Routes {
    let routes = routes
        .method_not_allowed_fallback(unknown::method)
        .merge(verify::routes())
        .with_state(shared.clone());
    let path = |template, is_for_proxies| Path {
        template,
        is_for_proxies,
    };
    let of_proxies = endpoints::paths_for_proxies().map(|template| path(template, true));
    let paths = paths.into_iter().map(|template| path(template, false));
    let paths = paths.chain(of_proxies);
    let surface = Arc::new(Surface::new(routes, paths, shared));
    Routes::new(move |request| middleware::surround(Arc::clone(&surface), request).boxed())
}

#[cfg(test)]
mod tests;
