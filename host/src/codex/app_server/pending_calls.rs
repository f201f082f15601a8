//! The calls of the client's functions that Codex waits for: the client answers them in its next request, and nobody here.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::Notify;

/// How long nothing may be heard of a turn whose calls Codex waits for. Codex keeps the end of a response that broke off,
/// or was cut by the provider, to itself until each call in it is answered. A healthy one may be as silent, between two
/// calls with long arguments: an answer that comes too early does it no harm.
const PATIENCE: Duration = Duration::from_secs(1);

/// One turn's.
#[derive(Debug, Default)]
pub(super) struct PendingCalls {
    /// The ids of the requests.
    open: Mutex<Vec<Value>>,
    made: Notify,
    heard: Notify,
}

impl PendingCalls {
    /// Codex asks for the outcome of a call.
    pub(super) fn add(&self, request: Value) {
        self.lock().push(request);
        self.made.notify_one();
    }

    /// Codex said something about the turn.
    pub(super) fn hear(&self) {
        self.heard.notify_one();
    }

    /// Waits until Codex seems to wait for nothing else, and gives the requests to answer.
    pub(super) async fn stalled(&self) -> Vec<Value> {
        self.made.notified().await;
        while tokio::time::timeout(PATIENCE, self.heard.notified())
            .await
            .is_ok()
        {}
        std::mem::take(&mut self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Value>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn calls_are_given_up_once_nothing_is_heard_any_more() {
        let calls = PendingCalls::default();
        calls.hear();
        let started = Instant::now();
        let quiet = tokio::time::timeout(PATIENCE * 10, calls.stalled()).await;
        assert!(quiet.is_err(), "a turn without a call may be silent");
        let talk = async {
            calls.add(1.into());
            for pause in [2, 1, 3] {
                tokio::time::sleep(PATIENCE * pause / 4).await;
                calls.hear();
            }
            calls.add(2.into());
        };
        let (given_up, ()) = tokio::join!(calls.stalled(), talk);
        assert_eq!(given_up, [1, 2]);
        assert_eq!(
            started.elapsed(),
            PATIENCE * 10 + PATIENCE * 6 / 4 + PATIENCE
        );
    }
}
