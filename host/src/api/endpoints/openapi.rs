//! `/openapi.json`: the description of this API for tools.
//!
//! Written by hand, not derived from the types of answers: see "By hand or by a crate" in `docs/src/decisions.md`.

use axum::http::HeaderName;
use axum::http::header::CONTENT_TYPE;

/// The description. Tests compare it with the routes, and real answers of every endpoint with it.
pub(in crate::api) async fn document() -> ([(HeaderName, &'static str); 1], &'static str) {
    let json = [(CONTENT_TYPE, "application/json")];
    (json, include_str!("openapi.json"))
}
