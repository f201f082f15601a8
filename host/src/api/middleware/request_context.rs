//! Gives each request its id, its generation and an owner, and writes the request's headers into the answer.

use std::panic::AssertUnwindSafe;

use axum::extract::MatchedPath;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;

use crate::api::request::{Asked, Request};
use crate::api::request_context::RequestContext;
use crate::api::{Shared, client_addr, error};

/// Accepts OpenAI's ids, and any other id that cannot break a log line.
fn acceptable(id: &str) -> bool {
    (1..=128).contains(&id.len())
        && id
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte))
}

fn request_id(headers: &HeaderMap) -> String {
    let given = headers
        .get("x-request-id")
        .and_then(|value| value.to_str().ok())
        .filter(|id| acceptable(id));
    given.map_or_else(new_id, str::to_owned)
}

/// A random id, from the generator of this thread: the system's would be called for each request.
fn new_id() -> String {
    let random = nanoid::format(nanoid::rngs::thread_local, &nanoid::alphabet::SAFE, 21);
    format!("req_{random}")
}

fn route(parts: &Parts) -> Option<String> {
    let route = parts.extensions.get::<MatchedPath>()?;
    Some(route.as_str().to_owned())
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    let value = headers.get(name)?.as_bytes();
    Some(String::from_utf8_lossy(value).into_owned())
}

/// Gives the request to its owner, which does not end with the connection.
pub(super) async fn attach(
    shared: &Shared,
    request: axum::extract::Request,
    next: Next,
) -> Response {
    let (mut parts, body) = request.into_parts();
    let client = client_addr::address(&parts, &shared.config.trusted);
    let asked = Asked {
        method: parts.method.clone(),
        route: route(&parts),
        path: parts.uri.path().to_owned(),
        user_agent: text(&parts.headers, "user-agent"),
        trace: ["traceparent", "tracestate"].map(|name| text(&parts.headers, name)),
    };
    let id = request_id(&parts.headers);
    let owner = Request::new(id, client, asked, shared);
    let context = owner.context();
    parts.extensions.insert(context.clone());
    let request = axum::extract::Request::from_parts(parts, body);
    let is_demo = shared.backend.is_demo();
    // Boxed, since the owner is moved several times.
    let handler = Box::pin(async move {
        // A request that ends in a panic is answered, settled and logged all the same.
        let answered = AssertUnwindSafe(next.run(request)).catch_unwind().await;
        let mut response = answered.unwrap_or_else(|_| error::internal().into_response());
        describe(response.headers_mut(), &context, is_demo);
        response
    });
    let (client, answer) = oneshot::channel();
    begin(owner.run(handler, client), &shared.requests);
    // An owner ends without an answer only if it panics.
    answer
        .await
        .unwrap_or_else(|_| error::internal().into_response())
}

/// Runs the owner: here as far as it gets without waiting, which is mostly its end if there is no turn; then in a task of its own.
fn begin(owner: impl Future<Output = ()> + Send + 'static, tasks: &TaskTracker) {
    let mut owner = Box::pin(AssertUnwindSafe(owner).catch_unwind());
    if owner.as_mut().now_or_never().is_none() {
        tasks.spawn(owner);
    }
}

fn describe(headers: &mut HeaderMap, context: &RequestContext, is_demo: bool) {
    let others = context.take_headers();
    // Room for all of them and five of ours, instead of growing twice.
    headers.reserve(others.len() + 5);
    for (name, value) in others {
        // The answer's own header has precedence: a refusal describes the rule that refused.
        if let Some(name) = name
            && !headers.contains_key(&name)
        {
            headers.insert(name, value);
        }
    }
    set(headers, "x-request-id", context.id());
    let generation = context.generation().number().to_string();
    set(headers, "x-codex-generation", &generation);
    set(headers, "x-codex-policy", context.digest());
    let elapsed = context.elapsed().as_millis().to_string();
    set(headers, "openai-processing-ms", &elapsed);
    if is_demo {
        set(headers, "x-codex-backend", "demo");
    }
}

fn set(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}
