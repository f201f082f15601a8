//! `/metrics`: serves the metrics, with an access rule of its own.

use axum::extract::{Request, State};
use axum::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, VARY};
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};

use super::unknown;
use crate::api::Shared;
use crate::openai::{ApiError, GatewayError};
use crate::telemetry::{self, Format, Metrics, Present};

/// `GET`: the metrics, in the format that `Accept` asks for.
pub(in crate::api) async fn read(
    State(shared): State<Shared>,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, _) = request.into_parts();
    let (Some(access), Some(metrics)) = (&shared.config.metrics, &shared.telemetry.metrics) else {
        return Err(unknown::path(parts.method, parts.uri).await);
    };
    if !access.allows(&parts) {
        return Err(GatewayError::MetricsDenied.into());
    }
    let format = accepted(&parts);
    let headers = [
        (CONTENT_TYPE, format.content_type()),
        (CACHE_CONTROL, "no-store"),
        (VARY, "accept"),
    ];
    Ok((headers, render(metrics, &shared, format)).into_response())
}

/// The format that all `Accept` headers together ask for.
fn accepted(parts: &Parts) -> Format {
    let values = parts.headers.get_all(ACCEPT).iter();
    let values: Vec<_> = values.filter_map(|value| value.to_str().ok()).collect();
    Format::accepted(&values.join(","))
}

fn render(metrics: &Metrics, shared: &Shared, format: Format) -> String {
    let backend = shared.backend.status();
    let usage = shared.telemetry.usage.as_ref();
    let (usage_written, usage_dropped) = usage.map_or((0, 0), |usage| usage.counts());
    let recorded = shared.backend.messages_recorded();
    let (protocol_written, protocol_dropped) = recorded.unwrap_or_default();
    let (records_written, records_dropped) = shared.live.recorded().unwrap_or_default();
    let connections = shared.connections.occupancy();
    let limits = shared.counters.counts();
    let serving = shared.live.current();
    let present = Present {
        streams: shared.telemetry.streaming(),
        connections: connections.open,
        websockets: shared.sockets.open(),
        connections_displaced: connections.displaced,
        connections_refused: connections.turned_away,
        backend: backend.kind,
        ready: backend.ready,
        workers: backend.workers.len(),
        restarts: backend.restarts,
        recycled: backend.recycled,
        continued: backend.continued,
        turns: backend.turns,
        waiting: backend.waiting,
        generation: serving.number(),
        digest: serving.digest().short(),
        swaps: shared.live.swaps(),
        taken_back: shared.live.taken_back(),
        denied_imports: shared.live.denied_imports(),
        refused: shared.live.refusals().len(),
        limit_buckets: limits.buckets,
        limit_buckets_evicted: limits.evicted,
        limit_buckets_shared: limits.shared,
        usage_written,
        usage_dropped,
        protocol_written,
        protocol_dropped,
        records_written,
        records_dropped,
        log_dropped: telemetry::log_lines_dropped(),
    };
    metrics.render(&present, format)
}
