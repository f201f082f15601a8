//! Taps: operators who look on while decisions are made. Each gets those that it asked for, as far as it reads fast enough.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use parking_lot::RwLock;
use serde::Serialize;
use tokio::sync::mpsc::{self, error::TrySendError};

use super::Slot;
use super::answer::GuestAnswer;
use super::event::Event;
use super::exchange::{Exchange, What};
use super::words::{NAME, text_within};
use super::world::{Question, World};

/// The most decisions that wait for the reader of one tap; further ones are lost.
const QUEUE: usize = 1_024;

/// The outcome of a decision that is neither a denial nor a fault.
const ANSWERED: &str = "answered";

/// The decisions that a tap asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct Wanted {
    /// The share of all requests, between 0 and 1; of a request all decisions are seen or none.
    pub share: f64,
    /// Only about this caller.
    pub caller: Option<String>,
    /// Only of this slot.
    pub slot: Option<Slot>,
    /// Only denials and faults.
    pub refused: bool,
}

/// A decision, without anything that a client wrote but the names of caller and model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Made {
    /// The time in UTC, as RFC 3339.
    pub at: String,
    /// The id in `x-request-id`.
    pub request: String,
    /// The first digits of the digest of the policies that decided.
    pub policy: String,
    /// The slot.
    pub slot: &'static str,
    /// The function that was asked.
    pub question: &'static str,
    /// The caller, if it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caller: Option<String>,
    /// The model, if the question is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// `answered`, `denied` or `fault`.
    pub outcome: &'static str,
    /// The HTTP status of a denial.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The code of a denial, or the kind of a fault.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The rules whose buckets had no room.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<String>,
    /// The time that it took, in microseconds.
    pub took_us: u64,
    /// The answer was kept from the same question before.
    pub from_memo: bool,
}

/// An item that a tap shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tapped {
    /// A decision.
    Made(Box<Made>),
    /// So many decisions came faster than they were read.
    Missed(u64),
}

/// The taps that are open.
#[derive(Default)]
pub(super) struct Taps {
    is_open: AtomicBool,
    open: RwLock<Vec<Arc<Open>>>,
}

struct Open {
    wanted: Wanted,
    queue: mpsc::Sender<Made>,
    missed: AtomicU64,
}

/// An open tap; dropping it closes it.
pub struct Tap {
    taps: Arc<Taps>,
    open: Arc<Open>,
    made: mpsc::Receiver<Made>,
}

impl Taps {
    /// Opens a tap for the decisions from now on.
    pub(super) fn open(self: &Arc<Self>, wanted: Wanted) -> Tap {
        let (queue, made) = mpsc::channel(QUEUE);
        let open = Arc::new(Open {
            wanted,
            queue,
            missed: AtomicU64::new(0),
        });
        let mut taps = self.open.write();
        taps.push(Arc::clone(&open));
        self.is_open.store(true, Ordering::Relaxed);
        Tap {
            taps: Arc::clone(self),
            open,
            made,
        }
    }

    /// Whether anybody looks on.
    pub(super) fn is_open(&self) -> bool {
        self.is_open.load(Ordering::Relaxed)
    }

    /// Shows an event of this time to the taps that ask for it.
    pub(super) fn show(&self, event: &Event, at: SystemTime) {
        let Some(facts) = Facts::of(&event.what) else {
            return;
        };
        for open in &*self.open.read() {
            if open.wanted.includes(event.request.number, &facts)
                && let Err(TrySendError::Full(_)) = open.queue.try_send(facts.made(event, at))
            {
                open.missed.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

impl Tap {
    /// The next decision, or the number of those that were missed; none if there will be no further ones.
    pub async fn next(&mut self) -> Option<Tapped> {
        match self.open.missed.swap(0, Ordering::Relaxed) {
            0 => Some(Tapped::Made(Box::new(self.made.recv().await?))),
            missed => Some(Tapped::Missed(missed)),
        }
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        let mut taps = self.taps.open.write();
        taps.retain(|open| !Arc::ptr_eq(open, &self.open));
        self.taps.is_open.store(!taps.is_empty(), Ordering::Relaxed);
    }
}

impl Wanted {
    fn includes(&self, request: u64, facts: &Facts<'_>) -> bool {
        let is_caller = |caller: &String| facts.caller == Some(caller.as_str());
        (!self.refused || facts.outcome != ANSWERED)
            && self.slot.is_none_or(|slot| slot == facts.slot)
            && self.caller.as_ref().is_none_or(is_caller)
            && (self.share >= 1.0 || scattered(request) < self.share)
    }
}

/// A number between 0 and 1 for each request, spread evenly: SplitMix64.
fn scattered(request: u64) -> f64 {
    let mixed = request.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed ^ (mixed >> 31)) as f64 / u64::MAX as f64
}

/// The parts of an event that taps show.
struct Facts<'a> {
    slot: Slot,
    question: &'static str,
    caller: Option<&'a str>,
    model: Option<&'a str>,
    outcome: &'static str,
    status: Option<u16>,
    code: Option<&'a str>,
    rules: Vec<&'a str>,
    took: Duration,
    from_memo: bool,
}

impl<'a> Facts<'a> {
    /// Those of a decision; other events have none.
    fn of(what: &'a What) -> Option<Self> {
        match what {
            What::Authenticate(exchange) => Some(Self::of_exchange(exchange)),
            What::Verify(exchange) => Some(Self::of_exchange(exchange)),
            What::Catalog(exchange) => Some(Self::of_exchange(exchange)),
            What::Resolve(exchange) => Some(Self::of_exchange(exchange)),
            What::Quotas(exchange) => Some(Self::of_exchange(exchange)),
            What::Decide(exchange) => Some(Self::of_exchange(exchange)),
            What::Observe(exchange) => Some(Self::of_exchange(exchange)),
            What::Unasked(_) | What::Settled(_) => None,
        }
    }

    fn of_exchange<Q: Question>(exchange: &'a Exchange<Q>) -> Self {
        let (caller, model) = exchange.asked.subject();
        let mut facts = Self {
            slot: Q::World::SLOT,
            question: Q::NAME,
            caller,
            model,
            outcome: ANSWERED,
            status: None,
            code: None,
            rules: Vec::new(),
            took: exchange.took,
            from_memo: exchange.from_memo,
        };
        match &exchange.answer {
            Err(fault) => {
                facts.outcome = "fault";
                facts.code = Some(fault.kind.code());
            }
            Ok(answer) => {
                facts.caller = Q::caller_of(answer).or(caller);
                if let Some(denial) = answer.denial() {
                    facts.outcome = "denied";
                    facts.status = Some(denial.status);
                    facts.code = Some(&denial.code);
                    facts.rules = exchange.asked.exhausted();
                }
            }
        }
        facts
    }

    fn made(&self, event: &Event, at: SystemTime) -> Made {
        // A client chooses the name of the model, and may choose a long one.
        let model = self.model.map(|model| model.chars().take(NAME).collect());
        let rules = self.rules.iter().map(|rule| (*rule).to_owned());
        Made {
            at: humantime::format_rfc3339_millis(at).to_string(),
            request: event.request.id.clone(),
            policy: event.request.digest.short(),
            slot: self.slot.name(),
            question: self.question,
            caller: self.caller.map(str::to_owned),
            model: model.map(|model| text_within(NAME, model)),
            outcome: self.outcome,
            status: self.status,
            code: self.code.map(str::to_owned),
            rules: rules.collect(),
            took_us: u64::try_from(self.took.as_micros()).unwrap_or(u64::MAX),
            from_memo: self.from_memo,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::bindings::rate_limit;
    use super::super::digest::Digest;
    use super::super::event::Asker;
    use super::super::fault::{Fault, FaultKind};
    use super::super::needs::Needs;
    use super::super::world::Quotas;
    use super::*;

    fn event(number: u64, is_fault: bool) -> Event {
        let digest = Digest::from([7; 32]);
        let request = Asker::new(number, number.to_string(), (1, digest), [None, None]);
        let asked = Quotas(rate_limit::Ask {
            client: String::new(),
            caller: None,
            endpoint: String::new(),
            model: Some("m".repeat(9_000)),
            streaming: false,
            estimated_tokens: 0,
            now_ms: 0,
        });
        let fault = Fault {
            slot: Slot::RateLimit,
            policy: "test".to_owned(),
            kind: FaultKind::Trap,
            cause: "secret".to_owned(),
        };
        Event {
            request: Arc::new(request),
            at: Duration::ZERO,
            what: What::Quotas(Exchange {
                asked,
                answer: if is_fault { Err(fault) } else { Ok(Vec::new()) },
                needs: Arc::new(Needs::everything()),
                took: Duration::from_micros(7),
                from_memo: false,
            }),
        }
    }

    fn wanted() -> Wanted {
        Wanted {
            share: 1.0,
            caller: None,
            slot: None,
            refused: false,
        }
    }

    fn show(taps: &Taps, number: u64, is_fault: bool) {
        taps.show(&event(number, is_fault), SystemTime::UNIX_EPOCH);
    }

    async fn next(tap: &mut Tap) -> Result<String, u64> {
        match tap.next().await.unwrap() {
            Tapped::Made(made) => Ok(made.request),
            Tapped::Missed(missed) => Err(missed),
        }
    }

    #[tokio::test]
    async fn a_slow_reader_is_told_how_many_it_missed_and_nothing_waits_for_it() {
        let taps = Arc::<Taps>::default();
        assert!(!taps.is_open());
        let mut tap = taps.open(wanted());
        for number in 0..QUEUE as u64 + 5 {
            show(&taps, number, false);
        }
        assert_eq!(next(&mut tap).await, Err(5));
        assert_eq!(next(&mut tap).await, Ok("0".to_owned()));
        let other = taps.open(wanted());
        drop(tap);
        assert!(taps.is_open());
        drop(other);
        assert!(!taps.is_open());
    }

    #[tokio::test]
    async fn a_tap_gets_what_it_asked_for() {
        let taps = Arc::<Taps>::default();
        let mut refused = taps.open(Wanted {
            refused: true,
            slot: Some(Slot::RateLimit),
            ..wanted()
        });
        let mut others = taps.open(Wanted {
            slot: Some(Slot::Auth),
            ..wanted()
        });
        let mut bobs = taps.open(Wanted {
            caller: Some("bob".to_owned()),
            ..wanted()
        });
        show(&taps, 1, false);
        show(&taps, 2, true);
        let Some(Tapped::Made(made)) = refused.next().await else {
            panic!("it has a decision");
        };
        assert_eq!((made.request.as_str(), made.outcome), ("2", "fault"));
        assert_eq!((made.code.as_deref(), made.took_us), (Some("trap"), 7));
        assert!(made.model.unwrap().len() <= NAME + 3);
        for tap in [&mut refused, &mut others, &mut bobs] {
            assert!(tap.made.try_recv().is_err());
        }
    }

    #[test]
    fn a_share_of_the_requests_is_about_as_large_as_asked() {
        for share in [0.01, 0.1, 0.5] {
            let count = (0..100_000).filter(|request| scattered(*request) < share);
            let found = count.count() as f64 / 100_000.0;
            assert!((found - share).abs() < 0.005, "{share}: {found}");
        }
    }
}
