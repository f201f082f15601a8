//! Metrics whose values are looked up when the metrics are read.

use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use super::labels::DeniedImport;

/// The values at the time of reading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Present {
    /// The kind of the backend: `app-server`, `proto` or `demo`.
    pub backend: &'static str,
    /// Whether the backend takes turns.
    pub ready: bool,
    /// Answers that are being streamed.
    pub streams: usize,
    /// Connections that are open.
    pub connections: usize,
    /// Idle connections that gave way to new ones.
    pub connections_displaced: u64,
    /// Open WebSockets.
    pub websockets: usize,
    /// New connections that were closed at once.
    pub connections_refused: u64,
    /// Long-lived workers that are ready, or still finish their turns.
    pub workers: usize,
    /// How often a worker had to be replaced.
    pub restarts: u64,
    /// How often a worker was recycled.
    pub recycled: u64,
    /// Turns that went on in the thread of their conversation.
    pub continued: u64,
    /// Turns that run.
    pub turns: usize,
    /// Turns that wait for a worker.
    pub waiting: usize,
    /// The number of the serving generation.
    pub generation: u64,
    /// The first digits of its digest.
    pub digest: String,
    /// Generations of this process that replaced another.
    pub swaps: u64,
    /// Generations of this process that were taken back.
    pub taken_back: u64,
    /// Calls of policies to imports that they may not use: slot, import, number of calls.
    pub denied_imports: Vec<(&'static str, &'static str, u64)>,
    /// Policies whose last candidate is refused.
    pub refused: usize,
    /// Rate-limit buckets that are kept.
    pub limit_buckets: usize,
    /// How often a bucket was evicted before it was full again.
    pub limit_buckets_evicted: u64,
    /// Requests that were charged to the bucket that new keys share.
    pub limit_buckets_shared: u64,
    /// Usage events that were written.
    pub usage_written: u64,
    /// Usage events that were lost.
    pub usage_dropped: u64,
    /// Messages between the gateway and Codex that were recorded.
    pub protocol_written: u64,
    /// Messages between the gateway and Codex whose record was lost.
    pub protocol_dropped: u64,
    /// Decisions and ends of requests that were recorded.
    pub records_written: u64,
    /// Requests and decisions that were not.
    pub records_dropped: u64,
    /// Log lines that were dropped.
    pub log_dropped: u64,
}

impl Present {
    /// Registers the values with their names. docs/src/operating.md lists the same names: a test compares.
    pub(super) fn register(&self, to: &mut Registry) {
        let about = [
            ("version", env!("CARGO_PKG_VERSION")),
            ("backend", self.backend),
        ];
        to.register("codex_gateway", "What runs", Info::new(about));
        let serving = [("digest", self.digest.clone())];
        to.register(
            "codex_policy",
            "The policies that serve",
            Info::new(serving),
        );
        self.gauges(to);
        self.happened(to);
        self.recorded(to);
    }

    fn gauges(&self, to: &mut Registry) {
        let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        let gauges = [
            (
                "codex_connections",
                "Connections that are open",
                number(self.connections),
            ),
            (
                "codex_backend_ready",
                "1 if turns are taken",
                u64::from(self.ready),
            ),
            ("codex_backend_turns", "Turns that run", number(self.turns)),
            (
                "codex_backend_waiting",
                "Turns that wait for a worker",
                number(self.waiting),
            ),
            (
                "codex_streams_active",
                "Answers being streamed",
                number(self.streams),
            ),
            (
                "codex_websockets",
                "WebSockets that are open",
                number(self.websockets),
            ),
            (
                "codex_backend_workers",
                "Long-lived workers that are ready, or still end their turns",
                number(self.workers),
            ),
            (
                "codex_policy_generation",
                "The generation that serves",
                self.generation,
            ),
            (
                "codex_policy_refused",
                "Policies whose last candidate was refused",
                number(self.refused),
            ),
            (
                "codex_rate_limit_buckets",
                "Buckets of rate limits that are kept",
                number(self.limit_buckets),
            ),
        ];
        for (name, help, value) in gauges {
            to.register(name, help, ConstGauge::new(value));
        }
    }

    fn happened(&self, to: &mut Registry) {
        let counters = [
            (
                "codex_connections_displaced",
                "Idle connections that were closed to make room for new ones",
                self.connections_displaced,
            ),
            (
                "codex_connections_refused",
                "Connections that were closed at once: all others were busy",
                self.connections_refused,
            ),
            (
                "codex_worker_restarts",
                "Workers that had to be replaced",
                self.restarts,
            ),
            (
                "codex_worker_recycled",
                "Workers that were recycled as planned",
                self.recycled,
            ),
            (
                "codex_turns_continued",
                "Turns that went on in the thread of their conversation",
                self.continued,
            ),
            (
                "codex_policy_swaps",
                "Generations that replaced another",
                self.swaps,
            ),
            (
                "codex_policy_taken_back",
                "Generations that were taken back on probation",
                self.taken_back,
            ),
            (
                "codex_rate_limit_buckets_evicted",
                "Buckets that gave way to others before they were full again",
                self.limit_buckets_evicted,
            ),
            (
                "codex_rate_limit_shared_requests",
                "Requests paid from a bucket that new keys of a rule share",
                self.limit_buckets_shared,
            ),
        ];
        count(to, counters);
        let denied = Family::<DeniedImport, Counter>::default();
        for &(slot, import, calls) in &self.denied_imports {
            let labels = DeniedImport { slot, import };
            denied.get_or_create(&labels).inc_by(calls);
        }
        to.register(
            "codex_policy_denied_imports",
            "Calls of policies to imports that they may not use",
            denied,
        );
    }

    /// Counts records and lines that were written, and lost.
    fn recorded(&self, to: &mut Registry) {
        let counters = [
            (
                "codex_usage_events_written",
                "Usage events that were recorded",
                self.usage_written,
            ),
            (
                "codex_usage_events_dropped",
                "Usage events that were lost",
                self.usage_dropped,
            ),
            (
                "codex_protocol_messages_written",
                "Messages between the gateway and Codex that were recorded",
                self.protocol_written,
            ),
            (
                "codex_protocol_messages_dropped",
                "Messages between the gateway and Codex whose record was lost",
                self.protocol_dropped,
            ),
            (
                "codex_policy_records_written",
                "Decisions, and ends of requests, that were recorded",
                self.records_written,
            ),
            (
                "codex_policy_records_dropped",
                "Requests and decisions that could not be recorded",
                self.records_dropped,
            ),
            (
                "codex_log_lines_dropped",
                "Lines of the log that were dropped because its reader was too slow",
                self.log_dropped,
            ),
        ];
        count(to, counters);
    }
}

fn count<const N: usize>(to: &mut Registry, counters: [(&str, &str, u64); N]) {
    for (name, help, value) in counters {
        to.register(name, help, ConstCounter::new(value));
    }
}
