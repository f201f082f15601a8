//! What every answer carries: its id, its generation, its timing; and the record that outlives its body.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::Response;
use http_body::Frame;

use super::record::{Line, Record};
use super::{Shared, client};

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

pub(super) async fn envelope(
    State(shared): State<Shared>,
    request: Request,
    next: Next,
) -> Response {
    let (mut parts, body) = request.into_parts();
    let record = Record::new(request_id(&parts.headers), shared.live.current());
    let mut line = Line {
        record: record.clone(),
        method: parts.method.clone(),
        path: parts.uri.path().to_owned(),
        client: client::address(&parts, &shared.config.trusted),
        status: 499,
        bytes: 0,
        // An answer without a body is whole.
        complete: parts.method == Method::HEAD,
    };
    parts.extensions.insert(record.clone());
    let mut response = next.run(Request::from_parts(parts, body)).await;
    line.status = response.status().as_u16();
    let headers = response.headers_mut();
    headers.extend(record.take_headers());
    set(headers, "x-request-id", record.id());
    set(
        headers,
        "x-codex-generation",
        &record.generation().number().to_string(),
    );
    set(
        headers,
        "openai-processing-ms",
        &record.elapsed_ms().to_string(),
    );
    if shared.backend.kind() == "demo" {
        set(headers, "x-codex-backend", "demo");
    }
    response.map(|body| Body::new(Logged { body, line }))
}

fn set(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// Counts the bytes of an answer; its end is the request's end.
struct Logged {
    body: Body,
    line: Line,
}

impl HttpBody for Logged {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                let bytes = frame.data_ref().map_or(0, Bytes::len);
                self.line.bytes = self.line.bytes.saturating_add(bytes as u64);
                // A body of known length is not asked again after its last byte.
                self.line.complete = self.body.is_end_stream();
            }
            Some(Err(_)) => {}
            None => self.line.complete = true,
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
