//! `/v1/usage`: the recorded usage, of the caller itself; for the group `admin`, of all callers.

use std::time::{Duration, UNIX_EPOCH};

use axum::Extension;
use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use serde::{Deserialize, Serialize};

use crate::api::query::{count, parameters, wrong};
use crate::api::{Shared, client_addr, error};
use crate::openai::{ApiError, GatewayError};
use crate::policy::Caller;
use crate::telemetry::usage::{self, Group, Key, Sums, Totals, UsageLog};

/// The group whose members see the usage of all callers.
const ADMIN: &str = "admin";
/// The number of events in `/v1/usage/raw`: the default, and the most.
const EVENTS: (usize, usize) = (200, 10_000);
/// Milliseconds since 1970; later dates cannot be written.
const YEAR_10000: u64 = 253_402_300_800_000;

#[derive(Deserialize)]
struct Sum {
    start: Option<String>,
    end: Option<String>,
    group: Option<String>,
}

#[derive(Deserialize)]
struct Last {
    limit: Option<String>,
}

/// `GET /v1/usage`: sums of the usage, in buckets if a group is named.
pub(in crate::api) async fn sum(
    State(shared): State<Shared>,
    Extension(caller): Extension<Caller>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let log = log(&shared)?;
    let asked: Sum = parameters(&uri)?;
    let query = usage::Query {
        start: time("start", asked.start)?.unwrap_or(0),
        end: time("end", asked.end)?
            .map_or_else(|| client_addr::now_ms() + 1, |end| end.min(YEAR_10000)),
        group: asked.group.as_deref().map(group).transpose()?,
        caller: scope(caller),
    };
    let (start, end, group) = (query.start, query.end, query.group);
    let report = log.report(query).await.map_err(unreadable)?;
    let report = report.map_err(|_| GatewayError::TooManyBuckets.about("group"))?;
    let buckets = report.buckets.into_iter();
    answer(&UsageAnswer {
        start,
        end,
        group: group.map(Group::name),
        total_requests: report.totals.requests,
        tokens: report.totals.tokens,
        buckets: group.map(|group| {
            buckets
                .map(|(key, sums)| Bucket::new(group, key, sums))
                .collect()
        }),
    })
}

/// `GET /v1/usage/raw`: the latest usage events.
pub(in crate::api) async fn raw(
    State(shared): State<Shared>,
    Extension(caller): Extension<Caller>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let log = log(&shared)?;
    let asked: Last = parameters(&uri)?;
    let limit = count("limit", asked.limit, EVENTS)?;
    let events = log.last(limit, scope(caller)).await.map_err(unreadable)?;
    answer(&Events {
        count: events.len(),
        events,
    })
}

fn log(shared: &Shared) -> Result<&UsageLog, ApiError> {
    let log = shared.telemetry.usage.as_deref();
    log.ok_or_else(|| GatewayError::UsageNotRecorded.into())
}

/// The caller whose usage is shown; absent for the usage of all.
fn scope(caller: Caller) -> Option<String> {
    let all = caller.groups.iter().any(|group| group == ADMIN);
    (!all).then_some(caller.id)
}

fn group(text: &str) -> Result<Group, ApiError> {
    let known = Group::ALL.into_iter().find(|group| group.name() == text);
    known.ok_or_else(|| wrong("group", "hour, day, caller or model", text))
}

/// Parses milliseconds since 1970, or a date or time in UTC.
fn time(name: &'static str, text: Option<String>) -> Result<Option<u64>, ApiError> {
    let Some(text) = text else {
        return Ok(None);
    };
    if let Ok(ms) = text.parse() {
        return Ok(Some(ms));
    }
    let day = text.len() == "2026-01-31".len();
    let full = if day {
        format!("{text}T00:00:00Z")
    } else {
        text.clone()
    };
    let time = humantime::parse_rfc3339_weak(&full).ok();
    let ms = time
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok())
        .and_then(|since| u64::try_from(since.as_millis()).ok());
    let expected = "milliseconds since 1970, or UTC as 2026-01-31 or 2026-01-31T12:00:00Z";
    ms.map(Some).ok_or_else(|| wrong(name, expected, &text))
}

#[derive(Serialize)]
struct UsageAnswer {
    start: u64,
    end: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<&'static str>,
    total_requests: u64,
    #[serde(flatten)]
    tokens: Sums,
    #[serde(skip_serializing_if = "Option::is_none")]
    buckets: Option<Vec<Bucket>>,
}

/// One row of the answer; one of the first three fields is set, depending on the group.
#[derive(Default, Serialize)]
struct Bucket {
    #[serde(skip_serializing_if = "Option::is_none")]
    ts: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    caller: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    #[serde(flatten)]
    totals: Totals,
}

impl Bucket {
    fn new(group: Group, key: Key, totals: Totals) -> Self {
        let mut bucket = Self {
            totals,
            ..Self::default()
        };
        match (key, group) {
            (Key::Time(ms), _) => {
                let begins = UNIX_EPOCH + Duration::from_millis(ms);
                bucket.ts = Some(humantime::format_rfc3339_millis(begins).to_string());
            }
            (Key::Name(name), Group::Model) => bucket.model = Some(name),
            (Key::Name(name), _) => bucket.caller = Some(name),
        }
        bucket
    }
}

#[derive(Serialize)]
struct Events {
    count: usize,
    events: Vec<usage::Event>,
}

fn answer(body: &impl Serialize) -> Result<Response, ApiError> {
    let body = serde_json::to_string(body).map_err(|_| error::internal())?;
    Ok(error::json(body))
}

fn unreadable(cause: std::io::Error) -> ApiError {
    tracing::error!(%cause, "the usage log cannot be read");
    error::internal()
}
