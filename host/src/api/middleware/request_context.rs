//! Gives each request its id, its generation and an owner, and writes the request's headers into the answer.

use std::panic::AssertUnwindSafe;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;

use crate::api::request::{Asked, Request};
use crate::api::request_context::RequestContext;
use crate::api::{Shared, client_addr, dialect, error};

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
    const PREFIX: &str = "req_";
    const RANDOM: usize = 21;
    let mut id = String::with_capacity(PREFIX.len() + RANDOM);
    id.push_str(PREFIX);
    let random = nanoid::rngs::thread_local(RANDOM).into_iter();
    id.extend(random.map(|byte| nanoid::alphabet::SAFE[usize::from(byte) % 64]));
    id
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    let value = headers.get(name)?.as_bytes();
    Some(String::from_utf8_lossy(value).into_owned())
}

/// Gives the request to its owner, which does not end with the connection.
pub(super) async fn attach<F>(
    shared: &Shared,
    route: Option<&'static str>,
    request: axum::extract::Request,
    handler: impl FnOnce(axum::extract::Request) -> F,
) -> Response
where
    F: Future<Output = Response> + Send + 'static,
{
    let (mut parts, body) = request.into_parts();
    let client = client_addr::address(&parts, &shared.config.trusted);
    let asked = Asked {
        method: parts.method.clone(),
        route,
        path: parts.uri.path().to_owned(),
        user_agent: text(&parts.headers, "user-agent"),
        trace: ["traceparent", "tracestate"].map(|name| text(&parts.headers, name)),
    };
    let id = request_id(&parts.headers);
    let owner = Request::new(id, client, asked, shared);
    let context = owner.context();
    parts.extensions.insert(context.clone());
    let is_anthropics = dialect::is_anthropics(&parts, route);
    let request = axum::extract::Request::from_parts(parts, body);
    let is_demo = shared.backend.is_demo();
    let answering = AssertUnwindSafe(handler(request)).catch_unwind();
    // Boxed, since the owner is moved several times.
    let handler = Box::pin(async move {
        // A request that ends in a panic is answered, settled and logged all the same.
        let answered = answering.await;
        let mut response = answered.unwrap_or_else(|_| error::internal().into_response());
        if is_anthropics {
            dialect::translate(&mut response, Some(context.id()));
        } else {
            dialect::tell_codex(&mut response, route);
        }
        describe(response.headers_mut(), &context, is_demo);
        if is_anthropics && let Some(id) = response.headers().get(REQUEST_ID).cloned() {
            response.headers_mut().insert("request-id", id);
        }
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

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Room for the headers of most answers, the CORS headers included: a map that grows is copied.
const USUAL: usize = 10;

fn describe(headers: &mut HeaderMap, context: &RequestContext, is_demo: bool) {
    const GENERATION: HeaderName = HeaderName::from_static("x-codex-generation");
    const POLICY: HeaderName = HeaderName::from_static("x-codex-policy");
    const PROCESSING: HeaderName = HeaderName::from_static("openai-processing-ms");
    const BACKEND: HeaderName = HeaderName::from_static("x-codex-backend");
    let others = context.take_headers();
    headers.reserve(others.len() + USUAL);
    for (name, value) in others {
        // The answer's own header has precedence: a refusal describes the rule that refused.
        if let Some(name) = name
            && !headers.contains_key(&name)
        {
            headers.insert(name, value);
        }
    }
    for (name, value) in [(REQUEST_ID, context.id()), (POLICY, context.digest())] {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    }
    headers.insert(GENERATION, context.generation().number().into());
    let elapsed = context.elapsed().as_millis();
    let elapsed = u64::try_from(elapsed).unwrap_or(u64::MAX);
    headers.insert(PROCESSING, elapsed.into());
    if is_demo {
        headers.insert(BACKEND, HeaderValue::from_static("demo"));
    }
}
