//! The table of endpoints, and a module for each: a handler reads the request, asks the other modules and writes the answer.

pub(super) mod chat;
pub(super) mod completions;
pub(super) mod concurrency;
pub(super) mod health;
pub(super) mod messages;
pub(super) mod metrics;
pub(super) mod models;
pub(super) mod openapi;
pub(super) mod responses;
pub(super) mod unknown;
pub(super) mod usage;
pub(super) mod verify;

use axum::routing::{MethodRouter, get, post};

use super::Shared;

/// An endpoint of the table.
pub(super) struct Endpoint {
    /// As axum writes it: `{id}` stands for any one segment.
    pub(super) path: &'static str,
    /// The checks before its handlers.
    pub(super) access: Access,
    /// Makes its handlers, by method.
    pub(super) handlers: fn() -> MethodRouter<Shared>,
}

/// The checks that a request passes before its handler runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// None: everybody may call.
    Open,
    /// Authentication and the caller's rate limits.
    Limited,
    /// Authentication. Its `POST` asks the rate-limit policy itself, in `generate`, because the policy is asked about the model and
    /// the tokens of the request. Its `HEAD` begins no turn and is charged nothing.
    Generating,
}

/// All endpoints but those for edge proxies, which `verify` has. The router, the paths that limits can name and the suggestions
/// for wrong URLs are made of this table.
const ALL: [Endpoint; 20] = [
    generating("/v1/chat/completions", || {
        post(chat::complete).head(chat::probe)
    }),
    generating("/v1/completions", || {
        post(completions::complete).head(chat::probe)
    }),
    generating(RESPONSES, || {
        let create = post(responses::create).head(chat::probe);
        create.get(responses::open_socket)
    }),
    generating("/v1/responses/compact", || post(responses::compact)),
    limited("/v1/responses/input_tokens", || {
        post(responses::count_input)
    }),
    limited("/v1/responses/{id}", || {
        get(responses::show).delete(responses::delete)
    }),
    limited("/v1/responses/{id}/cancel", || post(responses::cancel)),
    limited("/v1/responses/{id}/input_items", || {
        get(responses::list_input)
    }),
    generating("/v1/messages", || post(messages::create).head(chat::probe)),
    limited("/v1/messages/count_tokens", || post(messages::count_tokens)),
    limited("/v1/models", || get(models::list)),
    limited("/v1/models/{id}", || get(models::show)),
    limited("/v1/usage", || get(usage::sum)),
    limited("/v1/usage/raw", || get(usage::raw)),
    open("/healthz", || get(health::health)),
    open("/readyz", || get(health::ready)),
    open("/livez", || get(health::live)),
    open("/metrics", || get(metrics::read)),
    open("/__test/conc", || get(concurrency::read)),
    open("/openapi.json", || get(openapi::document)),
];

/// This path and those below it are served unless `PROXY_ENABLE_RESPONSES` is `false`.
const RESPONSES: &str = "/v1/responses";

const fn open(path: &'static str, handlers: fn() -> MethodRouter<Shared>) -> Endpoint {
    let access = Access::Open;
    Endpoint {
        path,
        access,
        handlers,
    }
}

const fn limited(path: &'static str, handlers: fn() -> MethodRouter<Shared>) -> Endpoint {
    let access = Access::Limited;
    Endpoint {
        path,
        access,
        handlers,
    }
}

const fn generating(path: &'static str, handlers: fn() -> MethodRouter<Shared>) -> Endpoint {
    let access = Access::Generating;
    Endpoint {
        path,
        access,
        handlers,
    }
}

/// The endpoints of the table that are served, with `/v1/responses` or without.
pub(super) fn served(responses: bool) -> impl Iterator<Item = Endpoint> {
    let is_served = move |endpoint: &Endpoint| responses || !endpoint.path.starts_with(RESPONSES);
    ALL.into_iter().filter(is_served)
}

/// Those of them that need authentication.
pub(super) fn closed(responses: bool) -> impl Iterator<Item = Endpoint> {
    served(responses).filter(|endpoint| endpoint.access != Access::Open)
}

/// The paths of the endpoints for edge proxies, as axum writes them.
pub(super) fn paths_for_proxies() -> impl Iterator<Item = &'static str> {
    verify::PATHS.into_iter().map(|(path, _)| path)
}

/// The paths of all endpoints, those for edge proxies included, as axum writes them.
pub(super) fn paths() -> impl Iterator<Item = &'static str> {
    let of_table = ALL.into_iter().map(|endpoint| endpoint.path);
    of_table.chain(paths_for_proxies())
}
