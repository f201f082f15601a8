//! A simulation: what a candidate would have decided on the same requests, each followed from its caller to its last call.
//!
//! Events of this process are compared with the policies that serve; events of records, with the answers that are recorded. `side`
//! has the policies of one side.
//!
//! A request that the candidate would have refused goes no further with it. Limits draw from buckets of their own at the times at
//! which the requests came, once with the policies that serve and once with the candidate: what differs is the policies' doing.

mod side;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::bindings::{Caller, rate_limit};
use super::event::Event;
use super::exchange::{Exchange, What};
use super::fault::{Fault, FaultKind};
use super::limits::Known;
use super::outcome::{Kind, Outcome, Told};
use super::policies::{Policies, Seat};
use super::report::{About, Counter, Group, Report};
use super::world::{Decide, Observe, Question, Quotas, RateLimit, ToolStop, World};
use crate::quota::Reservation;
use side::Side;

/// The most requests that are under way at once; the oldest ones are forgotten.
const REQUESTS: usize = 20_000;

/// Both sides of the comparison, and what differed so far.
pub(super) struct Simulation {
    /// `None`: what was answered is compared with, whoever answered.
    before: Option<Side>,
    candidate: Side,
    clock: Arc<AtomicU64>,
    requests: BTreeMap<u64, Request>,
    counter: Counter,
}

/// A request that is under way.
#[derive(Default)]
struct Request {
    /// The caller, if the candidate names another one.
    caller: Option<Caller>,
    /// The model, if the candidate chose another one.
    model: Option<String>,
    /// The policies were asked who is calling.
    is_known: bool,
    /// The candidate refused it.
    is_over: bool,
    /// The amounts that it drew with the policies that serve, and with the candidate.
    drawn: [Vec<Reservation>; 2],
    /// The first half of a question about limits, until its second half comes.
    quotas: Option<(Quotas, Vec<rate_limit::Quota>)>,
    turns: HashMap<u32, Turn>,
}

#[derive(Default)]
struct Turn {
    /// The memos of both tool-stop policies.
    memos: [Vec<u8>; 2],
    /// From the first reaction that differs on nothing can be compared.
    differs: bool,
}

impl Simulation {
    /// Compares the policies that serve with a candidate.
    pub(super) fn new(before: Arc<Policies>, candidate: Arc<Policies>) -> Self {
        let clock = Arc::default();
        Self {
            before: Some(Side::new(before, &clock)),
            candidate: Side::new(candidate, &clock),
            clock,
            requests: BTreeMap::new(),
            counter: Counter::default(),
        }
    }

    /// Expects what these reports, made the other way round, have as different.
    pub(super) fn expecting(mut self, known: &[Report]) -> Self {
        self.counter.expect(known);
        self
    }

    /// Compares what was answered with a candidate.
    pub(super) fn of_records(candidate: Arc<Policies>) -> Self {
        let clock = Arc::default();
        Self {
            before: None,
            candidate: Side::new(candidate, &clock),
            clock,
            requests: BTreeMap::new(),
            counter: Counter::default(),
        }
    }

    /// Forgets the requests that are under way: the next events are of another process, which has numbers of its own.
    pub(super) fn begin_again(&mut self) {
        self.requests.clear();
    }

    /// The policies that the candidate is compared with, if it is not with what was answered.
    fn before(&self) -> Option<&Arc<Policies>> {
        Some(&self.before.as_ref()?.policies)
    }

    /// The answer to compare with.
    async fn answered<Q: Question<World: Seat>>(
        &self,
        event: &Event,
        exchange: &Exchange<Q>,
        asked: &Q,
    ) -> Result<Q::Answer, Fault> {
        match &self.before {
            Some(before) if event.request.digest != before.policies.digest() => {
                before.ask(asked).await
            }
            _ => exchange.answer.clone(),
        }
    }

    /// The report so far.
    pub(super) fn report(&self) -> Report {
        self.counter.report()
    }

    /// The report so far, without its groups.
    pub(super) fn counts(&self) -> &Report {
        self.counter.counts()
    }

    /// The number of decisions that allow what would be refused otherwise and are not expected, and the group of the first one.
    pub(super) fn unexpected(&self) -> Option<&(u64, Group)> {
        self.counter.unexpected()
    }

    /// Goes on with one event.
    pub(super) async fn see(&mut self, event: &Event) {
        let now = u64::try_from(event.at.as_millis()).unwrap_or(u64::MAX);
        self.clock.store(now, Ordering::Relaxed);
        let number = event.request.number;
        let mut request = self.requests.remove(&number).unwrap_or_default();
        if let What::Settled(tokens) = &event.what {
            for mut reservation in request.drawn.into_iter().flatten() {
                reservation.settle(*tokens);
            }
            return;
        }
        self.follow(event, &mut request).await;
        self.requests.insert(number, request);
        if self.requests.len() > REQUESTS {
            self.requests.pop_first();
        }
    }

    async fn follow(&mut self, event: &Event, request: &mut Request) {
        let asks_who = matches!(event.what, What::Authenticate(_) | What::Verify(_));
        if asks_who && std::mem::replace(&mut request.is_known, true) {
            // The caller is a canary: after the serving policies, a candidate was asked the same.
            return;
        }
        match &event.what {
            What::Authenticate(exchange) => {
                if let Some([from, to]) = self.compare(event, exchange, request).await {
                    match (from, to) {
                        (Ok(Ok(from)), Ok(Ok(to))) if from != to => request.caller = Some(to),
                        (_, Ok(Ok(_))) => {}
                        (_, Ok(Err(_)) | Err(_)) => request.refuse(),
                    }
                }
            }
            What::Verify(exchange) => drop(self.compare(event, exchange, request).await),
            What::Catalog(exchange) => drop(self.compare(event, exchange, request).await),
            What::Resolve(exchange) => {
                if let Some([from, to]) = self.compare(event, exchange, request).await {
                    match (from, to) {
                        (Ok(Ok(from)), Ok(Ok(to))) if from.id != to.id => {
                            request.model = Some(to.id);
                        }
                        (_, Ok(Ok(_))) => {}
                        (_, Ok(Err(_)) | Err(_)) => request.refuse(),
                    }
                }
            }
            What::Quotas(exchange) if self.before.is_none() => match &exchange.answer {
                Ok(quotas) => request.quotas = Some((exchange.asked.clone(), quotas.clone())),
                Err(fault) => {
                    let from = Outcome::fault(fault);
                    self.limit_again(event, &exchange.asked, (from, None), request)
                        .await;
                }
            },
            What::Decide(exchange) if self.before.is_none() => {
                self.decide(event, exchange, request).await;
            }
            What::Quotas(Exchange { asked, .. }) | What::Unasked(asked) => {
                self.limit(event, asked, request).await;
            }
            What::Observe(exchange) => self.turn(event, exchange, request).await,
            // Both halves are asked with the first one.
            What::Decide(_) | What::Settled(_) => {}
        }
    }

    /// Compares one decision, and returns both answers; `None` if the same policy answers, or the candidate cannot be asked.
    async fn compare<Q>(
        &mut self,
        event: &Event,
        exchange: &Exchange<Q>,
        request: &Request,
    ) -> Option<[Result<Q::Answer, Fault>; 2]>
    where
        Q: Question<World: Seat, Answer: Told>,
    {
        let candidate = Arc::clone(Q::World::of(&self.candidate.policies));
        if request.is_over || candidate.needs().needs_secret() && exchange.asked.is_secretive() {
            self.counter.unknown();
            return None;
        }
        let asked = request.question(&exchange.asked);
        let is_unchanged = matches!(asked, Cow::Borrowed(_));
        let is_same = |before: &Arc<Policies>| Arc::ptr_eq(Q::World::of(before), &candidate);
        if is_unchanged && self.before().is_some_and(is_same) {
            self.counter.unasked();
            return None;
        }
        let from = self.answered(event, exchange, &exchange.asked).await;
        let mut to = self.candidate.ask(&*asked).await;
        if self.before.is_none() {
            to = to.map(Q::masked_answer);
        }
        let mut about = About::of(event, &exchange.asked);
        about.caller = about.caller.or_else(|| {
            let known = |answer| Q::caller_of(answer);
            to.as_ref()
                .ok()
                .and_then(known)
                .or_else(|| from.as_ref().ok().and_then(known))
        });
        let is_same = match (&from, &to) {
            (Ok(from), Ok(to)) => from == to,
            (Err(from), Err(to)) => from.kind == to.kind,
            _ => false,
        };
        let outcomes = [Outcome::of(&from), Outcome::of(&to)];
        self.count::<Q::World>(Q::NAME, is_same, outcomes, about);
        Some([from, to])
    }

    fn count<W: World>(
        &mut self,
        question: &'static str,
        is_same: bool,
        outcomes: [Outcome; 2],
        about: About<'_>,
    ) {
        match outcomes[1].kind {
            // A lack of places to run in is no fault of the candidate's.
            Kind::Fault(FaultKind::Busy) => self.counter.unknown(),
            _ if is_same => self.counter.same(W::SLOT),
            _ => self.counter.differs(W::SLOT, question, outcomes, about),
        }
    }

    async fn limit(&mut self, event: &Event, asked: &Quotas, request: &mut Request) {
        if request.is_over {
            return self.counter.unknown();
        }
        let Some(side) = &self.before else {
            let from = (Outcome::admitted(), None);
            return self.limit_again(event, asked, from, request).await;
        };
        let (before, candidate) = (&side.policies, &self.candidate.policies);
        // Another caller or model may draw from other buckets.
        let is_same = Arc::ptr_eq(&before.rate_limit, &candidate.rate_limit)
            && Arc::ptr_eq(&before.auth, &candidate.auth)
            && Arc::ptr_eq(&before.model, &candidate.model);
        // Most limits are not asked about addresses.
        let is_asked = [before, candidate].map(|policies| policies.rate_limit.is_asked(asked));
        if is_same || is_asked == [false, false] {
            return self.counter.unasked();
        }
        let (from, drawn) = side.admit(asked).await;
        let question = request.question(asked);
        let (to, also_drawn) = self.candidate.admit(&question).await;
        request.draw([drawn, also_drawn]);
        if from.kind != Kind::Answered {
            // With them it ends here, and holds nothing.
            request.drawn[0].clear();
        }
        if to.kind != Kind::Answered {
            request.refuse();
        }
        let is_same = from == to;
        self.count::<RateLimit>(Decide::NAME, is_same, [from, to], About::of(event, asked));
    }

    /// Compares the second half of a question about limits; the first one came before it.
    async fn decide(&mut self, event: &Event, exchange: &Exchange<Decide>, request: &mut Request) {
        let Some((asked, quotas)) = request.quotas.take() else {
            return self.counter.unknown();
        };
        let Decide { statuses, .. } = &exchange.asked;
        let from = Outcome::of_limits(&exchange.answer, statuses);
        let known = Known {
            quotas: &quotas,
            statuses,
        };
        self.limit_again(event, &asked, (from, Some(known)), request)
            .await;
    }

    /// Compares a recorded outcome. Where the candidate has the same buckets, they have what they had then; others begin full.
    async fn limit_again(
        &mut self,
        event: &Event,
        asked: &Quotas,
        (from, known): (Outcome, Option<Known<'_>>),
        request: &mut Request,
    ) {
        if request.is_over {
            return self.counter.unknown();
        }
        let question = request.question(asked);
        let (to, drawn) = self.candidate.admit_again(&question, known).await;
        if from.kind == Kind::Answered {
            // Others ended here, and hold nothing.
            request.draw([None, drawn]);
        }
        if to.kind != Kind::Answered {
            request.refuse();
        }
        let is_same = from == to;
        self.count::<RateLimit>(Decide::NAME, is_same, [from, to], About::of(event, asked));
    }

    async fn turn(&mut self, event: &Event, exchange: &Exchange<Observe>, request: &mut Request) {
        // A turn whose beginning is not recorded cannot be compared: the candidate's own memo is not known.
        let is_late = self.before.is_none() && !exchange.asked.memo.is_empty();
        let mut turn = request
            .turns
            .remove(&exchange.asked.turn)
            .unwrap_or_else(|| Turn {
                differs: is_late,
                ..Turn::default()
            });
        if request.is_over || turn.differs {
            self.counter.unknown();
        } else {
            self.react(event, exchange, request, &mut turn).await;
        }
        request.turns.insert(exchange.asked.turn, turn);
    }

    async fn react(
        &mut self,
        event: &Event,
        exchange: &Exchange<Observe>,
        request: &Request,
        turn: &mut Turn,
    ) {
        let asked = request.question(&exchange.asked);
        let candidate = &self.candidate.policies;
        let is_same = |before: &Arc<Policies>| Arc::ptr_eq(&before.tool_stop, &candidate.tool_stop);
        if matches!(asked, Cow::Borrowed(_)) && self.before().is_some_and(is_same) {
            return self.counter.unasked();
        }
        let [old, new] = std::mem::take(&mut turn.memos);
        let with = |memo, question: &Observe| Observe {
            memo,
            ..question.clone()
        };
        let question = with(old, &exchange.asked);
        let from = self.answered(event, exchange, &question).await;
        let to = self.candidate.ask(&with(new, &asked)).await;
        let outcomes = [Outcome::of(&from), Outcome::of(&to)];
        let is_same = outcomes[0] == outcomes[1];
        turn.differs = !is_same;
        turn.memos = [from, to].map(|answer| answer.map(|(_, memo)| memo).unwrap_or_default());
        let about = About::of(event, &exchange.asked);
        self.count::<ToolStop>(Observe::NAME, is_same, outcomes, about);
    }
}

impl<'a> About<'a> {
    /// The subject of a question, as it was asked.
    fn of<Q: Question>(event: &'a Event, asked: &'a Q) -> Self {
        let (caller, model) = asked.subject();
        Self {
            request: &event.request.id,
            caller,
            model,
        }
    }
}

impl Request {
    fn draw(&mut self, drawn: [Option<Reservation>; 2]) {
        for (all, drawn) in self.drawn.iter_mut().zip(drawn) {
            all.extend(drawn);
        }
    }

    /// The candidate refuses it: with that it would end, and hold nothing.
    fn refuse(&mut self) {
        self.is_over = true;
        self.drawn[1].clear();
    }

    /// The question as the candidate would have been asked it.
    fn question<'a, Q: Question>(&self, asked: &'a Q) -> Cow<'a, Q> {
        match (&self.caller, &self.model) {
            (None, None) => Cow::Borrowed(asked),
            (caller, model) => asked.with(caller.as_ref(), model.as_deref()),
        }
    }
}

#[cfg(test)]
mod tests;
