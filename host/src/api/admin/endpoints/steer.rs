//! `promote`, `rollback` and `follow`: change which policies serve, and who decides it.

use axum::Json;
use axum::extract::{Extension, State};

use super::super::guard::Known;
use super::super::{Admin, Whole, gate};
use super::status::{Serving, generation};
use crate::api::id::Id;
use crate::openai::ApiError;

/// Lets a candidate serve, until `follow`.
pub(in crate::api::admin) async fn promote(
    State(admin): State<Admin>,
    Extension(known): Extension<Known>,
    Id(digits): Id,
) -> Result<Json<Serving>, ApiError> {
    let digits = digits.to_ascii_lowercase();
    let serving = admin.shared.live.promote(&digits, &known.id).await?;
    Ok(Json(generation(&admin.shared, &serving)))
}

/// Lets policies serve again that served before, until `follow`.
pub(in crate::api::admin) async fn roll_back(
    State(admin): State<Admin>,
    Extension(known): Extension<Known>,
    Whole(body): Whole,
) -> Result<Json<Serving>, ApiError> {
    let digits = gate::digest(&body)?.map(|digits| digits.to_ascii_lowercase());
    let live = &admin.shared.live;
    let serving = live.roll_back(digits.as_deref(), &known.id).await?;
    Ok(Json(generation(&admin.shared, &serving)))
}

/// Lets the policy folder decide again.
pub(in crate::api::admin) async fn follow(
    State(admin): State<Admin>,
    Extension(known): Extension<Known>,
) -> Json<Serving> {
    let live = &admin.shared.live;
    live.follow(&known.id).await;
    Json(generation(&admin.shared, &live.current()))
}
