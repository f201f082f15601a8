//! Measures a policy beside the built-in one of its slot.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::super::candidate::Instances;
use super::super::engine::Engine;
use super::super::fault::Refusal;
use super::{Buckets, Call, Draft, Outcome, Subject};

/// Decisions that are made one after the other before the other policy's turn: what the machine does beside falls on both.
const ROUND: usize = 100;
/// The most decisions of one policy.
const MOST: usize = 100_000;
/// Decisions before the first that is measured.
const WARM_UP: usize = 200;

/// The figures of one policy.
#[derive(Debug, Clone, Serialize)]
pub struct Measured {
    /// The component's file, or "built-in".
    pub file: String,
    /// How decisions get their instances.
    pub instances: Instances,
    /// The number of decisions that were measured.
    pub decisions: usize,
    /// Those that were faults.
    pub faults: usize,
    /// Nanoseconds of a decision: half of them took at most this.
    pub p50_ns: u64,
    /// Nanoseconds of a decision: 99 of 100 took at most this.
    pub p99_ns: u64,
    /// Milliseconds to compile for freezing, to configure, and to take the snapshot; absent if it runs warm.
    pub freeze_ms: Option<u64>,
    /// Milliseconds to compile what serves.
    pub compile_ms: u64,
    /// The bytes of the file.
    pub wasm_bytes: usize,
    /// The bytes of the component that serves: of the snapshot, if it is frozen.
    pub image_bytes: usize,
}

struct Measuring {
    subject: Subject,
    wasm_bytes: usize,
    took: Vec<u64>,
    faults: usize,
}

/// Prepares each policy anew, and asks all the same question in turns for this long. The engine must have no cache.
///
/// # Errors
/// The reason why a gateway would refuse one of them.
pub async fn measure(
    engine: &Engine,
    drafts: &[Draft],
    call: &Call,
    budget: Duration,
) -> Result<Vec<Measured>, Refusal> {
    let mut all = Vec::new();
    for draft in drafts {
        let candidate = draft.candidate()?;
        all.push(Measuring {
            subject: Subject::prepare(engine, draft, Instances::Frozen).await?,
            wasm_bytes: candidate.wasm.len(),
            took: Vec::new(),
            faults: 0,
        });
    }
    for measuring in &mut all {
        measuring.round(call, WARM_UP).await;
        measuring.took.clear();
        measuring.faults = 0;
    }
    let began = Instant::now();
    let is_full = |all: &[Measuring]| all.iter().any(|one| one.took.len() >= MOST);
    while began.elapsed() < budget && !is_full(&all) {
        for measuring in &mut all {
            measuring.round(call, ROUND).await;
        }
    }
    Ok(all.into_iter().map(Measuring::done).collect())
}

impl Measuring {
    async fn round(&mut self, call: &Call, times: usize) {
        for _ in 0..times {
            let buckets = Buckets::Known(Vec::new());
            let (reply, _) = self.subject.ask(call, buckets).await;
            self.faults += usize::from(matches!(reply.outcome, Outcome::Fault(_)));
            let took = u64::try_from(reply.took.as_nanos());
            self.took.push(took.unwrap_or(u64::MAX));
        }
    }

    fn done(mut self) -> Measured {
        self.took.sort_unstable();
        let costs = self.subject.costs();
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Measured {
            file: self.subject.about().file.clone(),
            instances: self.subject.about().instances,
            decisions: self.took.len(),
            faults: self.faults,
            p50_ns: percentile(&self.took, 50),
            p99_ns: percentile(&self.took, 99),
            freeze_ms: costs.freezing.map(millis),
            compile_ms: millis(costs.compiling),
            wasm_bytes: self.wasm_bytes,
            image_bytes: costs.image,
        }
    }
}

/// The smallest of the sorted values that so many of a hundred do not exceed.
fn percentile(sorted: &[u64], of_hundred: usize) -> u64 {
    let place = (sorted.len() * of_hundred).div_ceil(100).saturating_sub(1);
    sorted.get(place).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let values: Vec<u64> = (1..=200).collect();
        assert_eq!(
            (percentile(&values, 50), percentile(&values, 99)),
            (100, 198)
        );
        assert_eq!((percentile(&[7], 99), percentile(&[], 50)), (7, 0));
    }
}
