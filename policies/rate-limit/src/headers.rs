//! The rate limit headers, by which OpenAI's clients pace themselves.

use core::cmp::Reverse;

use codex_policy::Header;
use codex_policy::rate_limit::{BucketStatus, Unit};

/// The `x-ratelimit-…` headers for the tightest of a unit's buckets, each with its limit; none if there is no bucket.
pub fn balance<'a>(
    unit: Unit,
    buckets: impl Iterator<Item = (u64, &'a BucketStatus)>,
) -> Vec<Header> {
    let suffix = match unit {
        Unit::Requests => "requests",
        Unit::Tokens => "tokens",
        // OpenAI defines no headers for these.
        Unit::Concurrent => return Vec::new(),
    };
    let tightness = |(_, status): &(u64, &BucketStatus)| {
        (status.granted, status.remaining, Reverse(status.reset_ms))
    };
    let Some((limit, status)) = buckets.min_by_key(tightness) else {
        return Vec::new();
    };
    let header = |name: &str, value: String| (format!("x-ratelimit-{name}-{suffix}"), value);
    vec![
        header("limit", limit.to_string()),
        header("remaining", status.remaining.to_string()),
        header("reset", duration(status.reset_ms)),
    ]
}

/// Milliseconds as OpenAI writes them: "120ms", "1.5s", "6m0s", "1h0m0s".
#[must_use]
pub fn duration(ms: u64) -> String {
    if (1..1000).contains(&ms) {
        return format!("{ms}ms");
    }
    let (minutes, rest) = (ms / 60_000, ms % 60_000);
    let seconds = format!("{}.{:03}", rest / 1000, rest % 1000);
    let seconds = seconds.trim_end_matches('0').trim_end_matches('.');
    match (minutes / 60, minutes % 60) {
        (0, 0) => format!("{seconds}s"),
        (0, minutes) => format!("{minutes}m{seconds}s"),
        (hours, minutes) => format!("{hours}h{minutes}m{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_as_openai_does() {
        for (ms, text) in [
            (0, "0s"),
            (17, "17ms"),
            (999, "999ms"),
            (1000, "1s"),
            (1500, "1.5s"),
            (8640, "8.64s"),
            (10_000, "10s"),
            (60_000, "1m0s"),
            (360_000, "6m0s"),
            (3_600_000, "1h0m0s"),
            (90_061_001, "25h1m1.001s"),
        ] {
            assert_eq!(duration(ms), text);
        }
        assert!(duration(u64::MAX).ends_with('s'));
    }
}
