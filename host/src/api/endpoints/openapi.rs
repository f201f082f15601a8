//! `/openapi.json`: this surface as tools read it.

use axum::http::HeaderName;
use axum::http::header::CONTENT_TYPE;

/// A test holds it against the routes.
pub(in crate::api) async fn document() -> ([(HeaderName, &'static str); 1], &'static str) {
    let json = [(CONTENT_TYPE, "application/json")];
    (json, include_str!("openapi.json"))
}
