//! A decision that was made: who asked what, what the policy answered, and how long it took.

use std::mem::size_of;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::digest::Digest;
use super::fault::Fault;
use super::needs::Needs;
use super::trail::Follower;
use super::world::{Authenticate, Catalog, Decide, Observe, Question, Quotas, Resolve, Verify};

/// A request whose decisions are remembered.
pub(super) struct Asker {
    /// Its number in this process: clients choose their ids, and may choose the same.
    pub(super) number: u64,
    /// The id in `x-request-id`.
    pub(super) id: String,
    /// The generation that decides on it.
    pub(super) generation: u64,
    pub(super) digest: Digest,
    /// The follower that gets its events.
    pub(super) follower: Option<Arc<Follower>>,
    turns: AtomicU32,
}

impl Asker {
    pub(super) fn new(
        number: u64,
        id: String,
        (generation, digest): (u64, Digest),
        follower: Option<Arc<Follower>>,
    ) -> Self {
        Self {
            number,
            id,
            generation,
            digest,
            follower,
            turns: AtomicU32::new(0),
        }
    }

    /// The number of its next turn.
    pub(super) fn next_turn(&self) -> u32 {
        self.turns.fetch_add(1, Ordering::Relaxed)
    }
}

/// One question with its answer. The question is whole but for secrets, since another policy may need other parts of it.
pub(super) struct Exchange<Q: Question> {
    pub(super) asked: Q,
    pub(super) answer: Result<Q::Answer, Fault>,
    /// The parts of it that the policy saw.
    pub(super) needs: Arc<Needs>,
    pub(super) took: Duration,
    pub(super) from_memo: bool,
}

impl<Q: Question> Exchange<Q> {
    fn size(&self) -> usize {
        let answer = match &self.answer {
            Ok(answer) => Q::size_of_answer(answer),
            Err(fault) => fault.cause.len() + fault.policy.len(),
        };
        self.asked.size() + answer
    }
}

/// An event in the life of a request.
pub(super) enum What {
    Authenticate(Exchange<Authenticate>),
    Verify(Exchange<Verify>),
    Catalog(Exchange<Catalog>),
    Resolve(Exchange<Resolve>),
    Quotas(Exchange<Quotas>),
    Decide(Exchange<Decide>),
    Observe(Exchange<Observe>),
    /// The rate-limit policy was not asked: it does not need this question.
    Unasked(Quotas),
    /// The request used so many tokens, and uses nothing any more.
    Settled(u64),
}

/// One event.
pub(super) struct Event {
    pub(super) request: Arc<Asker>,
    /// The time since the trail began.
    pub(super) at: Duration,
    pub(super) what: What,
}

impl Event {
    /// About the bytes that it takes in memory.
    pub(super) fn size(&self) -> usize {
        let size = match &self.what {
            What::Authenticate(exchange) => exchange.size(),
            What::Verify(exchange) => exchange.size(),
            What::Catalog(exchange) => exchange.size(),
            What::Resolve(exchange) => exchange.size(),
            What::Quotas(exchange) => exchange.size(),
            What::Decide(exchange) => exchange.size(),
            What::Observe(exchange) => exchange.size(),
            What::Unasked(question) => question.size(),
            What::Settled(_) => 0,
        };
        size_of::<Self>() + self.request.id.len() + size
    }
}
