//! `GET generations`: the activations of policies, newest first; and all that is known of one digest.

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use serde::{Deserialize, Serialize};

use super::super::{Admin, digests, history};
use super::status::{Slot, slots};
use crate::api::id::Id;
use crate::api::query;
use crate::openai::ApiError;
use crate::policy::Activated;

/// How many activations are listed: the default, and the most.
const LAST: (usize, usize) = (20, 1_000);

#[derive(Deserialize)]
struct Asked {
    last: Option<String>,
}

#[derive(Serialize)]
pub(in crate::api::admin) struct List {
    object: &'static str,
    /// The number of the generation that serves.
    serving: u64,
    data: Vec<Activated>,
}

/// The last activations, newest first.
pub(in crate::api::admin) async fn list(
    State(admin): State<Admin>,
    uri: Uri,
) -> Result<Json<List>, ApiError> {
    let asked: Asked = query::parameters(&uri)?;
    let last = query::count("last", asked.last, LAST)?;
    let activations = history::activations(&admin).await?;
    Ok(Json(List {
        object: "list",
        serving: admin.shared.live.current().number(),
        data: activations.into_iter().rev().take(last).collect(),
    }))
}

#[derive(Serialize)]
pub(in crate::api::admin) struct Found {
    digest: String,
    serving: bool,
    /// Why these policies are refused, if they were taken back and not activated since.
    taken_back: Option<String>,
    activations: Vec<Activated>,
    /// The policy in each slot, if this generation serves.
    #[serde(skip_serializing_if = "Option::is_none")]
    slots: Option<Vec<Slot>>,
}

/// The generation with this digest, of which the first digits are enough.
pub(in crate::api::admin) async fn show(
    State(admin): State<Admin>,
    Id(first): Id,
) -> Result<Json<Found>, ApiError> {
    let mut activations = history::activations(&admin).await?;
    activations.reverse();
    let digest = digests::find(activations.iter().flat_map(named), &first)?;
    let last = activations
        .iter()
        .find(|entry| named(entry).any(|named| named == digest));
    let taken_back = last
        .filter(|entry| entry.taken_back.as_deref() == Some(&digest))
        .and_then(|entry| entry.why.clone());
    let serving = admin.shared.live.current();
    let is_serving = serving.digest().to_string() == digest;
    activations.retain(|entry| entry.digest == digest);
    Ok(Json(Found {
        slots: is_serving.then(|| slots(&admin.shared, &serving)),
        serving: is_serving,
        taken_back,
        activations,
        digest,
    }))
}

/// The digests that an entry names.
fn named(entry: &Activated) -> impl Iterator<Item = &str> {
    let taken_back = entry.taken_back.as_deref();
    [Some(entry.digest.as_str()), taken_back]
        .into_iter()
        .flatten()
}
