//! Decides in which API's form a request's errors and models are written: OpenAI's or Anthropic's.

use std::borrow::Cow;

use axum::body::Body;
use axum::http::StatusCode;
use axum::http::header::CONTENT_LENGTH;
use axum::http::request::Parts;
use axum::response::Response;

use super::aliases::Alias;
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

/// Writes the error of an answer in Anthropic's form, if the answer is one.
pub(super) fn translate(response: &mut Response, request_id: Option<&str>) {
    let Some(Told(error)) = response.extensions().get() else {
        return;
    };
    let error = MessagesError::from(error);
    let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    *response.status_mut() = status;
    // The router has counted the other form.
    response.headers_mut().remove(CONTENT_LENGTH);
    *response.body_mut() = Body::from(error.to_json(request_id));
}
