//! The admission of a request: both halves of a question about limits.

use std::sync::Arc;
use std::time::Instant;

use super::bindings::{Denial, Header, rate_limit};
use super::component::{Decided, Policy, Session};
use super::fault::{Fault, FaultKind, Refused};
use super::generation::{self, Generation, is_worse};
use super::policies::Policies;
use super::world::{Decide, Question, Quotas, RateLimit};

/// The second half of a question about limits, whose buckets are drawn from in between.
pub struct Admission<'a> {
    generation: &'a Generation,
    question: Quotas,
    /// The whole question, on probation.
    spare: Option<Quotas>,
    /// The instance that answered the first half. If that answer was kept, there is none yet.
    session: Option<Session<'a, RateLimit>>,
}

impl Generation {
    /// Asks the rate-limit policy which buckets this request draws from. The admission goes on with the status of the buckets.
    /// The answer is `None` if the policy does not need this question: nothing is drawn, and the request goes on.
    ///
    /// # Errors
    /// Only a fault.
    pub async fn quotas(
        &self,
        ask: rate_limit::Ask,
    ) -> Result<Option<(Vec<rate_limit::Quota>, Admission<'_>)>, Refused> {
        let needs = self.policies().rate_limit.needs();
        if ask.caller.is_none() && !needs.by_address() {
            return Ok(None);
        }
        let asked = Quotas(ask);
        let spare = self.spare(&asked);
        let question = asked.declared(needs);
        let begun = self.begin_admission(&question).await;
        if let (Err(fault), Some(asked)) = (&begun, &spare) {
            self.doubt(fault, asked.clone());
        }
        let (quotas, session) = begun?;
        let admission = Admission {
            generation: self,
            question,
            spare,
            session,
        };
        Ok(Some((quotas, admission)))
    }

    async fn begin_admission(
        &self,
        question: &Quotas,
    ) -> Result<(Vec<rate_limit::Quota>, Option<Session<'_, RateLimit>>), Fault> {
        let started = Instant::now();
        let policy = &self.policies().rate_limit;
        if let Some(kept) = policy.remember(question) {
            self.report::<Quotas>(&kept, started);
            return Ok((kept.answer?, None));
        }
        let begun = policy.begin(question.now_ms()).await;
        let (answer, session) = match begun {
            Ok(mut session) => (session.ask(question).await, Some(session)),
            Err(fault) => (Err(fault), None),
        };
        let decided = Decided::now(answer);
        self.report::<Quotas>(&decided, started);
        Ok((decided.answer?, session))
    }
}

impl Admission<'_> {
    /// Asks the rate-limit policy whether the request may go on, given the status of its buckets.
    ///
    /// # Errors
    /// The policy's denial, or its fault.
    pub async fn decide(
        self,
        statuses: Vec<rate_limit::BucketStatus>,
    ) -> Result<Vec<Header>, Refused> {
        let Self {
            generation,
            question,
            spare,
            session,
        } = self;
        let started = Instant::now();
        let decide = Decide {
            ask: question.0.clone(),
            statuses,
        };
        let policy = &generation.policies().rate_limit;
        let decided = match policy.remember(&decide) {
            Some(kept) => kept,
            None => Decided::now(finish(policy, &question, session, &decide).await),
        };
        generation.report::<Decide>(&decided, started);
        if let (Err(fault), Some(asked)) = (&decided.answer, spare) {
            generation.doubt_admission(fault, asked, decide.statuses);
        }
        generation::decided(decided.answer)
    }
}

impl Generation {
    /// As `doubt`, for the second half of a question about limits: the policies before are asked both halves.
    fn doubt_admission(
        &self,
        fault: &Fault,
        asked: Quotas,
        statuses: Vec<rate_limit::BucketStatus>,
    ) {
        if let Some(probation) = self.probation() {
            let current = Arc::clone(self.policies());
            let is_late = fault.kind == FaultKind::Deadline;
            probation.doubt(fault, move |before| async move {
                if Arc::ptr_eq(&before.rate_limit, &current.rate_limit) {
                    return false;
                }
                let decides = |policies: Arc<Policies>| {
                    let (asked, statuses) = (asked.clone(), statuses.clone());
                    async move { decides(&policies, asked, statuses).await }
                };
                is_worse(is_late, before, current, decides).await
            });
        }
    }
}

/// Whether policies decide a question about limits, asked both halves.
async fn decides(
    policies: &Policies,
    asked: Quotas,
    statuses: Vec<rate_limit::BucketStatus>,
) -> bool {
    let policy = &policies.rate_limit;
    // A policy that does not need the question by address is not asked it.
    if asked.0.caller.is_none() && !policy.needs().by_address() {
        return true;
    }
    let quotas = asked.declared(policy.needs());
    let decide = Decide {
        ask: quotas.0.clone(),
        statuses,
    };
    finish(policy, &quotas, None, &decide).await.is_ok()
}

/// Asks `decide` in an instance that answered `quotas`, as the contract says: otherwise a kept answer to `quotas` could change
/// the one to `decide`.
async fn finish(
    policy: &Policy<RateLimit>,
    quotas: &Quotas,
    session: Option<Session<'_, RateLimit>>,
    decide: &Decide,
) -> Result<Result<Vec<Header>, Denial>, Fault> {
    let mut session = match session {
        Some(session) => session,
        None => {
            let mut session = policy.begin(decide.now_ms()).await?;
            session.ask(quotas).await?;
            session
        }
    };
    let answer = session.ask(decide).await;
    session.end();
    answer
}
