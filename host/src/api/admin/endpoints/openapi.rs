//! `GET openapi.json`: the description of the operator's API for tools, written by hand as that of the clients' API is.

use axum::http::HeaderName;
use axum::http::header::CONTENT_TYPE;

/// The description. Tests compare it with the routes, and real answers of every endpoint with it.
pub(in crate::api::admin) async fn document() -> ([(HeaderName, &'static str); 1], &'static str) {
    let json = [(CONTENT_TYPE, "application/json")];
    (json, include_str!("openapi.json"))
}
