//! The record of one request: filled in on its way, settled and logged when its answer and its turns are over.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::tally::Tally;
use crate::openai::Metadata;
use crate::policy::{Caller, Generation};
use crate::quota::Reservation;
use crate::telemetry::{Summary, Telemetry, Tokens, Turn};
use crate::turn;

/// Travels with the request; cheap to clone. When the last clone is gone, the request is over.
#[derive(Clone)]
pub(super) struct Record(Arc<Inner>);

struct Inner {
    id: String,
    generation: Arc<Generation>,
    tally: Arc<Tally>,
    telemetry: Telemetry,
    started: Instant,
    began: SystemTime,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    caller: Option<Caller>,
    model: Option<Names>,
    label: Metadata,
    stream: Option<bool>,
    failure: Option<&'static str>,
    turns: Vec<Turn>,
    answer: Answer,
    headers: HeaderMap,
    reservations: Vec<Reservation>,
}

/// A model, as the answer calls it and as Codex does.
struct Names {
    answer: String,
    codex: String,
}

impl Record {
    /// The request is asked about with the policies of this generation, and told of here.
    pub(super) fn new(id: String, generation: &Generation, telemetry: &Telemetry) -> Self {
        telemetry.began();
        let started = Instant::now();
        let tally = Arc::new(Tally::new(telemetry.clone(), started));
        Self(Arc::new(Inner {
            id,
            generation: Arc::new(generation.observed(tally.clone())),
            tally,
            telemetry: telemetry.clone(),
            started,
            began: SystemTime::now(),
            known: Mutex::default(),
        }))
    }

    /// As the client sees it in `x-request-id`.
    pub(super) fn id(&self) -> &str {
        &self.0.id
    }

    /// The generation this request began with, and ends with.
    pub(super) fn generation(&self) -> &Arc<Generation> {
        &self.0.generation
    }

    /// Since the request came.
    pub(super) fn elapsed(&self) -> Duration {
        self.0.started.elapsed()
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_caller(&self, caller: &Caller) {
        self.known().caller = Some(caller.clone());
    }

    /// The model, as the answer calls it and as Codex does.
    pub(super) fn set_model(&self, answer: &str, codex: &str) {
        self.known().model = Some(Names {
            answer: answer.to_owned(),
            codex: codex.to_owned(),
        });
    }

    /// A turn is about to begin, and its answer is a stream or not.
    pub(super) fn set_stream(&self, stream: bool) {
        self.known().stream = Some(stream);
        if stream {
            self.0.telemetry.streams();
        }
    }

    pub(super) fn set_label(&self, label: Metadata) {
        self.known().label = label;
    }

    /// One of its exchanges is over.
    pub(super) fn add_turn(&self, turn: Turn) {
        self.known().turns.push(turn);
    }

    /// Notes and logs why the exchange failed: the client is not told all of it.
    pub(super) fn fail(&self, error: &turn::Error) {
        self.known().failure = Some(error.code());
        tracing::warn!(request = self.id(), code = error.code(), cause = %error, "the turn failed");
        if let Some(remedy) = error.remedy() {
            tracing::error!("{remedy}");
        }
    }

    /// A header for the answer, a policy's for example. What is no valid header is left out.
    pub(super) fn add_header(&self, name: &str, value: &str) {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            self.known().headers.insert(name, value);
        }
    }

    /// What a question about limits says for the answer. Of two balances the tighter one is told.
    pub(super) fn add_limits(&self, headers: &[(String, String)]) {
        let left = |unit: &str| format!("x-ratelimit-remaining-{unit}");
        let is_tighter_already = |unit: &&str| {
            let name = left(unit);
            let told: Option<u64> = self.known().headers.get(&name).and_then(number);
            let new = headers.iter().find(|(new, _)| *new == name);
            let new = new.and_then(|(_, value)| value.parse().ok());
            told.zip(new)
                .is_some_and(|(told, new): (u64, u64)| told < new)
        };
        let settled: Vec<_> = ["requests", "tokens"]
            .into_iter()
            .filter(is_tighter_already)
            .collect();
        for (name, value) in headers {
            let balance = name.strip_prefix("x-ratelimit-");
            if !balance.is_some_and(|rest| settled.iter().any(|unit| rest.ends_with(unit))) {
                self.add_header(name, value);
            }
        }
    }

    pub(super) fn take_headers(&self) -> HeaderMap {
        std::mem::take(&mut self.known().headers)
    }

    /// Keeps what was drawn until its turns are over.
    pub(super) fn reserve(&self, reservation: Reservation) {
        self.known().reservations.push(reservation);
    }

    /// Its turns are over: gives back what was drawn, and settles what they cost.
    pub(super) fn settle(&self) {
        // Given back when the lock is.
        let reservations = self.known().take_settled();
        drop(reservations);
    }
}

impl Known {
    /// What was drawn and is not given back yet, settled with what the turns cost.
    fn take_settled(&mut self) -> Vec<Reservation> {
        // Without an exchange, nothing was used.
        let cost = total(&self.turns).map_or(0, |tokens| tokens.input + tokens.output);
        let mut reservations = std::mem::take(&mut self.reservations);
        reservations
            .iter_mut()
            .for_each(|reservation| reservation.settle(cost));
        reservations
    }
}

fn number(value: &HeaderValue) -> Option<u64> {
    value.to_str().ok()?.parse().ok()
}

impl Drop for Inner {
    /// Settles the quotas, and tells what the request was.
    fn drop(&mut self) {
        let known = self.known.get_mut().unwrap_or_else(PoisonError::into_inner);
        let tokens = total(&known.turns);
        drop(known.take_settled());
        let (caller, model) = (known.caller.as_ref(), known.model.as_ref());
        let mut finishes = known.turns.iter().map(|turn| turn.finish);
        let firsts = known.turns.iter().filter_map(|turn| turn.first_token);
        let began = self.began.duration_since(SystemTime::UNIX_EPOCH);
        let answer = &known.answer;
        self.telemetry.ended(&Summary {
            id: &self.id,
            method: answer.method.as_str(),
            route: answer.route.as_deref().unwrap_or("other"),
            path: &answer.path,
            status: answer.status,
            client: &answer.client,
            user_agent: answer.user_agent.as_deref(),
            caller: caller.map(|caller| caller.id.as_str()),
            tenant: caller.and_then(|caller| caller.tenant.as_deref()),
            model: model.map(|model| model.answer.as_str()),
            runs: model.map(|model| model.codex.as_str()),
            user: known.label.user.as_deref(),
            metadata: known.label.metadata.as_deref(),
            stream: known.stream,
            generation: self.generation.number(),
            trace: answer.trace.each_ref().map(Option::as_deref),
            began: began.unwrap_or_default(),
            duration: answer.duration,
            first_token: firsts.min(),
            policies: self.tally.spent(),
            decisions: &self.tally.take(),
            turns: &known.turns,
            finish: known.failure.or_else(|| finishes.find_map(|finish| finish)),
            error: answer.error.as_deref(),
            tokens,
            bytes: answer.bytes,
            complete: answer.complete,
        });
    }
}

/// What all of them cost; absent if there were none.
fn total(turns: &[Turn]) -> Option<Tokens> {
    turns
        .iter()
        .map(|turn| turn.tokens)
        .reduce(|sum, more| Tokens {
            input: sum.input + more.input,
            cached_input: sum.cached_input + more.cached_input,
            output: sum.output + more.output,
            reasoning: sum.reasoning + more.reasoning,
            estimated: sum.estimated || more.estimated,
        })
}

/// The HTTP side of a request.
#[derive(Default)]
pub(super) struct Answer {
    pub(super) method: Method,
    /// The template; absent where there is none.
    pub(super) route: Option<String>,
    pub(super) path: String,
    pub(super) client: String,
    pub(super) user_agent: Option<String>,
    /// `traceparent` and `tracestate`.
    pub(super) trace: [Option<String>; 2],
    pub(super) status: u16,
    /// The code of the error that was answered.
    pub(super) error: Option<String>,
    pub(super) bytes: u64,
    /// The last byte was handed over; otherwise the client left.
    pub(super) complete: bool,
    /// From the first byte to the last; filled in at the end.
    pub(super) duration: Duration,
}

/// An answer under way. When it is dropped, its last byte is out or its client gone.
pub(super) struct Answering {
    pub(super) record: Record,
    pub(super) answer: Answer,
}

impl Drop for Answering {
    fn drop(&mut self) {
        let mut answer = std::mem::take(&mut self.answer);
        answer.duration = self.record.elapsed();
        self.record.known().answer = answer;
    }
}
