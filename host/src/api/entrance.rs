//! Serves from the first moment: answers health checks while the gateway starts, and lets other requests wait for the routes.

use std::convert::Infallible;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Map};
use tokio::sync::watch;
use tokio::time::timeout;
use tower::Service;

use super::aliases::Alias;
use super::dialect;
use super::endpoints::health;
use super::middleware::head;
use super::routes::Routes;
use crate::openai::{ApiError, GatewayError};

/// How long a request waits while the gateway starts. With compiled policies in the cache a start takes a fraction of a second;
/// if it takes longer, an error is better for clients than a longer wait.
const HELD: Duration = Duration::from_secs(10);

/// The stage of the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Nothing is ready yet.
    Beginning,
    /// The Codex program is asked for its protocols.
    Codex,
    /// Components are compiled and tried.
    Policies,
    /// The routes are served.
    Serving,
    /// The start was given up; there will be no routes.
    Ending,
}

impl Stage {
    const fn words(self) -> &'static str {
        match self {
            Self::Beginning | Self::Serving => "starting",
            Self::Ending => "ending",
            Self::Codex => "looking for Codex",
            Self::Policies => "preparing policies",
        }
    }
}

/// A service that passes requests to a router once there is one.
#[derive(Debug, Clone)]
pub struct Entrance(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    routes: OnceLock<Routes>,
    stage: watch::Sender<Stage>,
}

impl Default for Entrance {
    fn default() -> Self {
        Self(Arc::new(Inner {
            routes: OnceLock::new(),
            stage: watch::Sender::new(Stage::Beginning),
        }))
    }
}

impl Entrance {
    /// Sets the stage that `/readyz` and `/healthz` report.
    pub fn reach(&self, stage: Stage) {
        self.0.stage.send_replace(stage);
    }

    /// Serves these routes from now on, to waiting requests first. Only the first call counts.
    pub fn open(&self, routes: impl Into<Routes>) {
        let _ = self.0.routes.set(routes.into());
        self.reach(Stage::Serving);
    }

    async fn wait(self, request: Request) -> Response {
        let (parts, body) = request.into_parts();
        let path = Alias::meant(parts.uri.path());
        let is_anthropics = dialect::is_anthropics(&parts, Some(&path));
        if let Err(unclear) = head::host(&parts) {
            return refusal(unclear, is_anthropics);
        }
        let request = Request::from_parts(parts, body);
        let stage = *self.0.stage.borrow();
        match request.uri().path() {
            "/livez" => return health::live().await,
            "/healthz" => return health::starting(StatusCode::OK, stage.words()),
            "/readyz" => return health::starting(StatusCode::SERVICE_UNAVAILABLE, stage.words()),
            _ => {}
        }
        let mut stages = self.0.stage.subscribe();
        let served = stages.wait_for(|stage| matches!(stage, Stage::Serving | Stage::Ending));
        let _ = timeout(HELD, served).await;
        match self.0.routes.get() {
            Some(routes) => routes.answer(request).await,
            None => refusal(GatewayError::Starting.into(), is_anthropics),
        }
    }
}

type Answered = fn(Response) -> Result<Response, Infallible>;

impl Service<Request> for Entrance {
    type Response = Response;
    type Error = Infallible;
    type Future = Map<BoxFuture<'static, Response>, Answered>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let answer = match self.0.routes.get() {
            Some(routes) => routes.answer(request),
            None => self.clone().wait(request).boxed(),
        };
        answer.map(Ok as Answered)
    }
}

fn refusal(error: ApiError, is_anthropics: bool) -> Response {
    let mut response = error.into_response();
    if is_anthropics {
        dialect::translate(&mut response, None);
    }
    response
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::routing::get;

    use super::*;

    async fn ask(entrance: &Entrance, path: &str) -> Response {
        let request = Request::get(path).header("host", "gateway");
        let request = request.body(Body::empty()).unwrap();
        entrance.clone().call(request).await.unwrap()
    }

    #[tokio::test]
    async fn it_is_alive_and_not_ready_while_policies_are_prepared() {
        let entrance = Entrance::default();
        entrance.reach(Stage::Policies);
        assert_eq!(ask(&entrance, "/livez").await.status(), 200);
        assert_eq!(ask(&entrance, "/healthz").await.status(), 200);
        let ready = ask(&entrance, "/readyz").await;
        assert_eq!(ready.status(), 503);
        let body = axum::body::to_bytes(ready.into_body(), 1_024)
            .await
            .unwrap();
        let body = String::from_utf8(body.to_vec()).unwrap();
        assert!(body.contains("preparing policies"), "{body}");
    }

    #[tokio::test]
    async fn a_request_waits_for_the_routes() {
        let entrance = Entrance::default();
        let opened = async {
            tokio::task::yield_now().await;
            entrance.open(Router::new().route("/v1/models", get(async || "served")));
        };
        let (answer, ()) = tokio::join!(ask(&entrance, "/v1/models"), opened);
        assert_eq!(answer.status(), 200);
        assert_eq!(ask(&entrance, "/v1/models").await.status(), 200);
    }

    #[tokio::test]
    async fn a_request_that_waits_is_answered_when_the_start_is_given_up() {
        let entrance = Entrance::default();
        let ended = async {
            tokio::task::yield_now().await;
            entrance.reach(Stage::Ending);
        };
        let (answer, ()) = tokio::join!(ask(&entrance, "/v1/models"), ended);
        assert_eq!(answer.status(), 503);
        assert_eq!(answer.headers()["retry-after"], "5");
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_does_not_wait_for_ever() {
        for (path, begins) in [
            ("/v1/models", "{\"error\""),
            ("/v1/messages", "{\"type\""),
            ("/messages", "{\"type\""),
        ] {
            let answer = ask(&Entrance::default(), path).await;
            assert_eq!(answer.status(), 503);
            assert_eq!(answer.headers()["retry-after"], "5");
            let body = axum::body::to_bytes(answer.into_body(), 1_024).await;
            assert!(body.unwrap().starts_with(begins.as_bytes()), "{path}");
        }
    }
}
