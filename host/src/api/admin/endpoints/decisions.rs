//! `GET decisions`: decisions as they are made, as server-sent events; and `GET decisions/{id}`, which explains a request from
//! those in memory.

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use futures_util::stream;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use super::super::Admin;
use super::events::{self, MOST};
use crate::api::id::Id;
use crate::api::query;
use crate::openai::{ApiError, GatewayError};
use crate::policy::{Explanation, Slot, Tapped, Wanted};

static READERS: Semaphore = Semaphore::const_new(MOST);

#[derive(Deserialize)]
struct Asked {
    share: Option<String>,
    caller: Option<String>,
    slot: Option<String>,
    refused: Option<String>,
}

impl Asked {
    fn wanted(self) -> Result<Wanted, ApiError> {
        let share = self.share.map_or(Ok(1.0), |text| {
            let share = text.parse().ok();
            let share = share.filter(|share| *share > 0.0 && *share <= 1.0);
            share.ok_or_else(|| query::wrong("share", "a number above 0, at most 1", &text))
        });
        let slot = self.slot.map(|text| {
            let slot = Slot::parse(&text);
            let expected = Slot::ALL.map(Slot::name).join(", ");
            slot.ok_or_else(|| query::wrong("slot", &format!("one of {expected}"), &text))
        });
        let refused = match self.refused.as_deref() {
            None | Some("false") => false,
            Some("true") => true,
            Some(text) => return Err(query::wrong("refused", "true or false", text)),
        };
        Ok(Wanted {
            share: share?,
            caller: self.caller,
            slot: slot.transpose()?,
            refused,
        })
    }
}

/// Decisions from now on. The first line is a comment: decisions after it are seen, as far as they are asked for.
pub(in crate::api::admin) async fn watch(
    State(admin): State<Admin>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let asked: Asked = query::parameters(&uri)?;
    let wanted = asked.wanted()?;
    let place = events::place(&READERS)?;
    let tap = admin.shared.live.tap(wanted);
    let decisions = stream::unfold((tap, place), |(mut tap, place)| async move {
        let event = match tap.next().await? {
            Tapped::Made(made) => events::event(&made),
            Tapped::Missed(count) => events::missed(count),
        };
        Some((event, (tap, place)))
    });
    Ok(events::respond(&admin, "decisions from now on", decisions))
}

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
