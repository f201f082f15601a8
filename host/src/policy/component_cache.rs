//! Keeps recently prepared or compiled components in memory, by digest: a policy that is put back serves at once.

use std::collections::VecDeque;

use parking_lot::Mutex;

use super::Slot;

/// Entries kept: two complete generations, so that switching between them compiles nothing.
const KEPT: usize = 2 * Slot::ALL.len();

type Digest = [u8; 32];

pub(super) struct ComponentCache<T>(Mutex<VecDeque<(Digest, T)>>);

impl<T> Default for ComponentCache<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Clone> ComponentCache<T> {
    pub(super) fn get(&self, digest: Digest) -> Option<T> {
        let mut entries = self.0.lock();
        let at = entries.iter().position(|(found, _)| *found == digest)?;
        let entry = entries.remove(at)?;
        let value = entry.1.clone();
        entries.push_back(entry);
        Some(value)
    }

    pub(super) fn put(&self, digest: Digest, value: T) {
        let mut entries = self.0.lock();
        entries.push_back((digest, value));
        if entries.len() > KEPT {
            entries.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_used_for_longest_is_forgotten_first() {
        let recent = ComponentCache::default();
        for digest in 0..8 {
            recent.put([digest; 32], digest);
        }
        assert_eq!(recent.get([0; 32]), Some(0));
        recent.put([8; 32], 8);
        assert_eq!(recent.get([0; 32]), Some(0), "it was used");
        assert_eq!(recent.get([1; 32]), None);
    }
}
