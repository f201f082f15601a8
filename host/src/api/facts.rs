//! The facts that the parts of the gateway report to the owner of a request, and the queue that they wait in.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::openai::Metadata;
use crate::policy::Caller;
use crate::quota::Reservation;
use crate::telemetry::Turn;

/// A fact for the owner of a request. There are at most a few for each choice.
pub(super) enum Fact {
    /// The caller, from the auth policy.
    Caller(Caller),
    /// The model: its name in the answer, and its name for Codex.
    Model { answer: String, codex: String },
    /// The metadata that the client sends for its own use.
    Metadata(Metadata),
    /// A turn is about to begin; whether its answer is a stream.
    Stream(bool),
    /// The code of the error that ended a turn.
    Failure(&'static str),
    /// A reservation, to be settled when the turns are over.
    Drawn(Reservation),
    /// The turns, to be run to their end.
    Turns(BoxFuture<'static, Vec<Turn>>),
}

/// The queue. A channel of the runtime would allocate room for 32 facts at once; most requests have one or two.
struct Queue {
    /// None once the owner has ended.
    waiting: Mutex<Option<Vec<Fact>>>,
    came: Notify,
}

/// The end for the parts of the gateway.
pub(super) struct Reporter(Arc<Queue>);

/// The owner's end.
pub(super) struct Facts(Arc<Queue>);

/// A new queue.
pub(super) fn queue() -> (Reporter, Facts) {
    let queue = Arc::new(Queue {
        waiting: Mutex::new(Some(Vec::new())),
        came: Notify::new(),
    });
    (Reporter(Arc::clone(&queue)), Facts(queue))
}

impl Reporter {
    /// Queues a fact. If the owner has ended, the fact is dropped.
    pub(super) fn report(&self, fact: Fact) {
        if let Some(waiting) = &mut *self.0.waiting.lock() {
            waiting.push(fact);
        }
        self.0.came.notify_one();
    }
}

impl Facts {
    /// The facts that wait, in their order.
    pub(super) fn take(&self) -> Vec<Fact> {
        self.0
            .waiting
            .lock()
            .as_mut()
            .map(std::mem::take)
            .unwrap_or_default()
    }

    /// Waits until there are facts. May be cancelled: none is lost.
    pub(super) async fn wait(&self) {
        self.0.came.notified().await;
    }
}

impl Drop for Facts {
    fn drop(&mut self) {
        // Dropped after the lock is released: a fact may hold another end of this queue.
        let _left = self.0.waiting.lock().take();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn facts_come_in_order_and_end_with_their_owner() {
        let (reporter, facts) = queue();
        reporter.report(Fact::Failure("a"));
        reporter.report(Fact::Failure("b"));
        facts.wait().await;
        let codes = facts.take().into_iter().map(|fact| match fact {
            Fact::Failure(code) => code,
            _ => "",
        });
        assert_eq!(codes.collect::<Vec<_>>(), ["a", "b"]);
        assert!(facts.wait().now_or_never().is_none() && facts.take().is_empty());
        let held = Arc::new(());
        let turns = |held: Arc<()>| {
            let turns = async move {
                drop(held);
                Vec::new()
            };
            Fact::Turns(turns.boxed())
        };
        reporter.report(turns(held.clone()));
        drop(facts);
        reporter.report(turns(held.clone()));
        assert_eq!(Arc::strong_count(&held), 1, "both were dropped");
    }
}
