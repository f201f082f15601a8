//! No order of draws, settlements, swaps and pauses grants too much or loses anything: compared with a reference that advances
//! millisecond by millisecond, and tested from many threads at once.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use proptest::collection::vec;
use proptest::prelude::*;

use super::{Memory, Quota, Reservation, Unit};

const UNITS: [Unit; 3] = [Unit::Requests, Unit::Tokens, Unit::Concurrent];
const WINDOW_MS: u64 = 40;

/// One event of a test.
#[derive(Debug, Clone)]
enum Step {
    /// A request draws.
    Draw(Wanted),
    /// A running request ends, with its cost if that is known.
    End(usize, Option<u64>),
    /// Milliseconds pass.
    Pass(u64),
    /// The policy is replaced by one with this limit.
    Swap(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let bucket = (0..UNITS.len(), 0..3_u8, 0..6_u64);
    let step = prop_oneof![
        6 => vec(bucket, 1..4).prop_map(Step::Draw),
        4 => (any::<usize>(), proptest::option::of(0..20_u64)).prop_map(|(which, cost)| Step::End(which, cost)),
        3 => (0..30_u64).prop_map(Step::Pass),
        1 => (0..12_u64).prop_map(Step::Swap),
    ];
    vec(step, 1..80)
}

/// Unit, key and cost of each bucket that a request draws from.
type Wanted = Vec<(usize, u8, u64)>;

/// A simple bucket: an amount spent and an amount reserved.
#[derive(Debug, Default, Clone, Copy)]
struct Simple {
    /// Units times the window, which is 40 ms.
    spent: u64,
    lent: u64,
}

impl Simple {
    fn left(self, limit: u64) -> u64 {
        (limit * WINDOW_MS).saturating_sub(self.spent + self.lent * WINDOW_MS) / WINDOW_MS
    }
}

#[derive(Default)]
struct Reference {
    limit: u64,
    buckets: HashMap<(usize, u8), Simple>,
}

impl Reference {
    fn pass(&mut self, ms: u64) {
        for _ in 0..ms {
            for bucket in self.buckets.values_mut() {
                bucket.spent = bucket.spent.saturating_sub(self.limit);
            }
        }
    }

    fn draw(&mut self, wanted: &[(usize, u8, u64)]) -> bool {
        let mut buckets = self.buckets.clone();
        for (unit, key, cost) in wanted {
            let bucket = buckets.entry((*unit, *key)).or_default();
            let size = self.limit * WINDOW_MS;
            if bucket.spent + (bucket.lent + cost) * WINDOW_MS > size {
                return false;
            }
            match UNITS[*unit] {
                Unit::Requests => bucket.spent += cost * WINDOW_MS,
                Unit::Tokens | Unit::Concurrent => bucket.lent += cost,
            }
        }
        self.buckets = buckets;
        true
    }

    fn end(&mut self, wanted: &[(usize, u8, u64)], cost: Option<u64>) {
        for (unit, key, estimate) in wanted {
            let bucket = self.buckets.entry((*unit, *key)).or_default();
            match UNITS[*unit] {
                Unit::Requests => {}
                Unit::Tokens => {
                    bucket.lent -= estimate;
                    bucket.spent += cost.unwrap_or(*estimate) * WINDOW_MS;
                }
                Unit::Concurrent => bucket.lent -= estimate,
            }
        }
    }
}

fn quota(limit: u64, unit: usize, key: u8, cost: u64) -> Quota {
    Quota {
        name: "rule".to_owned(),
        key: key.to_string(),
        unit: UNITS[unit],
        limit,
        window_ms: WINDOW_MS,
        cost,
    }
}

/// The buckets under test, beside the reference.
struct Trial {
    memory: Memory,
    time: Arc<AtomicU64>,
    reference: Reference,
    running: Vec<(Wanted, Reservation)>,
}

impl Trial {
    fn new() -> Self {
        let time = Arc::new(AtomicU64::new(0));
        let clock = Arc::clone(&time);
        Self {
            memory: Memory::with_clock(move || clock.load(Ordering::Relaxed)),
            time,
            reference: Reference {
                limit: 5,
                ..Reference::default()
            },
            running: Vec::new(),
        }
    }

    fn step(&mut self, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::Draw(wanted) => self.draw(wanted)?,
            Step::End(which, cost) if !self.running.is_empty() => {
                let (wanted, mut hold) = self.running.swap_remove(which % self.running.len());
                if let Some(cost) = cost {
                    hold.settle(cost);
                }
                drop(hold);
                self.reference.end(&wanted, cost);
            }
            Step::End(..) => {}
            Step::Pass(ms) => {
                self.look()?;
                self.time.fetch_add(ms, Ordering::Relaxed);
                self.reference.pass(ms);
            }
            Step::Swap(limit) => {
                self.reference.limit = limit;
            }
        }
        self.look()
    }

    fn draw(&mut self, wanted: Wanted) -> Result<(), TestCaseError> {
        let quotas: Vec<_> = wanted
            .iter()
            .map(|(unit, key, cost)| quota(self.reference.limit, *unit, *key, *cost))
            .collect();
        let (_, hold) = self.memory.draw(&quotas);
        prop_assert_eq!(hold.is_some(), self.reference.draw(&wanted));
        if let Some(hold) = hold {
            self.running.push((wanted, hold));
        }
        Ok(())
    }

    /// Every bucket has the status of the reference's bucket, and a wait that is enough and not longer than needed.
    fn look(&mut self) -> Result<(), TestCaseError> {
        for ((unit, key), simple) in &self.reference.buckets {
            let limit = self.reference.limit;
            let (statuses, _) = self.memory.draw(&[quota(limit, *unit, *key, 0)]);
            prop_assert_eq!(statuses[0].remaining, simple.left(limit));
            if UNITS[*unit] != Unit::Concurrent && limit > 0 {
                let used = simple.spent + simple.lent * WINDOW_MS;
                let full = if statuses[0].granted {
                    0
                } else {
                    limit * WINDOW_MS
                };
                let excess = used.saturating_sub(full);
                prop_assert_eq!(statuses[0].reset_ms, excess.div_ceil(limit));
            }
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_order_of_events_grants_too_much_or_loses_anything(steps in steps()) {
        let mut trial = Trial::new();
        for step in steps {
            trial.step(step)?;
        }
        // Once everything has ended and is refilled, all buckets are full again.
        while !trial.running.is_empty() {
            trial.step(Step::End(0, None))?;
        }
        trial.step(Step::Swap(7))?;
        trial.time.fetch_add(1_000_000, Ordering::Relaxed);
        for unit in 0..UNITS.len() {
            for key in 0..3 {
                let (statuses, _) = trial.memory.draw(&[quota(7, unit, key, 7)]);
                prop_assert!(statuses[0].granted);
            }
        }
    }
}

#[test]
fn many_threads_are_granted_no_more_than_one_would_be() {
    const LIMIT: u64 = 1_000;
    let memory = Memory::with_clock(|| 0);
    let granted = AtomicUsize::new(0);
    let running = AtomicUsize::new(0);
    let used = AtomicU64::new(0);
    let work = |thread: u64| {
        for turn in 0..2_000_u64 {
            let key = u8::try_from(turn % 2).unwrap();
            // Two of the buckets are shared by all threads, in an order that differs; the third is one of two.
            let mut quotas = vec![
                quota(LIMIT, 0, 9, 1),
                quota(4, 2, 9, 1),
                quota(1_000_000, 1, key, 50),
            ];
            quotas.rotate_left(usize::try_from(thread % 3).unwrap());
            let (_, hold) = memory.draw(&quotas);
            let Some(mut hold) = hold else { continue };
            assert!(running.fetch_add(1, Ordering::SeqCst) < 4);
            granted.fetch_add(1, Ordering::SeqCst);
            if turn % 3 == 0 {
                std::thread::yield_now();
            }
            let cost = if turn % 5 == 0 { 50 } else { turn % 70 };
            used.fetch_add(cost, Ordering::SeqCst);
            if turn % 5 != 0 {
                hold.settle(cost);
            }
            running.fetch_sub(1, Ordering::SeqCst);
            drop(hold);
        }
    };
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let work = &work;
            scope.spawn(move || work(thread));
        }
    });
    assert_eq!(granted.into_inner(), 1_000, "exactly the limit");
    let left = |limit, unit, key| memory.draw(&[quota(limit, unit, key, 0)]).0[0].remaining;
    assert_eq!(left(4, 2, 9), 4, "every place came back");
    let spent: u64 = (0..2).map(|key| 1_000_000 - left(1_000_000, 1, key)).sum();
    assert_eq!(spent, used.into_inner(), "every token counted once");
}
