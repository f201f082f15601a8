//! Keeps recently prepared or compiled components in memory, by digest: a policy that is put back serves at once.

use std::collections::VecDeque;

use parking_lot::Mutex;

use super::Slot;

/// Entries kept: two complete generations, so that switching between them prepares nothing.
const KEPT: usize = 2 * Slot::ALL.len();
/// The most bytes of the kept components' files and images, for their memory is several times that. Those of policies in JavaScript
/// and Python have 15 to 30 MB.
const BYTES: usize = 64 << 20;

type Digest = [u8; 32];

pub(super) struct ComponentCache<T>(Mutex<VecDeque<Entry<T>>>);

struct Entry<T> {
    digest: Digest,
    bytes: usize,
    value: T,
}

impl<T> Default for ComponentCache<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Clone> ComponentCache<T> {
    pub(super) fn get(&self, digest: Digest) -> Option<T> {
        let mut entries = self.0.lock();
        let at = entries.iter().position(|entry| entry.digest == digest)?;
        let entry = entries.remove(at)?;
        let value = entry.value.clone();
        entries.push_back(entry);
        Some(value)
    }

    /// Keeps the component of a file or an image of so many bytes.
    pub(super) fn put(&self, digest: Digest, bytes: usize, value: T) {
        let mut entries = self.0.lock();
        entries.push_back(Entry {
            digest,
            bytes,
            value,
        });
        let bytes = |entries: &VecDeque<Entry<T>>| -> usize {
            entries.iter().map(|entry| entry.bytes).sum()
        };
        let mut dropped = Vec::new();
        while entries.len() > KEPT || (entries.len() > 1 && bytes(&entries) > BYTES) {
            dropped.extend(entries.pop_front());
        }
        // Code is given back to the system, which takes time, after the lock.
        drop(entries);
        drop(dropped);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_used_for_longest_is_forgotten_first() {
        let recent = ComponentCache::default();
        for digest in 0..8 {
            recent.put([digest; 32], 1, digest);
        }
        assert_eq!(recent.get([0; 32]), Some(0));
        recent.put([8; 32], 1, 8);
        assert_eq!(recent.get([0; 32]), Some(0), "it was used");
        assert_eq!(recent.get([1; 32]), None);
    }

    #[test]
    fn heavy_components_are_kept_up_to_a_number_of_bytes() {
        let recent = ComponentCache::default();
        for digest in 0..8 {
            recent.put([digest; 32], BYTES / 3, digest);
        }
        let kept: Vec<_> = (0..8)
            .filter_map(|digest| recent.get([digest; 32]))
            .collect();
        assert_eq!(kept, [5, 6, 7]);
        recent.put([8; 32], 2 * BYTES, 8);
        assert_eq!(
            recent.get([8; 32]),
            Some(8),
            "the newest is kept, whatever its size is"
        );
        assert_eq!(recent.get([7; 32]), None);
    }
}
