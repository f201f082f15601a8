//! Begins the record of a request, and puts its id, generation and timing into the answer's headers.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::Response;
use http_body::Frame;

use crate::api::error::Code;
use crate::api::record::{Answer, Answering, Record};
use crate::api::{Shared, client_addr};

/// OpenAI's ids, and anything else that cannot break a log line.
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
    given.map_or_else(|| format!("req_{}", nanoid::nanoid!(21)), str::to_owned)
}

fn route(parts: &Parts) -> Option<String> {
    let route = parts.extensions.get::<MatchedPath>()?;
    Some(route.as_str().to_owned())
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    let value = headers.get(name)?.as_bytes();
    Some(String::from_utf8_lossy(value).into_owned())
}

pub(in crate::api) async fn attach(
    State(shared): State<Shared>,
    request: Request,
    next: Next,
) -> Response {
    let (mut parts, body) = request.into_parts();
    let generation = shared.live.current();
    let record = Record::new(request_id(&parts.headers), &generation, &shared.telemetry);
    let answer = Answer {
        method: parts.method.clone(),
        route: route(&parts),
        path: parts.uri.path().to_owned(),
        client: client_addr::address(&parts, &shared.config.trusted),
        user_agent: text(&parts.headers, "user-agent"),
        trace: ["traceparent", "tracestate"].map(|name| text(&parts.headers, name)),
        status: 499,
        // An answer without a body is whole.
        complete: parts.method == Method::HEAD,
        ..Answer::default()
    };
    let mut answering = Answering {
        record: record.clone(),
        answer,
    };
    parts.extensions.insert(record.clone());
    let mut response = next.run(Request::from_parts(parts, body)).await;
    answering.answer.status = response.status().as_u16();
    answering.answer.error = response
        .extensions_mut()
        .remove::<Code>()
        .map(|Code(code)| code);
    let headers = response.headers_mut();
    for (name, value) in record.take_headers() {
        // What the answer says itself is nearer to it: a refusal tells of the rule that refused.
        if let Some(name) = name
            && !headers.contains_key(&name)
        {
            headers.insert(name, value);
        }
    }
    set(headers, "x-request-id", record.id());
    set(
        headers,
        "x-codex-generation",
        &record.generation().number().to_string(),
    );
    set(
        headers,
        "openai-processing-ms",
        &record.elapsed().as_millis().to_string(),
    );
    if shared.backend.kind() == "demo" {
        set(headers, "x-codex-backend", "demo");
    }
    response.map(|body| Body::new(Logged { body, answering }))
}

fn set(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// Counts the bytes of an answer.
struct Logged {
    body: Body,
    answering: Answering,
}

impl HttpBody for Logged {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(cx));
        let ended = self.body.is_end_stream();
        let answer = &mut self.answering.answer;
        match &frame {
            Some(Ok(frame)) => {
                let bytes = frame.data_ref().map_or(0, Bytes::len);
                answer.bytes = answer.bytes.saturating_add(bytes as u64);
                // A body of known length is not asked again after its last byte.
                answer.complete = ended;
            }
            Some(Err(_)) => {}
            None => answer.complete = true,
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}
