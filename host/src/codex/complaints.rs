//! Limits the warnings about a child that writes nonsense: the first of each kind at once, then a few in ten seconds,
//! with the number of those left out.

use std::fmt::Display;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// The period in which warnings of one kind are counted.
const EVERY: Duration = Duration::from_secs(10);

/// Limit in bytes for the child's own text in a warning.
const BRIEF: usize = 200;

/// The warnings about one child, counted by kind.
#[derive(Debug)]
pub(super) struct Complaints {
    kinds: Mutex<Vec<ComplaintKind>>,
    /// Warnings of one kind that are logged within [`EVERY`].
    most: u32,
}

#[derive(Debug)]
struct ComplaintKind {
    name: &'static str,
    since: Instant,
    logged: u32,
    left_out: u64,
}

impl Default for Complaints {
    fn default() -> Self {
        Self::at_most(1)
    }
}

impl Complaints {
    /// Logs at most `most` warnings of a kind within [`EVERY`].
    pub(super) const fn at_most(most: u32) -> Self {
        Self {
            kinds: Mutex::new(Vec::new()),
            most,
        }
    }

    /// Logs a warning, unless enough of that kind were logged within [`EVERY`]; `about` may contain the child's text.
    pub(super) fn warn(&self, what: &'static str, about: &dyn Display) {
        if let Some(left_out) = self.admit(what) {
            let about = about.to_string();
            let about = &about[..about.floor_char_boundary(BRIEF)];
            tracing::warn!(about, left_out, "{what}");
        }
    }

    /// Whether to log one more of this kind: if so, the number of those left out since the last logged one.
    pub(super) fn admit(&self, name: &'static str) -> Option<u64> {
        let mut kinds = self.kinds.lock();
        let now = Instant::now();
        let Some(kind) = kinds.iter_mut().find(|kind| kind.name == name) else {
            kinds.push(ComplaintKind {
                name,
                since: now,
                logged: 1,
                left_out: 0,
            });
            return Some(0);
        };
        if now.duration_since(kind.since) >= EVERY {
            (kind.since, kind.logged) = (now, 0);
        }
        if kind.logged < self.most {
            kind.logged += 1;
            Some(std::mem::take(&mut kind.left_out))
        } else {
            kind.left_out += 1;
            None
        }
    }

    /// For each kind, the number of those left out and not yet reported.
    fn rest(&mut self) -> Vec<(&'static str, u64)> {
        let kinds = self.kinds.get_mut();
        let left_out = kinds.iter().filter(|kind| kind.left_out > 0);
        left_out.map(|kind| (kind.name, kind.left_out)).collect()
    }
}

/// Reports the remaining counts when the child has ended.
impl Drop for Complaints {
    fn drop(&mut self) {
        for (name, left_out) in self.rest() {
            tracing::warn!(left_out, "of a Codex process that has ended: {name}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_logged_apart_and_the_rest_is_counted() {
        let mut complaints = Complaints::at_most(2);
        assert_eq!(complaints.admit("one"), Some(0));
        assert_eq!(complaints.admit("one"), Some(0));
        for _ in 0..3 {
            assert_eq!(complaints.admit("one"), None);
        }
        assert_eq!(complaints.admit("two"), Some(0));
        assert_eq!(complaints.rest(), [("one", 3)]);
        complaints.kinds.lock()[0].since -= EVERY;
        assert_eq!(complaints.admit("one"), Some(3));
        assert_eq!(complaints.rest(), []);
    }
}
