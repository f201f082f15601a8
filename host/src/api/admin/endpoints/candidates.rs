//! `candidates`: uploads, lists and drops them, and lets them decide along in shadow.

use axum::Json;
use axum::extract::{Extension, FromRequest, Request, State};
use axum::http::StatusCode;
use serde::Serialize;
use tokio::sync::Semaphore;

use super::super::guard::Known;
use super::super::upload::{self, Upload};
use super::super::{Admin, Whole, body, gate};
use crate::api::error;
use crate::api::id::Id;
use crate::memory;
use crate::openai::{ApiError, GatewayError};
use crate::policy::{Canary, CandidateStatus, Digest};

/// Uploads that are held in memory and prepared at a time. Others wait, their bodies unread.
static UPLOADS: Semaphore = Semaphore::const_new(2);

#[derive(Serialize)]
pub(in crate::api::admin) struct List {
    object: &'static str,
    data: Vec<CandidateStatus>,
}

/// All candidates, oldest first.
pub(in crate::api::admin) async fn list(State(admin): State<Admin>) -> Json<List> {
    Json(List {
        object: "list",
        data: admin.shared.live.candidates(),
    })
}

/// One candidate, with its whole reports.
pub(in crate::api::admin) async fn show(
    State(admin): State<Admin>,
    Id(digits): Id,
) -> Result<Json<CandidateStatus>, ApiError> {
    let digits = digits.to_ascii_lowercase();
    Ok(Json(admin.shared.live.candidate(&digits)?))
}

/// Prepares a candidate, compares it with the last decisions, and begins the steps of its rules.
pub(in crate::api::admin) async fn offer(
    State(admin): State<Admin>,
    Extension(known): Extension<Known>,
    request: Request,
) -> Result<(StatusCode, Json<CandidateStatus>), ApiError> {
    let _permit = UPLOADS.acquire().await.map_err(|_| error::internal())?;
    let headers = request.headers().clone();
    let Whole(body) = Whole::from_request(request, &()).await?;
    let trust = admin.shared.live.trust();
    let Upload { files, rules } = upload::read(&headers, body, trust).await?;
    let offered = admin.shared.live.offer(files, rules, &known.id).await;
    // Settings of some megabytes take some hundred while they are checked.
    memory::give_back_soon();
    Ok((StatusCode::CREATED, Json(offered?)))
}

/// Puts a candidate in shadow.
pub(in crate::api::admin) async fn shadow(
    State(admin): State<Admin>,
    Extension(known): Extension<Known>,
    Id(digits): Id,
    Whole(body): Whole,
) -> Result<Json<CandidateStatus>, ApiError> {
    let gate = gate::read(&body)?;
    let digits = digits.to_ascii_lowercase();
    Ok(Json(admin.shared.live.shadow(&digits, gate, &known.id)?))
}

/// Lets a candidate decide wholly on the requests of some callers.
pub(in crate::api::admin) async fn canary(
    State(admin): State<Admin>,
    Extension(known): Extension<Known>,
    Id(digits): Id,
    Whole(body): Whole,
) -> Result<Json<CandidateStatus>, ApiError> {
    let members = serde_json::Value::Object(body::object(&body)?);
    let who: Canary = serde_json::from_value(members).map_err(|error| {
        let message = format!("The callers of a canary cannot be read: {error}.");
        ApiError::from(GatewayError::InvalidValue { message })
    })?;
    let digits = digits.to_ascii_lowercase();
    Ok(Json(admin.shared.live.canary(&digits, who, &known.id)?))
}

/// Lets the serving policies decide for them again.
pub(in crate::api::admin) async fn end_canary(
    State(admin): State<Admin>,
    Extension(known): Extension<Known>,
    Id(digits): Id,
) -> Result<Json<CandidateStatus>, ApiError> {
    let digits = digits.to_ascii_lowercase();
    admin.shared.live.end_canary(&digits, &known.id)?;
    Ok(Json(admin.shared.live.candidate(&digits)?))
}

/// The candidate that is gone.
#[derive(Serialize)]
pub(in crate::api::admin) struct Deleted {
    digest: Digest,
    deleted: bool,
}

/// Drops a candidate.
pub(in crate::api::admin) async fn discard(
    State(admin): State<Admin>,
    Extension(known): Extension<Known>,
    Id(digits): Id,
) -> Result<Json<Deleted>, ApiError> {
    let live = &admin.shared.live;
    let digest = live.candidate(&digits.to_ascii_lowercase())?.digest;
    live.discard(&digest.to_string(), &known.id).await?;
    Ok(Json(Deleted {
        digest,
        deleted: true,
    }))
}
