//! Decides in which form a request's errors and models are written: OpenAI's, Anthropic's, or the one that Codex understands.

use std::borrow::Cow;

use axum::body::Body;
use axum::http::header::{CONTENT_LENGTH, RETRY_AFTER};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;

use super::aliases::Alias;
use super::client_addr;
use super::error::Told;
use crate::openai::messages::MessagesError;

/// Whether the request is one of Anthropic's API: by its endpoint, or by the header that its clients always send where the path
/// may be of both. Edge proxies pass on the headers of other requests, so elsewhere the header means nothing. `endpoint` is the
/// path of the request's endpoint; absent if there is none.
pub(super) fn is_anthropics(parts: &Parts, endpoint: Option<&str>) -> bool {
    let path = endpoint.map_or_else(|| Alias::meant(parts.uri.path()), Cow::Borrowed);
    let is_shared = endpoint.is_none() || is_below(&path, "/v1/models");
    is_of_messages(&path) || (is_shared && parts.headers.contains_key("anthropic-version"))
}

/// Whether only Anthropic's API has this path.
pub(super) fn is_of_messages(path: &str) -> bool {
    is_below(path, "/v1/messages")
}

fn is_below(path: &str, root: &str) -> bool {
    let rest = path.strip_prefix(root);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The longest wait, in seconds, after which clients try again by themselves: OpenAI's SDKs have this limit, and Codex has none.
const LONGEST_WAIT: u64 = 120;

/// Writes the error of a response that is refused for long as ChatGPT does for Codex, which then says when it may go on: it would
/// wait in silence, for hours. (Seen with Codex 0.171.0; it reads `type` and `resets_at`.)
pub(super) fn tell_codex(response: &mut Response, endpoint: Option<&str>) {
    if response.status() != StatusCode::TOO_MANY_REQUESTS || endpoint != Some("/v1/responses") {
        return;
    }
    let wait = response.headers().get(RETRY_AFTER);
    let wait = wait.and_then(|wait| wait.to_str().ok()?.parse::<u64>().ok());
    let Some(wait) = wait.filter(|wait| *wait > LONGEST_WAIT) else {
        return;
    };
    if let Some(Told(error)) = response.extensions().get() {
        let now = client_addr::now_ms() / 1_000;
        let body = error.to_json_until(now.saturating_add(wait));
        response.headers_mut().remove(CONTENT_LENGTH);
        *response.body_mut() = Body::from(body);
    }
}

/// Writes the error of an answer in Anthropic's form, if the answer is one.
pub(super) fn translate(response: &mut Response, request_id: Option<&str>) {
    let Some(Told(error)) = response.extensions().get() else {
        return;
    };
    let error = MessagesError::from(error);
    let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    *response.status_mut() = status;
    // Claude Code tries again for minutes, without a word, if a key is wrong. (Seen with 2.1.332.)
    if status == StatusCode::UNAUTHORIZED {
        let never = HeaderValue::from_static("false");
        response.headers_mut().insert("x-should-retry", never);
    }
    // The router has counted the other form.
    response.headers_mut().remove(CONTENT_LENGTH);
    *response.body_mut() = Body::from(error.to_json(request_id));
}
