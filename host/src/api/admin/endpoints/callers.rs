//! `GET callers`: the callers that were seen, latest first; and all that is known of those with one id.

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use serde::{Deserialize, Serialize};

use super::super::Admin;
use crate::api::id::Id;
use crate::api::{client_addr, query};
use crate::openai::{ApiError, GatewayError};
use crate::policy::{self, Allowance, rate_limit};
use crate::telemetry::callers::{ModelUse, Seen};

/// How many callers are listed: the default, and the most.
const LAST: (usize, usize) = (100, 10_000);
/// The most callers of one id that are shown: several tenants may have it.
const TENANTS: usize = 16;

#[derive(Deserialize)]
struct Asked {
    last: Option<String>,
}

#[derive(Serialize)]
pub(in crate::api::admin) struct List {
    object: &'static str,
    /// The number of all that are known.
    known: usize,
    data: Vec<Seen>,
}

/// The callers that were seen last, latest first.
pub(in crate::api::admin) async fn list(
    State(admin): State<Admin>,
    uri: Uri,
) -> Result<Json<List>, ApiError> {
    let asked: Asked = query::parameters(&uri)?;
    let last = query::count("last", asked.last, LAST)?;
    let callers = admin.shared.telemetry.callers.as_ref();
    let (data, known) = callers.map_or_else(Default::default, |callers| callers.last(last));
    Ok(Json(List {
        object: "list",
        known,
        data,
    }))
}

#[derive(Serialize)]
pub(in crate::api::admin) struct Found {
    object: &'static str,
    data: Vec<Caller>,
}

/// One caller: what it has used, and what it may use.
#[derive(Serialize)]
struct Caller {
    #[serde(flatten)]
    seen: Seen,
    usage: Vec<ModelUse>,
    #[serde(flatten)]
    allowance: Allowance,
}

/// The callers of this id, latest first.
pub(in crate::api::admin) async fn show(
    State(admin): State<Admin>,
    Id(id): Id,
) -> Result<Json<Found>, ApiError> {
    let callers = admin.shared.telemetry.callers.as_ref();
    let seen = callers.map_or_else(Vec::new, |callers| callers.of(&id, TENANTS));
    if seen.is_empty() {
        let id = id.chars().take(64).collect();
        return Err(GatewayError::CallerNotSeen { id }.into());
    }
    let (live, counters) = (&admin.shared.live, &*admin.shared.counters);
    let mut data = Vec::new();
    for mut seen in seen {
        let caller = policy::Caller {
            id: seen.id.clone(),
            tenant: seen.tenant.clone(),
            groups: seen.groups.clone(),
        };
        let asks = asks(&seen, &caller);
        let allowance = live.allowance(&caller, asks, counters).await;
        data.push(Caller {
            usage: std::mem::take(&mut seen.models),
            seen,
            allowance,
        });
    }
    Ok(Json(Found {
        object: "list",
        data,
    }))
}

/// Requests like the last ones of the caller, each also as the policy is asked about its address: their buckets are the
/// caller's.
fn asks(seen: &Seen, caller: &policy::Caller) -> Vec<rate_limit::Ask> {
    let bare = rate_limit::Ask {
        client: seen.client.clone(),
        caller: None,
        endpoint: String::new(),
        model: None,
        streaming: false,
        estimated_tokens: 0,
        now_ms: client_addr::now_ms(),
    };
    let of_paths = seen.path.iter().map(|path| (path, None, false));
    let models = seen.models.iter();
    let of_models = models.map(|used| (&used.path, used.model.clone(), used.streaming));
    let asks = of_paths.chain(of_models);
    asks.flat_map(|(path, model, streaming)| {
        let by_address = rate_limit::Ask {
            endpoint: path.clone(),
            ..bare.clone()
        };
        let by_caller = rate_limit::Ask {
            caller: Some(caller.clone()),
            model,
            streaming,
            ..by_address.clone()
        };
        [by_address, by_caller]
    })
    .collect()
}
