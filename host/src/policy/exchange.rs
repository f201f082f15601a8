//! A decision that was made: the question, the answer, and the time that it took.

use std::sync::Arc;
use std::time::Duration;

use super::fault::Fault;
use super::needs::Needs;
use super::world::{Authenticate, Catalog, Decide, Observe, Question, Quotas, Resolve, Verify};

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
    /// About the bytes that it takes in memory, beside those of its own type.
    pub(super) fn size(&self) -> usize {
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

/// A question that is remembered with its answer.
pub(super) trait Remembered: Question {
    /// Stands for the question where events are bytes.
    const KIND: u8;

    /// The event of both.
    fn made(exchange: Exchange<Self>) -> What;
}

macro_rules! remembered {
    ($($question:ident = $kind:literal),*) => {$(
        impl Remembered for $question {
            const KIND: u8 = $kind;

            fn made(exchange: Exchange<Self>) -> What {
                What::$question(exchange)
            }
        }
    )*};
}

remembered!(
    Authenticate = 0,
    Verify = 1,
    Catalog = 2,
    Resolve = 3,
    Quotas = 4,
    Decide = 5,
    Observe = 6
);

impl What {
    /// About the bytes that it takes in memory, beside those of its own type.
    pub(super) fn size(&self) -> usize {
        match self {
            Self::Authenticate(exchange) => exchange.size(),
            Self::Verify(exchange) => exchange.size(),
            Self::Catalog(exchange) => exchange.size(),
            Self::Resolve(exchange) => exchange.size(),
            Self::Quotas(exchange) => exchange.size(),
            Self::Decide(exchange) => exchange.size(),
            Self::Observe(exchange) => exchange.size(),
            Self::Unasked(question) => question.size(),
            Self::Settled(_) => 0,
        }
    }
}
