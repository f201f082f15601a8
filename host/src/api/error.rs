//! Turns refusals and failures into HTTP answers, and gives them their status line.

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};

use super::Shared;
use crate::openai::{ApiError, GatewayError};

/// The error code of an answer, for the log.
#[derive(Debug, Clone)]
pub(super) struct Code(pub(super) String);

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = json(self.to_json());
        *response.status_mut() = status;
        response
            .extensions_mut()
            .insert(Code(self.code.to_string()));
        let headers = response.headers_mut();
        if let Some(ms) = self.retry_after_ms {
            headers.insert(RETRY_AFTER, HeaderValue::from(ms.div_ceil(1_000)));
            headers.insert("retry-after-ms", HeaderValue::from(ms));
        }
        for (name, value) in &self.headers {
            if let (Ok(name), Ok(value)) =
                (HeaderName::try_from(name), HeaderValue::try_from(value))
            {
                headers.insert(name, value);
            }
        }
        response
    }
}

/// An answer whose body is JSON already.
pub(super) fn json(body: String) -> Response {
    let mut response = Response::new(Body::from(body));
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// The cause is ours, and is in the log.
pub(super) fn internal() -> ApiError {
    GatewayError::Internal.into()
}

/// 404 for an unknown path.
pub(super) async fn unknown_path(method: Method, uri: Uri) -> ApiError {
    unknown(&method, uri.path(), "Please check the URL for typos.")
}

/// 404 for an unknown path where the endpoints under `/v1` are served: suggests the right URL to clients with another base URL.
pub(super) async fn unknown_endpoint(
    State(shared): State<Shared>,
    method: Method,
    uri: Uri,
) -> ApiError {
    match meant(uri.path(), shared.config.responses) {
        Some(meant) => {
            let remedy = format!(
                "Did you mean {meant}? The base URL of an OpenAI client ends in /v1, and the client adds the rest."
            );
            unknown(&method, uri.path(), &remedy)
        }
        None => unknown_path(method, uri).await,
    }
}

fn unknown(method: &Method, path: &str, remedy: &str) -> ApiError {
    GatewayError::UnknownUrl {
        method: method.to_string(),
        path: path.to_owned(),
        remedy: remedy.to_owned(),
    }
    .into()
}

/// The endpoints, without `/v1`.
const ENDPOINTS: [&[&str]; 6] = [
    &["chat", "completions"],
    &["completions"],
    &["models"],
    &["responses"],
    &["usage"],
    &["usage", "raw"],
];

/// The endpoint that a client with a wrong base URL was looking for: the path has no `/v1` or two, another prefix before it, or
/// the endpoint twice.
fn meant(path: &str, responses: bool) -> Option<String> {
    let parts: Vec<_> = path.split('/').filter(|part| !part.is_empty()).collect();
    let endpoint = |parts: &[&str]| {
        let there = |end: &&&[&str]| responses || end[0] != "responses";
        let ends = ENDPOINTS.iter().filter(there);
        let ends = ends.filter(|end| parts.ends_with(end));
        Some(ends.max_by_key(|end| end.len())?.join("/"))
    };
    let of_one = || {
        let (id, before) = parts.split_last()?;
        let all = endpoint(before).filter(|all| ["models", "responses"].contains(&all.as_str()))?;
        Some(format!("{all}/{id}"))
    };
    let meant = format!("/v1/{}", endpoint(&parts).or_else(of_one)?);
    (meant != path).then_some(meant)
}

/// 405; axum adds the header `Allow`.
pub(super) async fn wrong_method(method: Method, uri: Uri) -> ApiError {
    GatewayError::WrongMethod {
        method: method.to_string(),
        path: uri.path().to_owned(),
    }
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_at_another_base_url_is_recognised() {
        for (path, expected) in [
            ("/chat/completions", "/v1/chat/completions"),
            ("/v1/v1/chat/completions", "/v1/chat/completions"),
            ("//v1//chat/completions", "/v1/chat/completions"),
            (
                "/v1/chat/completions/chat/completions",
                "/v1/chat/completions",
            ),
            ("/api/openai/v1/models", "/v1/models"),
            ("/completions", "/v1/completions"),
            ("/responses", "/v1/responses"),
            ("/responses/resp_1", "/v1/responses/resp_1"),
            ("/models/codex-5", "/v1/models/codex-5"),
            ("/usage/raw", "/v1/usage/raw"),
        ] {
            assert_eq!(meant(path, true).as_deref(), Some(expected), "{path}");
        }
        for path in [
            "/",
            "/v1",
            "/v1/nope",
            "/v1/embeddings",
            "/chat",
            "/v1/chat/completions/x",
        ] {
            assert_eq!(meant(path, true), None, "{path}");
        }
        assert_eq!(meant("/responses", false), None);
        assert_eq!(
            meant("/v1/responses", true),
            None,
            "it is there for other methods"
        );
    }
}
