//! The pace of decisions over the last minute, slot by slot: counts, and how long the policies took, kept without locks.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::Decision;

/// The windows of time that are kept, and the length of one: a minute in all.
const WINDOWS: usize = 6;
const WINDOW: Duration = Duration::from_secs(10);

/// Bounds of durations: four in each power of two of microseconds, up to some two seconds.
const STEPS: usize = 4;
const BOUNDS: usize = 21 * STEPS;
const LONGEST: u64 = (1 << 21) - 1;

/// Counts of recent decisions, for the operator's status. A count may be off by a few where a window begins.
#[derive(Debug)]
pub struct Pace {
    began: Instant,
    slots: Vec<(&'static str, [Window; WINDOWS])>,
}

#[derive(Debug)]
struct Window {
    /// Which window of the process this is.
    number: AtomicU64,
    decided: AtomicU64,
    kept: AtomicU64,
    denied: AtomicU64,
    faults: AtomicU64,
    durations: [AtomicU32; BOUNDS],
}

/// The decisions of one slot over the last minute.
#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Serialize)]
pub struct Recent {
    /// How many there were, for a whole minute.
    pub per_minute: f64,
    /// The share that was kept from the same question before; absent if there were none.
    pub kept: Option<f64>,
    /// The share of denials.
    pub denied: Option<f64>,
    /// The number of faults.
    pub faults: u64,
    /// Microseconds within which 99 % of those were made for which the policy ran.
    pub p99_us: Option<u64>,
}

impl Pace {
    /// Nothing was decided yet in these slots.
    #[must_use]
    pub fn new(slots: &[&'static str]) -> Self {
        let slots = slots.iter().map(|slot| (*slot, Default::default()));
        Self {
            began: Instant::now(),
            slots: slots.collect(),
        }
    }

    pub(super) fn decided(&self, decision: &Decision) {
        self.decided_at(self.began.elapsed(), decision);
    }

    fn decided_at(&self, now: Duration, decision: &Decision) {
        let slot = self.slots.iter().find(|(slot, _)| *slot == decision.slot);
        if let Some((_, windows)) = slot {
            let number = number(now);
            windows[number as usize % WINDOWS].count(number, decision);
        }
    }

    /// The recent decisions of a slot.
    #[must_use]
    pub fn of(&self, slot: &str) -> Recent {
        self.of_at(self.began.elapsed(), slot)
    }

    fn of_at(&self, now: Duration, slot: &str) -> Recent {
        let Some((_, windows)) = self.slots.iter().find(|(known, _)| *known == slot) else {
            return Recent::default();
        };
        let current = number(now);
        let oldest = (current + 1).saturating_sub(WINDOWS as u64);
        let began = WINDOW * u32::try_from(oldest).unwrap_or(u32::MAX);
        let covered = now.saturating_sub(began).max(Duration::from_secs(1));
        let is_recent = |window: &&Window| (oldest..=current).contains(&load(&window.number));
        let recent: Vec<&Window> = windows.iter().filter(is_recent).collect();
        let sum = |of: fn(&Window) -> &AtomicU64| -> u64 {
            recent.iter().map(|window| load(of(window))).sum()
        };
        let decided = sum(|window| &window.decided);
        let share = |part: u64| (decided > 0).then(|| part as f64 / decided as f64);
        Recent {
            per_minute: decided as f64 * 60.0 / covered.as_secs_f64(),
            kept: share(sum(|window| &window.kept)),
            denied: share(sum(|window| &window.denied)),
            faults: sum(|window| &window.faults),
            p99_us: quantile(&recent),
        }
    }
}

/// The number of the window at this time; they begin with 0.
fn number(now: Duration) -> u64 {
    now.as_secs() / WINDOW.as_secs()
}

fn load(count: &AtomicU64) -> u64 {
    count.load(Ordering::Relaxed)
}

impl Default for Window {
    fn default() -> Self {
        Self {
            number: AtomicU64::new(0),
            decided: AtomicU64::new(0),
            kept: AtomicU64::new(0),
            denied: AtomicU64::new(0),
            faults: AtomicU64::new(0),
            durations: std::array::from_fn(|_| AtomicU32::new(0)),
        }
    }
}

impl Window {
    fn count(&self, number: u64, decision: &Decision) {
        let before = load(&self.number);
        let relaxed = Ordering::Relaxed;
        let is_new = before != number
            && self
                .number
                .compare_exchange(before, number, relaxed, relaxed)
                .is_ok();
        if is_new {
            for count in [&self.decided, &self.kept, &self.denied, &self.faults] {
                count.store(0, relaxed);
            }
            self.durations
                .iter()
                .for_each(|count| count.store(0, relaxed));
        }
        let add = |count: &AtomicU64| {
            count.fetch_add(1, relaxed);
        };
        add(&self.decided);
        match decision.outcome {
            "denied" => add(&self.denied),
            "fault" => add(&self.faults),
            _ => {}
        }
        if decision.from_memo {
            add(&self.kept);
        } else {
            self.durations[step(decision.elapsed)].fetch_add(1, relaxed);
        }
    }
}

/// The place of a duration among the bounds.
fn step(elapsed: Duration) -> usize {
    let us = u64::try_from(elapsed.as_micros()).map_or(LONGEST, |us| us.clamp(1, LONGEST));
    let power = us.ilog2();
    // The two bits after the first one.
    let rest = (us << 2 >> power) & 3;
    (power as usize * STEPS + rest as usize).min(BOUNDS - 1)
}

/// The largest duration there, in microseconds.
fn bound(step: usize) -> u64 {
    let (power, rest) = (step / STEPS, (step % STEPS) as u64);
    (((STEPS as u64 + rest + 1) << power) - 1) >> 2
}

/// The duration within which 99 % of the decisions were made.
fn quantile(windows: &[&Window]) -> Option<u64> {
    let at = |step: usize| -> u64 {
        let counts = windows.iter().map(|window| &window.durations[step]);
        counts
            .map(|count| u64::from(count.load(Ordering::Relaxed)))
            .sum()
    };
    let counts: Vec<u64> = (0..BOUNDS).map(at).collect();
    let all: u64 = counts.iter().sum();
    let needed = (all * 99).div_ceil(100);
    let mut seen = 0;
    let found = counts.iter().position(|count| {
        seen += count;
        all > 0 && seen >= needed
    });
    found.map(bound)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decision(outcome: &'static str, from_memo: bool, us: u64) -> Decision {
        Decision {
            slot: "one",
            question: "q",
            outcome,
            fault: None,
            from_memo,
            began: Duration::ZERO,
            elapsed: Duration::from_micros(us),
        }
    }

    #[test]
    fn shares_and_the_quantile_are_of_the_last_minute() {
        let pace = Pace::new(&["one", "other"]);
        let second = Duration::from_secs;
        for second in (0..60).map(second) {
            pace.decided_at(second, &decision("answered", false, 10));
            pace.decided_at(second, &decision("denied", true, 1));
        }
        let recent = pace.of_at(second(60) - Duration::from_millis(1), "one");
        assert!((recent.per_minute - 120.0).abs() < 0.1, "{recent:?}");
        assert_eq!((recent.kept, recent.denied), (Some(0.5), Some(0.5)));
        assert!(
            recent.p99_us.is_some_and(|us| (10..=12).contains(&us)),
            "{recent:?}"
        );
        pace.decided_at(second(119), &decision("fault", false, 50_000));
        let recent = pace.of_at(second(119), "one");
        assert_eq!(recent.faults, 1);
        assert!(recent.per_minute < 2.0, "{recent:?}");
        assert!(recent.p99_us >= Some(50_000), "{recent:?}");
        assert_eq!(pace.of_at(second(600), "one").kept, None);
        assert_eq!(pace.of("other"), Recent::default());
    }

    #[test]
    fn a_bound_is_at_most_a_quarter_more_than_what_it_bounds() {
        for us in (1..5_000).chain([100_000, 1_000_000]) {
            let bound = bound(step(Duration::from_micros(us)));
            assert!(bound >= us && bound * 4 <= us * 5 + 4, "{us}: {bound}");
        }
        assert_eq!(step(Duration::from_secs(3_600)), BOUNDS - 1);
    }
}
