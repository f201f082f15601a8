//! The routes of a listener, with or without middleware around them.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::response::Response;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tower::{Service, ServiceExt};

/// Answers the requests of a listener. Cheap to clone.
#[derive(Clone)]
pub struct Routes(Arc<Answering>);

type Answering = dyn Fn(Request) -> BoxFuture<'static, Response> + Send + Sync;

impl Routes {
    /// Routes that are answered by this function.
    pub(super) fn new(
        answer: impl Fn(Request) -> BoxFuture<'static, Response> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(answer))
    }

    /// Answers a request.
    pub(super) fn answer(&self, request: Request) -> BoxFuture<'static, Response> {
        (self.0)(request)
    }
}

impl From<Router> for Routes {
    fn from(router: Router) -> Self {
        Self::new(move |request| routed(router.clone(), request).boxed())
    }
}

impl fmt::Debug for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Routes")
    }
}

/// The answer of routes, which always have one.
pub(super) async fn routed<S>(routes: S, request: Request) -> Response
where
    S: Service<Request, Response = Response, Error = Infallible>,
{
    match routes.oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}
