//! How long to wait before a worker is started again: not at all at first, then longer, never for ever.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// A worker that was ready for so long had no trouble starting: the count begins anew.
const STABLE: Duration = Duration::from_secs(5);

/// The waits between restarts.
#[derive(Debug)]
pub(super) struct Backoff {
    initial: Duration,
    max: Duration,
    in_a_row: u32,
}

impl Backoff {
    /// Waits between `initial` and `max`, give or take a fifth.
    pub(super) fn new(initial: Duration, max: Duration) -> Self {
        Self {
            initial,
            max,
            in_a_row: 0,
        }
    }

    /// How long to wait after a worker that was ready for `lifetime`.
    pub(super) fn after(&mut self, lifetime: Duration) -> Duration {
        if lifetime >= STABLE {
            self.in_a_row = 0;
        }
        let doubled = self
            .in_a_row
            .checked_sub(1)
            .map(|times| 2_u32.saturating_pow(times));
        self.in_a_row = self.in_a_row.saturating_add(1);
        doubled.map_or(Duration::ZERO, |factor| {
            spread(self.initial.saturating_mul(factor).min(self.max))
        })
    }
}

/// Something within a fifth of `delay`, so that many gateways do not start workers in step.
fn spread(delay: Duration) -> Duration {
    // Every RandomState has keys of its own.
    let percent = 80 + RandomState::new().hash_one(delay) % 41;
    delay.mul_f64(percent as f64 / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_restart_is_immediate_and_the_wait_grows_to_its_limit() {
        let (initial, max) = (Duration::from_millis(100), Duration::from_secs(2));
        let mut backoff = Backoff::new(initial, max);
        assert_eq!(backoff.after(Duration::ZERO), Duration::ZERO);
        for expected in [100, 200, 400, 800, 1600, 2000, 2000] {
            let delay = backoff.after(Duration::ZERO).as_millis();
            assert!(
                (expected * 8 / 10..=expected * 12 / 10).contains(&delay),
                "{delay} for {expected}"
            );
        }
        for _ in 0..100 {
            assert!(
                backoff.after(Duration::ZERO) <= max.mul_f64(1.2),
                "it never overflows"
            );
        }
    }

    #[test]
    fn a_stable_run_starts_the_count_anew() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));
        for _ in 0..5 {
            backoff.after(Duration::ZERO);
        }
        assert_eq!(backoff.after(Duration::from_secs(60)), Duration::ZERO);
        assert!(backoff.after(Duration::ZERO) <= Duration::from_millis(120));
    }
}
