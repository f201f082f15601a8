//! The middleware around the endpoints: `surround` is around each request, `auth` before guarded routes.
//!
//! Only `auth` is a layer of axum's: for each request, axum copies all layers below a layer, and boxes each.

pub(super) mod auth;
pub(super) mod cors;
pub(super) mod drain_body;
pub(super) mod head;
mod request_context;

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};

use super::Shared;
use super::aliases::Alias;
use super::routes::routed;

/// The endpoints of a listener, and what is around them.
pub(super) struct Surface {
    shared: Shared,
    endpoints: Router,
    paths: matchit::Router<Path>,
}

/// The path of an endpoint.
#[derive(Clone, Copy)]
pub(super) struct Path {
    /// As axum writes it.
    pub(super) template: &'static str,
    /// Edge proxies ask here, about requests of others.
    pub(super) is_for_proxies: bool,
}

impl Surface {
    /// With the endpoints of these paths.
    pub(super) fn new(
        endpoints: Router,
        paths: impl Iterator<Item = Path>,
        shared: Shared,
    ) -> Self {
        let mut known = matchit::Router::new();
        for path in paths {
            // A path that is wrong has no endpoint either: axum reads it the same way.
            let _ = known.insert(path.template, path);
        }
        Self {
            shared,
            endpoints,
            paths: known,
        }
    }

    /// The endpoint that a request is for, and how its URL is to be written if it is not the endpoint's.
    fn find(&self, request: &Request) -> (Option<Path>, Option<Alias>) {
        let known = |path: &str| Some(*self.paths.at(path).ok()?.value);
        let path = request.uri().path();
        if let Some(found) = known(path) {
            return (Some(found), None);
        }
        if !self.shared.config.aliases {
            return (None, None);
        }
        let found = Alias::of(path).and_then(|alias| Some((known(&alias.path)?, alias)));
        found.unzip()
    }

    /// Before every route but those of edge proxies, an unclear head is refused, and a preflight answered.
    async fn answer(
        self: Arc<Self>,
        mut request: Request,
        (path, alias): (Option<Path>, Option<Alias>),
    ) -> Response {
        if let Some(alias) = alias {
            alias.apply(&mut request);
        }
        if path.is_some_and(|path| path.is_for_proxies) {
            return routed(self.endpoints.clone(), request).await;
        }
        let (parts, body) = request.into_parts();
        if let Err(unclear) = head::check(&parts, &self.shared.config.trusted) {
            return unclear.into_response();
        }
        match cors::preflight(&parts.method) {
            Some(answer) => answer,
            None => routed(self.endpoints.clone(), Request::from_parts(parts, body)).await,
        }
    }
}

/// The steps around every request: its body is drained, its answer gets the CORS headers (refusals and streams, too), and the
/// request its context and owner.
pub(super) async fn surround(surface: Arc<Surface>, request: Request) -> Response {
    let shared = &surface.shared;
    let request = drain_body::draining(request, shared.config.max_body);
    let origins = shared.config.origins.as_ref();
    let sharing = origins.map(|origins| (cors::Asked::of(&request), origins));
    let found = surface.find(&request);
    let route = found.0.map(|path| path.template);
    let inner = Arc::clone(&surface);
    let handler = |request| inner.answer(request, found);
    let mut response = request_context::attach(shared, route, request, handler).await;
    if let Some((asked, origins)) = sharing {
        asked.answer(origins, response.headers_mut());
    }
    response
}
