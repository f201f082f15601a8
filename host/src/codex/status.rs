//! The status of a backend and its workers, for health, metrics and waiting tasks.

use tokio::sync::watch;

/// The status of a backend.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Status {
    /// `app-server`, `proto` or `demo`.
    pub kind: &'static str,
    /// Whether it takes turns.
    pub ready: bool,
    /// The reason why it takes none. May contain file names: for the operator.
    pub reason: Option<String>,
    /// Whether Codex is signed in; absent if the default provider needs no login of Codex, or if that is not known.
    pub signed_in: Option<bool>,
    /// Codex's version.
    pub version: String,
    /// The number of times a worker was lost and had to be replaced.
    pub restarts: u64,
    /// The number of workers that were recycled.
    pub recycled: u64,
    /// The number of turns that went on in the thread of their conversation.
    pub continued: u64,
    /// Turns that hold a lease.
    pub turns: usize,
    /// Turns that wait for a lease.
    pub waiting: usize,
    /// The long-lived workers that are ready, or still finish their turns.
    pub workers: Vec<WorkerStatus>,
}

/// The status of one worker.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct WorkerStatus {
    /// Its process id.
    pub pid: Option<u32>,
    /// The number of turns it runs now.
    pub turns: usize,
    /// The number of turns it was given since its start.
    pub begun: u64,
    /// Whether it drains: it gets no new turns.
    pub leaving: bool,
}

/// The places for turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Places {
    /// Those that no turn has.
    pub free: usize,
    /// All of them.
    pub total: usize,
}

impl Status {
    /// The status of a backend whose first worker is not ready yet.
    pub(super) fn starting(kind: &'static str, version: String) -> Self {
        Self {
            kind,
            ready: false,
            reason: Some("the worker is starting".to_owned()),
            signed_in: None,
            version,
            restarts: 0,
            recycled: 0,
            continued: 0,
            turns: 0,
            waiting: 0,
            workers: Vec::new(),
        }
    }

    /// The status of the demo, which is always ready.
    pub(super) fn demo() -> Self {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        Self {
            kind: "demo",
            ready: true,
            reason: None,
            signed_in: None,
            version,
            restarts: 0,
            recycled: 0,
            continued: 0,
            turns: 0,
            waiting: 0,
            workers: Vec::new(),
        }
    }
}

/// Counts one running turn in the status, without waking the receivers that watch it.
#[derive(Debug)]
pub(super) struct InFlight(watch::Sender<Status>);

impl InFlight {
    /// Counts the turn until dropped.
    pub(super) fn new(status: watch::Sender<Status>) -> Self {
        status.send_if_modified(|status| {
            status.turns += 1;
            false
        });
        Self(status)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.send_if_modified(|status| {
            status.turns = status.turns.saturating_sub(1);
            false
        });
    }
}
