//! `/__test/conc`: counts the turns, permits and connections of this moment, for tests and scripts.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::header::CACHE_CONTROL;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::unknown;
use crate::api::Shared;
use crate::openai::{ApiError, GatewayError};

/// `GET`: the counts. `conc` is the number of open streams, as the gateway's predecessor counted them.
pub(in crate::api) async fn read(
    State(shared): State<Shared>,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, _) = request.into_parts();
    let Some(access) = &shared.config.test_endpoints else {
        return Err(unknown::path(parts.method, parts.uri).await);
    };
    if !access.allows(&parts) {
        return Err(GatewayError::TestEndpointDenied.into());
    }
    let backend = shared.backend.status();
    let (room, connections) = (shared.bodies.room_left(), shared.connections.occupancy());
    let mut permits = json!({"body_bytes": {"free": room.free, "total": room.total}});
    if let Some(places) = shared.backend.places() {
        permits["turns"] = json!({"free": places.free, "total": places.total});
    }
    let counts = json!({
        "conc": shared.telemetry.streaming(),
        "turns": {"running": backend.turns, "waiting": backend.waiting},
        "permits": permits,
        "connections": connections.open,
    });
    Ok(([(CACHE_CONTROL, "no-store")], Json(counts)).into_response())
}
