//! Plays the calls of a case to one policy: moves the clock, draws from buckets, and passes on a turn's memo.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::super::Slot;
use super::super::fault::FaultKind;
use super::case::Step;
use super::input::Call;
use super::{Buckets, Drawn, Outcome, Reply, Subject};
use crate::quota::{Memory, Reservation};

/// How often a policy that was late is asked again: on a busy machine any policy may be late.
const AGAIN: usize = 2;

/// The state of a case while it runs.
pub(super) struct Play {
    slot: Slot,
    start_ms: u64,
    clock: Arc<AtomicU64>,
    counters: Memory,
    /// The requests that hold what they drew: the time of their end, their tokens, and what they drew.
    under_way: Vec<(u64, u64, Reservation)>,
    memo: Vec<u8>,
}

impl Play {
    /// The beginning of a case, with full buckets; `start_ms` is its time in milliseconds since 1970.
    pub(super) fn new(slot: Slot, start_ms: u64) -> Self {
        let clock = Arc::new(AtomicU64::new(0));
        let time = Arc::clone(&clock);
        Self {
            slot,
            start_ms,
            clock,
            counters: Memory::with_clock(move || time.load(Ordering::Relaxed)),
            under_way: Vec::new(),
            memo: Vec::new(),
        }
    }

    /// Makes a call. Returns the question, as it was put, and the reply.
    ///
    /// # Errors
    /// The place of a mistake in the call, and the expectation.
    pub(super) async fn step(
        &mut self,
        subject: &Subject,
        step: &Step,
    ) -> Result<(Call, Reply), String> {
        let now = step.now_ms.saturating_sub(self.start_ms);
        self.advance(now);
        let call = step.read(self.slot, self.start_ms)?;
        let call = call.with_memo(&step.input, &self.memo);
        let (reply, drawn) = ask(subject, &call, Buckets::Draw(&self.counters)).await;
        if let Some(drawn) = drawn {
            let tokens = step.tokens.unwrap_or_else(|| call.estimate());
            let end = now.saturating_add(step.lasts_ms);
            self.under_way.push((end, tokens, drawn));
        }
        if let Outcome::Ok(answer) = &reply.outcome
            && let Ok(memo) = serde_json::from_value(answer["memo"].clone())
        {
            self.memo = memo;
        }
        Ok((call, reply))
    }

    /// Moves the clock. Requests that are over by then end at their own times.
    fn advance(&mut self, to: u64) {
        self.under_way.sort_by_key(|(end, ..)| *end);
        let over = self.under_way.iter().take_while(|(end, ..)| *end <= to);
        let over = over.count();
        for (end, tokens, mut drawn) in self.under_way.drain(..over) {
            self.clock.fetch_max(end, Ordering::Relaxed);
            drawn.settle(tokens);
        }
        self.clock.fetch_max(to, Ordering::Relaxed);
    }
}

/// Asks a question, again if the policy was late.
pub(super) async fn ask(subject: &Subject, call: &Call, buckets: Buckets<'_>) -> Drawn {
    let mut drawn = subject.ask(call, buckets.clone()).await;
    for _ in 0..AGAIN {
        if !is_late(&drawn.0) {
            break;
        }
        drawn = subject.ask(call, buckets.clone()).await;
    }
    drawn
}

fn is_late(reply: &Reply) -> bool {
    let late = FaultKind::Deadline.code();
    matches!(&reply.outcome, Outcome::Fault(failed) if failed.kind == late)
}
