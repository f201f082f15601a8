//! The status of a backend and its workers, for health, metrics and waiting tasks.

use tokio::sync::watch;

/// How a backend is doing.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Status {
    /// `app-server`, `proto` or `demo`.
    pub kind: &'static str,
    /// It takes turns.
    pub ready: bool,
    /// Why it does not. May name files: for the operator.
    pub reason: Option<String>,
    /// Whether Codex is signed in; absent if the default provider needs no login of Codex's, or that cannot be known.
    pub signed_in: Option<bool>,
    /// Codex's version.
    pub version: String,
    /// How often a worker had to be replaced.
    pub restarts: u64,
    /// How often a worker was relieved by a fresh one, as planned.
    pub recycled: u64,
    /// Turns that hold a lease.
    pub turns: usize,
    /// Turns that wait for one.
    pub waiting: usize,
    /// The long-lived workers that are ready, or still end their turns.
    pub workers: Vec<WorkerStatus>,
}

/// How one worker is doing.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct WorkerStatus {
    /// Its process id.
    pub pid: Option<u32>,
    /// Turns it runs now.
    pub turns: usize,
    /// Turns it was ever given.
    pub begun: u64,
    /// It gets no new turns.
    pub leaving: bool,
}

impl Status {
    /// A backend whose first worker is to come.
    pub(super) fn starting(kind: &'static str, version: String) -> Self {
        Self {
            kind,
            ready: false,
            reason: Some("the worker is starting".to_owned()),
            signed_in: None,
            version,
            restarts: 0,
            recycled: 0,
            turns: 0,
            waiting: 0,
            workers: Vec::new(),
        }
    }

    /// The demo, which is always ready.
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
            turns: 0,
            waiting: 0,
            workers: Vec::new(),
        }
    }
}

/// One turn in the count of those that run, silently: it is no news for those who watch the state.
#[derive(Debug)]
pub(super) struct InFlight(watch::Sender<Status>);

impl InFlight {
    /// Counts it until dropped.
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
