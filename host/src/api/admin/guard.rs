//! Lets operators through, as their roles allow; bounds the time of each request, and writes the audit line of each act.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{ConnectInfo, Request, State};
use axum::http::header::{CACHE_CONTROL, WWW_AUTHENTICATE};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use tokio::time::timeout;

use super::operators::{Role, is_look};
use super::{Admin, body};
use crate::api::client_addr::TrustedProxies;
use crate::api::connection::Peer;
use crate::api::{client_addr, error};
use crate::listen::AdminAddr;
use crate::openai::{ApiError, GatewayError};
use crate::telemetry::{self, Act};

/// How long a request that changes nothing may take.
const LOOK: Duration = Duration::from_secs(30);
/// How long an operator waits for an act, which may compile policies. It goes on after that.
const ACT: Duration = Duration::from_secs(120);

/// The challenge for operators without a right token.
const CHALLENGE: HeaderValue = HeaderValue::from_static("Bearer realm=\"codex-gateway admin\"");
/// The gateway's version, in every answer of the operator's API: the command line tells an older gateway by it.
const VERSION: (HeaderName, HeaderValue) = (
    HeaderName::from_static("x-codex-gateway"),
    HeaderValue::from_static(env!("CARGO_PKG_VERSION")),
);

/// The operator of a request, for handlers (`Extension`).
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) id: String,
    pub(super) role: Role,
}

/// The facts about a request for its audit line.
struct Asked {
    began: Instant,
    method: Method,
    path: String,
    remote: String,
    known: Option<Known>,
}

/// Lets a request through if its operator is known and may do it.
pub(super) async fn guard(State(admin): State<Admin>, request: Request, next: Next) -> Response {
    let (mut parts, rest) = request.into_parts();
    let known = admin.access.identify(&parts);
    let known = known.map(|(id, role)| Known { id, role });
    let asked = Arc::new(Asked::of(&admin, &parts, known));
    if let Err(refused) = asked.admit().and_then(|()| body::announced(&parts.headers)) {
        let mut response = refused.into_response();
        if response.status() == 401 {
            response.headers_mut().insert(WWW_AUTHENTICATE, CHALLENGE);
        }
        asked.audit(&response);
        return finish(response);
    }
    if let Some(ConnectInfo(peer)) = parts.extensions.get::<ConnectInfo<Peer>>() {
        peer.authenticated();
    }
    if let Some(known) = &asked.known {
        parts.extensions.insert(known.clone());
    }
    let answered = Arc::clone(&asked).answer(Request::from_parts(parts, rest), next);
    if is_look(&asked.method) {
        let in_time = timeout(LOOK, answered).await;
        return finish(in_time.unwrap_or_else(|_| {
            let late = ApiError::from(GatewayError::AdminTooSlow).into_response();
            asked.audit(&late);
            late
        }));
    }
    // An act that has begun is done and recorded, whether or not its operator is still connected.
    let acting = admin.shared.requests.spawn(answered);
    finish(match timeout(ACT, acting).await {
        Ok(Ok(response)) => response,
        Ok(Err(_)) => error::internal().into_response(),
        Err(_) => ApiError::from(GatewayError::AdminUnderWay).into_response(),
    })
}

/// The operator's address. Every program on this machine counts as a trusted proxy by default, and may report any: who reported it
/// is there, too.
fn remote(parts: &Parts, trusted: &TrustedProxies) -> String {
    let address = client_addr::address(parts, trusted);
    match client_addr::address(parts, &TrustedProxies::none()) {
        peer if peer == address => address,
        peer => format!("{address} by {peer}"),
    }
}

fn finish(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let (name, version) = VERSION;
    headers.insert(name, version);
    response
}

impl Asked {
    fn of(admin: &Admin, parts: &Parts, known: Option<Known>) -> Self {
        let remote = match admin.listens {
            AdminAddr::Unix(_) => "unix socket".to_owned(),
            AdminAddr::Tcp(_) => remote(parts, &admin.shared.config.trusted),
        };
        Self {
            began: Instant::now(),
            method: parts.method.clone(),
            path: parts.uri.path().to_owned(),
            remote,
            known,
        }
    }

    fn admit(&self) -> Result<(), ApiError> {
        match &self.known {
            None => Err(GatewayError::NotAnOperator.into()),
            Some(known) if !known.role.allows(&self.method) => Err(GatewayError::RoleForbids {
                role: known.role.name(),
            }
            .into()),
            Some(_) => Ok(()),
        }
    }

    /// Runs the request's handler. One that panics is answered and recorded all the same.
    async fn answer(self: Arc<Self>, request: Request, next: Next) -> Response {
        let answered = AssertUnwindSafe(next.run(request)).catch_unwind().await;
        let response = answered.unwrap_or_else(|_| error::internal().into_response());
        self.audit(&response);
        response
    }

    /// Records acts, and refused requests.
    fn audit(&self, response: &Response) {
        let status = response.status();
        if is_look(&self.method) && status.as_u16() < 400 {
            return;
        }
        let told = response.extensions().get::<error::Told>();
        telemetry::audit(&Act {
            operator: self.known.as_ref().map(|known| known.id.as_str()),
            role: self.known.as_ref().map(|known| known.role.name()),
            method: self.method.as_str(),
            path: &self.path,
            status: status.as_u16(),
            remote: &self.remote,
            error: told.map(|error::Told(error)| &*error.code),
            duration: self.began.elapsed(),
        });
    }
}
