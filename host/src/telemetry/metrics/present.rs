//! Metrics that are looked up when they are read, not counted.

/// What is looked up when somebody reads the metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Present {
    /// Which backend: `app-server`, `proto` or `demo`.
    pub backend: &'static str,
    /// The backend takes turns.
    pub ready: bool,
    /// Connections that are open.
    pub connections: usize,
    /// Idle connections that gave way to new ones.
    pub connections_displaced: u64,
    /// New connections that were closed at once.
    pub connections_refused: u64,
    /// Long-lived workers that are ready, or still end their turns.
    pub workers: usize,
    /// How often a worker had to be replaced.
    pub restarts: u64,
    /// How often a worker was relieved as planned.
    pub recycled: u64,
    /// Turns that run.
    pub turns: usize,
    /// Turns that wait for a worker.
    pub waiting: usize,
    /// The generation that serves.
    pub generation: u64,
    /// Policies whose candidates are refused now.
    pub refused: usize,
    /// Buckets of rate limits that are kept.
    pub limit_buckets: usize,
    /// Of these, how often one gave way before it was full again.
    pub limit_buckets_evicted: u64,
    /// Requests that were paid from a bucket that new keys share.
    pub limit_buckets_shared: u64,
    /// Usage events written.
    pub usage_written: u64,
    /// Usage events that were lost.
    pub usage_dropped: u64,
    /// Lines of the log that nobody read.
    pub log_dropped: u64,
}
