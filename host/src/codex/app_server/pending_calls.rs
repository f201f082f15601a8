//! Calls of the client's functions that Codex waits for: only the client can answer them, in its next request.

use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use serde_json::Value;
use tokio::sync::Notify;

/// How long a turn with pending calls may be silent before they are answered. Codex holds back the end of a response that
/// broke off, or was cut by the provider, until each call in it is answered. A healthy turn may be as silent, between two
/// calls with long arguments: an answer that comes too early does it no harm.
const PATIENCE: Duration = Duration::from_secs(1);

/// The pending calls of one turn.
#[derive(Debug, Default)]
pub(super) struct PendingCalls {
    /// The ids of the calls, each with that of Codex's request.
    open: Mutex<Vec<(String, Value)>>,
    made: Notify,
    heard: Notify,
}

impl PendingCalls {
    /// Adds a request of Codex for the output of a call.
    pub(super) fn add(&self, call: String, request: Value) {
        self.lock().push((call, request));
        self.made.notify_one();
    }

    /// Notes that Codex sent a notification about the turn.
    pub(super) fn hear(&self) {
        self.heard.notify_one();
    }

    /// Waits until Codex seems to wait for nothing but these calls, and returns the requests to answer.
    pub(super) async fn stalled(&self) -> Vec<Value> {
        self.made.notified().await;
        while tokio::time::timeout(PATIENCE, self.heard.notified())
            .await
            .is_ok()
        {}
        let open = std::mem::take(&mut *self.lock());
        open.into_iter().map(|(_, request)| request).collect()
    }

    /// Waits until Codex has asked for the output of each of these calls, and returns its requests, in the same order.
    /// Cancel-safe.
    pub(super) async fn of(&self, calls: &[String]) -> Vec<Value> {
        loop {
            let asked: Option<Vec<Value>> = {
                let open = self.lock();
                let of = |call| open.iter().find(|(id, _)| id == call);
                let requests = calls
                    .iter()
                    .map(|call| of(call).map(|(_, request)| request.clone()));
                requests.collect()
            };
            match asked {
                Some(requests) => return requests,
                None => self.made.notified().await,
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(String, Value)>> {
        self.open.lock()
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
            calls.add("a".to_owned(), 1.into());
            for pause in [2, 1, 3] {
                tokio::time::sleep(PATIENCE * pause / 4).await;
                calls.hear();
            }
            calls.add("b".to_owned(), 2.into());
        };
        let (given_up, ()) = tokio::join!(calls.stalled(), talk);
        assert_eq!(given_up, [1, 2]);
        assert_eq!(
            started.elapsed(),
            PATIENCE * 10 + PATIENCE * 6 / 4 + PATIENCE
        );
    }
}
