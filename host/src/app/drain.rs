//! Drains the gateway, step by step.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// After the grace, how long streams that were told to end may take to say so.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// How long a task may take to end. A file system that hangs does not keep the process.
const LAST_WRITES: Duration = Duration::from_secs(10);

/// Waits for a task that ends by itself, but not for ever.
pub(super) async fn finish(what: &str, task: JoinHandle<()>) {
    match tokio::time::timeout(LAST_WRITES, task).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::error!(%error, "{what} failed"),
        Err(_) => tracing::error!("{what} did not end in time (a disk that hangs?)"),
    }
}

/// The steps of the end, each a token that is cancelled when it is reached.
#[derive(Debug)]
pub(super) struct Drain {
    /// Load balancers are told to turn away.
    pub(super) draining: CancellationToken,
    /// Nothing new is taken in.
    pub(super) closing: CancellationToken,
    /// What still streams is cut.
    pub(super) ending: CancellationToken,
    /// From the first to the second.
    delay: Duration,
    /// From the second to the third.
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

    /// Takes the steps once `stop` is ready, and returns when nobody is waited for any more.
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

    /// Ends a start that was given up: nothing new is taken in, and those that wait for it are answered.
    pub(super) async fn give_up(&self, answered: impl Future) {
        self.closing.cancel();
        // One that does not take its answer is not waited for.
        let _ = tokio::time::timeout(LAST_WORDS, answered).await;
        self.end();
    }

    /// Takes all of them at once.
    pub(super) fn end(&self) {
        for step in [&self.draining, &self.closing, &self.ending] {
            step.cancel();
        }
    }
}

/// A gateway that is given up before it serves leaves no listener behind.
impl Drop for Drain {
    fn drop(&mut self) {
        self.end();
    }
}
