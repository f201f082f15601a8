//! `GET decisions/{id}`: explains a request from the decisions in memory.

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use super::super::Admin;
use crate::api::id::Id;
use crate::openai::{ApiError, GatewayError};
use crate::policy::Explanation;

#[derive(Serialize)]
pub(in crate::api::admin) struct Explained {
    object: &'static str,
    data: Vec<Explanation>,
}

/// The decisions on the requests of this id, newest request first: clients choose ids, and may repeat them.
pub(in crate::api::admin) async fn explain(
    State(admin): State<Admin>,
    Id(id): Id,
) -> Result<Json<Explained>, ApiError> {
    let data = admin.shared.live.explain(&id);
    if data.is_empty() {
        let id = id.chars().take(64).collect();
        return Err(GatewayError::RequestNotKept { id }.into());
    }
    Ok(Json(Explained {
        object: "list",
        data,
    }))
}
