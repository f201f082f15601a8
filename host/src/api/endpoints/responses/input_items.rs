//! `GET /v1/responses/{id}/input_items`: lists the conversation that a kept response answers.

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;

use super::not_found;
use crate::api::id::Id;
use crate::api::request_context::Authenticated;
use crate::api::{Shared, choices, error, query};
use crate::openai::ApiError;
use crate::openai::responses::{self, InputList, Order};

/// The number of items that are listed if the client names none, and the most.
const LIMIT: (usize, usize) = (20, 100);

/// The value of `include` that asks for the pictures themselves.
const IMAGES: &str = "message.input_image.image_url";

/// Answers one page of the list.
pub(in crate::api) async fn list(
    State(shared): State<Shared>,
    Id(id): Id,
    Authenticated(caller): Authenticated,
    uri: Uri,
) -> Result<Response, ApiError> {
    let list = read(&uri)?;
    let input = shared.responses.input(&choices::key(&caller), &id);
    let input = input.ok_or_else(|| not_found(&id))?;
    let bytes = input.bytes;
    let written = move || responses::list_input(&id, input.items(), &list);
    let written = shared.bodies.work(bytes, written).await?;
    Ok(error::json(written?))
}

fn read(uri: &Uri) -> Result<InputList, ApiError> {
    let pairs: Vec<(String, String)> = query::parameters(uri)?;
    let last = |name: &str| query::last(&pairs, name).map(str::to_owned);
    let order = match last("order").as_deref() {
        None | Some("desc") => Order::LatestFirst,
        Some("asc") => Order::EarliestFirst,
        Some(other) => return Err(query::wrong("order", "asc or desc", other)),
    };
    let mut includes = pairs
        .iter()
        .filter(|(name, _)| name == "include" || name == "include[]");
    Ok(InputList {
        order,
        limit: query::count("limit", last("limit"), LIMIT)?,
        after: last("after").filter(|after| !after.is_empty()),
        images: includes.any(|(_, value)| value == IMAGES),
    })
}
