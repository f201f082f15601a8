//! Answers requests that no endpoint takes: unknown URLs, and methods that an endpoint does not have.

use axum::extract::State;
use axum::http::header::UPGRADE;
use axum::http::{HeaderMap, HeaderName, Method, Uri};

use super::closed;
use crate::api::aliases::Alias;
use crate::api::{Shared, dialect};
use crate::openai::{ApiError, GatewayError};

/// 404 for an unknown path.
pub(in crate::api) async fn path(method: Method, uri: Uri) -> ApiError {
    unknown(&method, uri.path(), TYPO)
}

/// 404 for an unknown path where the endpoints under `/v1` are served: suggests the right URL to clients with another base URL.
pub(in crate::api) async fn endpoint(
    State(shared): State<Shared>,
    method: Method,
    uri: Uri,
) -> ApiError {
    let canonical = Alias::meant(uri.path());
    let suggested = meant(uri.path(), shared.config.responses).map(suggestion);
    let remedy = match &suggested {
        Some(suggested) => suggested,
        None if dialect::is_of_messages(&canonical) => NOT_OF_MESSAGES,
        None if is_openais(&canonical) => NOT_OURS,
        None => TYPO,
    };
    unknown(&method, uri.path(), remedy)
}

fn suggestion(meant: String) -> String {
    let base = match dialect::is_of_messages(&meant) {
        true => "The base URL of an Anthropic client has no /v1: the client adds it.",
        false => "The base URL of an OpenAI client ends in /v1, and the client adds the rest.",
    };
    format!("Did you mean {meant}? {base}")
}

const TYPO: &str = "Please check the URL for typos.";

const NOT_OURS: &str = "OpenAI has operations there that this gateway does not have: Codex runs chats, completions and responses.";

const NOT_OF_MESSAGES: &str = "Anthropic has operations there that this gateway does not have: it answers messages, and counts their tokens.";

/// The first parts of OpenAI's URLs, as its libraries have them.
const OPENAIS: [&str; 22] = [
    "assistants",
    "audio",
    "batches",
    "chat",
    "chatkit",
    "containers",
    "conversations",
    "embeddings",
    "evals",
    "files",
    "fine_tuning",
    "images",
    "models",
    "moderations",
    "organization",
    "realtime",
    "responses",
    "skills",
    "threads",
    "uploads",
    "vector_stores",
    "videos",
];

/// Whether OpenAI has operations at URLs that begin so. A client that asks for one has no typo in its URL.
fn is_openais(path: &str) -> bool {
    let rest = path.strip_prefix("/v1/").unwrap_or_default();
    let first = rest.split('/').next().unwrap_or_default();
    OPENAIS.contains(&first)
}

fn unknown(method: &Method, path: &str, remedy: &str) -> ApiError {
    GatewayError::UnknownUrl {
        method: method.to_string(),
        path: path.to_owned(),
        remedy: remedy.to_owned(),
    }
    .into()
}

/// The URL that a client with a wrong base URL was looking for: the path has no `/v1` or two, another prefix before it, or the
/// endpoint twice.
fn meant(path: &str, responses: bool) -> Option<String> {
    let parts: Vec<_> = path.split('/').filter(|part| !part.is_empty()).collect();
    let ends = closed(responses).filter_map(|endpoint| {
        let template: Vec<_> = endpoint.path.strip_prefix("/v1/")?.split('/').collect();
        let end = &parts[parts.len().checked_sub(template.len())?..];
        let is_id = |segment: &str| segment.starts_with('{');
        let mut pairs = template.iter().zip(end);
        let fits = pairs.all(|(segment, part)| is_id(segment) || segment == part);
        let has_id = template.iter().any(|segment| is_id(segment));
        fits.then_some((!has_id, end))
    });
    // An id may be any word, the name of an endpoint too: a path without an id fits better.
    let (_, end) = ends.max_by_key(|(is_whole, end)| (*is_whole, end.len()))?;
    let meant = format!("/v1/{}", end.join("/"));
    (meant != path).then_some(meant)
}

/// 405; axum adds the header `Allow`. 426 if a WebSocket was asked for: after
/// a 405 Codex tries seven times before it sends a POST request, after a 426 at once.
pub(in crate::api) async fn method(http: Method, uri: Uri, headers: HeaderMap) -> ApiError {
    if asks_for_websocket(&headers) {
        return no_websocket();
    }
    // A base URL that has the endpoint in it: the endpoint's own name passes for an id.
    if let Some(once) = once(uri.path()) {
        return unknown(&http, uri.path(), &suggestion(once));
    }
    GatewayError::WrongMethod {
        method: http.to_string(),
        path: uri.path().to_owned(),
    }
    .into()
}

/// The path of an endpoint that this one has twice.
fn once(path: &str) -> Option<String> {
    let rest = path.strip_prefix("/v1")?;
    let (one, other) = rest.split_at_checked(rest.len() / 2)?;
    (one == other).then(|| format!("/v1{one}"))
}

/// 426, with the protocol to use instead.
pub(in crate::api) fn no_websocket() -> ApiError {
    let mut error = ApiError::from(GatewayError::NoWebSocket);
    let upgrade = [("upgrade", "HTTP/1.1"), ("connection", "upgrade")];
    let upgrade = upgrade.map(|(name, value)| (name.to_owned(), value.to_owned()));
    error.headers.extend(upgrade);
    error
}

pub(in crate::api) fn asks_for_websocket(headers: &HeaderMap) -> bool {
    lists(headers, &UPGRADE, "websocket")
}

/// Whether a header that is a list names this word, in any case.
pub(in crate::api) fn lists(headers: &HeaderMap, name: &HeaderName, word: &str) -> bool {
    let values = headers.get_all(name).iter();
    values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|listed| listed.trim().eq_ignore_ascii_case(word))
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
            ("/v1/v1/messages", "/v1/messages"),
            ("/messages/count_tokens", "/v1/messages/count_tokens"),
            ("/v1/responses/responses", "/v1/responses"),
            ("/v1/models/models", "/v1/models"),
        ] {
            assert_eq!(meant(path, true).as_deref(), Some(expected), "{path}");
        }
        for path in [
            "/",
            "/v1",
            "/v1/nope",
            "/v1/embeddings",
            "/v1/messages/batches",
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
