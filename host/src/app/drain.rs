//! Drains the gateway in steps.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How long streams may take to send their error after the grace.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// How long a task may take to end. A file system that hangs does not keep the process alive.
const LAST_WRITES: Duration = Duration::from_secs(10);

/// Waits for a task that ends by itself, for a limited time.
pub(super) async fn finish(what: &str, task: JoinHandle<()>) {
    match tokio::time::timeout(LAST_WRITES, task).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::error!(%error, "{what} failed"),
        Err(_) => tracing::error!("{what} did not end in time (a disk that hangs?)"),
    }
}

/// The steps of draining, each a token that is cancelled when the step is reached.
#[derive(Debug)]
pub(super) struct Drain {
    /// `/readyz` fails, so that load balancers turn away.
    pub(super) draining: CancellationToken,
    /// No new requests are accepted.
    pub(super) closing: CancellationToken,
    /// Streams that still run are cut.
    pub(super) ending: CancellationToken,
    /// The time from `draining` to `closing`.
    delay: Duration,
    /// The time from `closing` to `ending`.
    grace: Duration,
}

impl Drain {
    pub(super) fn new(delay: Duration, grace: Duration) -> Self {
        Self {
            draining: CancellationToken::new(),
            closing: CancellationToken::new(),
            ending: CancellationToken::new(),
            delay,
            grace,
        }
    }

    /// Takes the steps once `stop` completes, and returns when the time for the last errors is over.
    pub(super) async fn after(&self, stop: impl Future<Output = ()>) {
        stop.await;
        self.draining.cancel();
        if !self.delay.is_zero() {
            let delay_ms = self.delay.as_millis() as u64;
            tracing::info!(delay_ms, "draining: not ready, but requests are taken");
            tokio::time::sleep(self.delay).await;
        }
        let grace_ms = self.grace.as_millis() as u64;
        tracing::info!(grace_ms, "draining: no new requests");
        self.closing.cancel();
        tokio::time::sleep(self.grace).await;
        tracing::warn!("the grace is over: what still streams ends with an error");
        self.ending.cancel();
        tokio::time::sleep(LAST_WORDS).await;
    }

    /// Ends a start that failed: no new requests are accepted, and waiting ones are answered.
    pub(super) async fn give_up(&self, answered: impl Future) {
        self.closing.cancel();
        // A client that does not read its answer is not waited for.
        let _ = tokio::time::timeout(LAST_WORDS, answered).await;
        self.end();
    }

    /// Takes all steps at once.
    pub(super) fn end(&self) {
        for step in [&self.draining, &self.closing, &self.ending] {
            step.cancel();
        }
    }
}

/// A gateway that is dropped before it serves leaves no listener behind.
impl Drop for Drain {
    fn drop(&mut self) {
        self.end();
    }
}
