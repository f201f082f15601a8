//! `/healthz`, `/readyz`, `/livez`: whether the gateway is up, whether it can answer, and its parts.

use axum::Json;
use axum::extract::State;
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::api::{Shared, client_addr};
use crate::policy::Slot;
use crate::telemetry;

fn answer(status: StatusCode, body: Value) -> Response {
    (status, [(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
}

fn is_ready(shared: &Shared) -> bool {
    shared.backend.status().ready && !shared.draining.is_cancelled()
}

/// A detail that may name files of this machine, for requests from this machine; others are referred to the log.
fn detail(parts: &Parts, text: &str) -> Value {
    if client_addr::is_local(parts) {
        text.into()
    } else {
        "in the log, and here for requests from the gateway's own machine".into()
    }
}

fn backend(shared: &Shared, parts: &Parts) -> Value {
    let status = shared.backend.status();
    let reason = status.reason.as_deref();
    json!({
        "kind": status.kind,
        "ready": status.ready,
        "reason": reason.map(|reason| detail(parts, reason)),
        "signed_in": status.signed_in,
        "version": status.version,
        "restarts": status.restarts,
        "recycled": status.recycled,
        "turns": status.turns,
        "waiting": status.waiting,
        "workers": status.workers,
    })
}

/// The state of backend, policies and log, for operators. The status is always 200 while the process serves; `ok` is the verdict.
pub(in crate::api) async fn health(State(shared): State<Shared>, parts: Parts) -> Response {
    let generation = shared.live.current();
    let refused: Vec<Value> = shared
        .live
        .refusals()
        .into_iter()
        .map(|refusal| {
            let problem = detail(&parts, &refusal.problem());
            json!({"file": refusal.file(), "slot": refusal.slot.map(Slot::name), "problem": problem})
        })
        .collect();
    let mut warnings: Vec<Value> = shared
        .live
        .notices()
        .into_iter()
        .map(|notice| json!({"file": notice.file(), "what": detail(&parts, &notice.what())}))
        .collect();
    let records = shared.live.recorded();
    if let Some((_, dropped @ 1..)) = records {
        let what = format!("{dropped} requests or decisions could not be recorded");
        warnings.push(json!({"file": "POLICY_RECORD", "what": what}));
    }
    let records = records.map(|(written, dropped)| json!({"written": written, "dropped": dropped}));
    let body = json!({
        "ok": is_ready(&shared) && refused.is_empty() && shared.backend.status().signed_in != Some(false),
        "version": env!("CARGO_PKG_VERSION"),
        "draining": shared.draining.is_cancelled(),
        "backend": backend(&shared, &parts),
        "generation": generation.number(),
        "digest": generation.digest(),
        "since": humantime::format_rfc3339_seconds(generation.since()).to_string(),
        "by": generation.door().name(),
        "probation_until": shared.live.on_probation_until().map(|until| humantime::format_rfc3339_seconds(until).to_string()),
        "policies": generation.slots(),
        "refused": refused,
        "warnings": warnings,
        "records": records,
        "log_lines_dropped": telemetry::log_lines_dropped(),
    });
    answer(StatusCode::OK, body)
}

/// Whether requests should be sent to this gateway.
pub(in crate::api) async fn ready(State(shared): State<Shared>, parts: Parts) -> Response {
    let ready = is_ready(&shared);
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    answer(
        status,
        json!({"ok": ready, "draining": shared.draining.is_cancelled(), "backend": backend(&shared, &parts)}),
    )
}

/// Readiness and health of a gateway that is starting, with the stage of the start.
pub(in crate::api) fn starting(status: StatusCode, stage: &str) -> Response {
    answer(
        status,
        json!({"ok": false, "draining": false, "starting": stage}),
    )
}

/// Says that the process is alive. A restart would not cure any problem that this does not show.
pub(in crate::api) async fn live() -> Response {
    answer(StatusCode::OK, json!({"ok": true}))
}
