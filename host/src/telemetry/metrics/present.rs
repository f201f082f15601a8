//! Metrics whose values are looked up when the metrics are read.

/// The values at the time of reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    /// Log lines that were dropped.
    pub log_dropped: u64,
}
