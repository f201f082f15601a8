//! Delays the restart of a worker: the first restart is immediate, the next ones wait longer and longer, up to a limit.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// A worker that was ready for at least this long was healthy: the count of restarts in a row starts again.
const STABLE: Duration = Duration::from_secs(5);

/// The longest wait after a worker that had been ready: the next will be ready too, and clients are waiting.
const AFTER_READY: Duration = Duration::from_secs(1);

/// The waits between restarts.
#[derive(Debug)]
pub(super) struct Backoff {
    initial: Duration,
    max: Duration,
    in_a_row: u32,
}

impl Backoff {
    /// Waits between `initial` and `max`, plus or minus a fifth.
    pub(super) fn new(initial: Duration, max: Duration) -> Self {
        Self {
            initial,
            max,
            in_a_row: 0,
        }
    }

    /// The wait before the next restart, after a worker that was ready for `lifetime` (`None`: it never was).
    pub(super) fn after(&mut self, lifetime: Option<Duration>) -> Duration {
        if lifetime.is_some_and(|lifetime| lifetime >= STABLE) {
            self.in_a_row = 0;
        }
        let doublings = self.in_a_row.checked_sub(1);
        self.in_a_row = self.in_a_row.saturating_add(1);
        let Some(doublings) = doublings else {
            return Duration::ZERO;
        };
        let limit = if lifetime.is_some() {
            self.max.min(AFTER_READY)
        } else {
            self.max
        };
        let delay = self.initial.saturating_mul(2_u32.saturating_pow(doublings));
        spread(delay.min(limit))
    }
}

/// A random wait within a fifth of `delay`, so that many gateways do not start workers at the same moment.
fn spread(delay: Duration) -> Duration {
    // Every `RandomState` has its own random keys.
    let percent = 80 + RandomState::new().hash_one(delay) % 41;
    delay.mul_f64(percent as f64 / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: Duration = Duration::from_secs(2);

    fn backoff() -> Backoff {
        Backoff::new(Duration::from_millis(100), MAX)
    }

    #[test]
    fn the_first_restart_is_immediate_and_the_wait_grows_to_its_limit() {
        let mut backoff = backoff();
        assert_eq!(backoff.after(None), Duration::ZERO);
        for expected in [100, 200, 400, 800, 1600, 2000, 2000] {
            let delay = backoff.after(None).as_millis();
            let spread = expected * 8 / 10..=expected * 12 / 10;
            assert!(spread.contains(&delay), "{delay} for {expected}");
        }
        for _ in 0..100 {
            assert!(
                backoff.after(None) <= MAX.mul_f64(1.2),
                "it never overflows"
            );
        }
    }

    #[test]
    fn a_worker_that_had_been_ready_is_replaced_soon_however_often_it_dies() {
        let mut backoff = backoff();
        for _ in 0..100 {
            assert!(backoff.after(Some(Duration::ZERO)) <= AFTER_READY.mul_f64(1.2));
        }
        assert!(backoff.after(None) >= MAX.mul_f64(0.8));
    }

    #[test]
    fn a_stable_run_starts_the_count_anew() {
        let mut backoff = backoff();
        for _ in 0..5 {
            backoff.after(None);
        }
        assert_eq!(backoff.after(Some(STABLE)), Duration::ZERO);
        assert!(backoff.after(None) <= Duration::from_millis(120));
    }
}
