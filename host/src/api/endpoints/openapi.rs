//! `/openapi.json`: the description of this API for tools.

use axum::http::HeaderName;
use axum::http::header::CONTENT_TYPE;

/// The description. A test compares it with the routes.
pub(in crate::api) async fn document() -> ([(HeaderName, &'static str); 1], &'static str) {
    let json = [(CONTENT_TYPE, "application/json")];
    (json, include_str!("openapi.json"))
}
