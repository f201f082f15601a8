//! A question about limits: the policy names the buckets, the counters draw from them, the policy decides.

use std::time::Instant;

use super::bindings::{Denial, Header, rate_limit};
use super::component::{Decided, Policy, Session};
use super::fault::{Fault, Refused, decided};
use super::outcome::Outcome;
use super::world::{Decide, Question, Quotas, RateLimit};
use crate::quota::{Quota, Reservation, Store, Taken, Unavailable, Unit};

/// A request that may go on.
pub struct Admitted {
    /// The policy's headers for the answer.
    pub headers: Vec<Header>,
    /// The amounts that it drew; absent if it drew nothing, although the policy admits it.
    pub reservation: Option<Reservation>,
}

/// The second half of a question about limits, and its answer.
type Second = (Decide, Decided<Result<Vec<Header>, Denial>>);

/// Both halves of a question about limits, as far as they were asked.
pub(super) struct Asked {
    pub(super) quotas: Decided<Vec<rate_limit::Quota>>,
    /// The status of the buckets, and the second half.
    pub(super) rest: Option<Second>,
    reservation: Option<Reservation>,
}

impl Asked {
    /// Why the policy could not answer one of the halves.
    pub(super) fn fault(&self) -> Option<&Fault> {
        let first = self.quotas.answer.as_ref().err();
        let second = self.rest.as_ref();
        first.or_else(|| second?.1.answer.as_ref().err())
    }

    /// The result. A request that is refused gives back all that it drew.
    pub(super) fn result(self) -> Result<Admitted, Refused> {
        self.quotas.answer?;
        let Some((_, second)) = self.rest else {
            return Ok(Admitted {
                headers: Vec::new(),
                reservation: None,
            });
        };
        match decided(second.answer) {
            Ok(headers) => Ok(Admitted {
                headers,
                // A policy may admit a request that the buckets refused; then there is no reservation.
                reservation: self.reservation,
            }),
            Err(refused) => {
                if let Some(reservation) = self.reservation {
                    reservation.refuse();
                }
                Err(refused)
            }
        }
    }
}

/// The answer of the buckets to these quotas when they were asked.
#[derive(Clone, Copy)]
pub(super) struct Known<'a> {
    pub(super) quotas: &'a [rate_limit::Quota],
    pub(super) statuses: &'a [rate_limit::BucketStatus],
}

impl Policy<RateLimit> {
    /// Whether the policy is asked this at all: before authentication only if it needs that.
    pub(super) fn is_asked(&self, question: &Quotas) -> bool {
        question.0.caller.is_some() || self.needs().by_address()
    }

    /// Asks both halves of a question about limits, and draws from the buckets in between.
    ///
    /// # Errors
    /// If the counters are unavailable.
    pub(super) async fn admit(
        &self,
        asked: &Quotas,
        counters: &dyn Store,
    ) -> Result<Asked, Unavailable> {
        self.admit_again(asked, None, counters).await
    }

    /// As [`Policy::admit`]; to quotas that are known, the buckets say again what they said.
    ///
    /// # Errors
    /// As [`Policy::admit`].
    pub(super) async fn admit_again(
        &self,
        asked: &Quotas,
        known: Option<Known<'_>>,
        counters: &dyn Store,
    ) -> Result<Asked, Unavailable> {
        let question = asked.declared(self.needs());
        let (quotas, session) = self.first(&question).await;
        let Ok(buckets) = &quotas.answer else {
            return Ok(Asked {
                quotas,
                rest: None,
                reservation: None,
            });
        };
        let (statuses, reservation) = take(counters, buckets).await?;
        let known = known.filter(|known| known.quotas == buckets);
        let statuses = known.map_or(statuses, |known| known.statuses.to_vec());
        let decide = Decide {
            ask: question.0.clone(),
            statuses,
        };
        let decided = self.second(&question, session, &decide).await;
        Ok(Asked {
            quotas,
            rest: Some((decide, decided)),
            reservation,
        })
    }

    /// Asks both halves with buckets of this status: nothing is drawn.
    pub(super) async fn admit_as(
        &self,
        asked: &Quotas,
        statuses: Vec<rate_limit::BucketStatus>,
    ) -> Asked {
        let question = asked.declared(self.needs());
        let (quotas, session) = self.first(&question).await;
        let mut rest = None;
        if quotas.answer.is_ok() {
            let ask = question.0.clone();
            let decide = Decide { ask, statuses };
            let decided = self.second(&question, session, &decide).await;
            rest = Some((decide, decided));
        }
        Asked {
            quotas,
            rest,
            reservation: None,
        }
    }

    async fn first(
        &self,
        question: &Quotas,
    ) -> (
        Decided<Vec<rate_limit::Quota>>,
        Option<Session<'_, RateLimit>>,
    ) {
        if let Some(kept) = self.remember(question) {
            return (kept, None);
        }
        let started = Instant::now();
        let (answer, session) = match self.begin(question.now_ms()).await {
            Ok(mut session) => (session.ask(question).await, Some(session)),
            Err(fault) => (Err(fault), None),
        };
        (Decided::since(started, answer), session)
    }

    async fn second(
        &self,
        question: &Quotas,
        session: Option<Session<'_, RateLimit>>,
        decide: &Decide,
    ) -> Decided<Result<Vec<Header>, Denial>> {
        if let Some(kept) = self.remember(decide) {
            return kept;
        }
        let started = Instant::now();
        let answer = self.finish(question, session, decide).await;
        Decided::since(started, answer)
    }

    /// Asks `decide` in an instance that answered `quotas`, as the contract says: otherwise a kept answer to `quotas` could change
    /// the one to `decide`.
    async fn finish(
        &self,
        question: &Quotas,
        session: Option<Session<'_, RateLimit>>,
        decide: &Decide,
    ) -> Result<Result<Vec<Header>, Denial>, Fault> {
        let mut session = match session {
            Some(session) => session,
            None => {
                let mut session = self.begin(decide.now_ms()).await?;
                session.ask(question).await?;
                session
            }
        };
        let answer = session.ask(decide).await;
        session.end();
        answer
    }
}

/// The outcome of both halves.
pub(super) fn outcome(asked: &Asked) -> Outcome {
    if let Some(fault) = asked.fault() {
        return Outcome::fault(fault);
    }
    match &asked.rest {
        Some((decide, second)) => Outcome::of_limits(&second.answer, &decide.statuses),
        None => Outcome::admitted(),
    }
}

/// Draws from the buckets. Until the request's cost is known, a reservation that is dropped costs no tokens: its request was
/// cancelled before it was admitted.
async fn take(
    counters: &dyn Store,
    buckets: &[rate_limit::Quota],
) -> Result<(Vec<rate_limit::BucketStatus>, Option<Reservation>), Unavailable> {
    if buckets.is_empty() {
        // The usual case without rules: nothing to draw, and nothing to give back.
        return Ok((Vec::new(), None));
    }
    let buckets: Vec<Quota> = buckets.iter().map(quota).collect();
    let (statuses, mut reservation): Taken = counters.take(&buckets).await?;
    if let Some(reservation) = &mut reservation {
        reservation.settle(0);
    }
    let statuses = buckets.into_iter().zip(statuses);
    let statuses = statuses.map(|(quota, status)| rate_limit::BucketStatus {
        name: quota.name,
        granted: status.granted,
        remaining: status.remaining,
        reset_ms: status.reset_ms,
    });
    Ok((statuses.collect(), reservation))
}

/// A bucket as the counters know it.
pub(super) fn quota(quota: &rate_limit::Quota) -> Quota {
    Quota {
        name: quota.name.clone(),
        key: quota.key.clone(),
        unit: match quota.unit {
            rate_limit::Unit::Requests => Unit::Requests,
            rate_limit::Unit::Tokens => Unit::Tokens,
            rate_limit::Unit::Concurrent => Unit::Concurrent,
        },
        limit: quota.limit,
        window_ms: quota.window_ms,
        cost: quota.cost,
    }
}

impl Policy<RateLimit> {
    /// Whether it decides a question about limits, asked both halves, whatever it decides.
    pub(super) async fn decides(
        &self,
        asked: Quotas,
        statuses: Vec<rate_limit::BucketStatus>,
    ) -> bool {
        if !self.is_asked(&asked) {
            return true;
        }
        let quotas = asked.declared(self.needs());
        let decide = Decide {
            ask: quotas.0.clone(),
            statuses,
        };
        self.finish(&quotas, None, &decide).await.is_ok()
    }
}
