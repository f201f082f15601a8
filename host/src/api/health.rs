//! Health: is it up, can it answer, and what is it made of?

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::Shared;

fn answer(status: StatusCode, body: Value) -> Response {
    (status, [(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
}

fn is_ready(shared: &Shared) -> bool {
    shared.backend.status().ready && !shared.draining.is_cancelled()
}

fn backend(shared: &Shared) -> Value {
    let status = shared.backend.status();
    json!({
        "kind": status.kind,
        "ready": status.ready,
        "reason": status.reason,
        "version": status.version,
        "restarts": status.restarts,
        "recycled": status.recycled,
        "turns": status.turns,
        "workers": status.workers,
    })
}

/// Everything an operator looks for first. Always 200 while the process serves; `ok` says how it is.
pub(super) async fn health(State(shared): State<Shared>) -> Response {
    let generation = shared.live.current();
    let refused: Vec<Value> = shared
        .live
        .refusals()
        .into_iter()
        .map(|refusal| json!({"file": refusal.file, "slot": refusal.slot.name(), "problem": refusal.problem.to_string()}))
        .collect();
    let body = json!({
        "ok": is_ready(&shared) && refused.is_empty(),
        "version": env!("CARGO_PKG_VERSION"),
        "draining": shared.draining.is_cancelled(),
        "backend": backend(&shared),
        "generation": generation.number(),
        "policies": generation.slots(),
        "refused": refused,
    });
    answer(StatusCode::OK, body)
}

/// Whether a request sent now would be answered.
pub(super) async fn ready(State(shared): State<Shared>) -> Response {
    let ready = is_ready(&shared);
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    answer(
        status,
        json!({"ok": ready, "draining": shared.draining.is_cancelled(), "backend": backend(&shared)}),
    )
}

/// Whether the process is alive: restarting it would not help anything this does not show.
pub(super) async fn live() -> Response {
    answer(StatusCode::OK, json!({"ok": true}))
}
