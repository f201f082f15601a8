//! A ring of messages, one after the other in a few large chunks of bytes: to keep one allocates nothing once the ring is full.

use std::collections::VecDeque;
use std::sync::Arc;

/// The size of a chunk; a larger message gets one of its own.
const CHUNK: usize = 64 << 10;
/// The bytes in front of a message that say how long it is.
const LENGTH: usize = size_of::<u32>();

/// The last messages.
#[derive(Debug)]
pub(super) struct Ring {
    /// The most messages, and the most bytes of all chunks.
    most: (usize, usize),
    /// Oldest first.
    full: VecDeque<Arc<Chunk>>,
    open: Chunk,
    messages: usize,
    bytes: usize,
}

#[derive(Debug, Clone, Default)]
struct Chunk {
    bytes: Vec<u8>,
    messages: usize,
}

impl Chunk {
    fn has_room(&self, length: usize) -> bool {
        self.bytes.capacity() - self.bytes.len() >= length
    }

    fn messages(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.bytes.as_slice();
        std::iter::from_fn(move || {
            let (length, after) = rest.split_first_chunk::<LENGTH>()?;
            let (message, after) = after.split_at_checked(u32::from_ne_bytes(*length) as usize)?;
            rest = after;
            Some(message)
        })
    }
}

impl Ring {
    /// An empty ring of at most so many messages and bytes.
    pub(super) fn new(messages: usize, bytes: usize) -> Self {
        Self {
            most: (messages, bytes),
            full: VecDeque::new(),
            open: Chunk::default(),
            messages: 0,
            bytes: 0,
        }
    }

    /// Keeps a message in place of the oldest ones; one that is larger than the whole ring is not kept.
    pub(super) fn push(&mut self, message: &[u8]) {
        let needed = LENGTH + message.len();
        let Ok(length) = u32::try_from(message.len()) else {
            return;
        };
        if !self.open.has_room(needed) {
            if needed > self.most.1 {
                return;
            }
            let fresh = self.make_room(needed.max(CHUNK));
            let full = std::mem::replace(&mut self.open, fresh);
            if full.messages > 0 {
                self.full.push_back(Arc::new(full));
            }
        }
        self.open.bytes.extend_from_slice(&length.to_ne_bytes());
        self.open.bytes.extend_from_slice(message);
        self.open.messages += 1;
        self.messages += 1;
    }

    /// An empty chunk of this size, within the bounds: the memory of an old one, if possible.
    fn make_room(&mut self, size: usize) -> Chunk {
        let mut spare = None;
        while let Some(oldest) = self.full.front()
            && (self.messages - oldest.messages >= self.most.0 || self.bytes + size > self.most.1)
        {
            self.messages -= oldest.messages;
            self.bytes -= oldest.bytes.capacity();
            // A reader may still have it.
            let oldest = self.full.pop_front().and_then(Arc::into_inner);
            spare = oldest.filter(|chunk| chunk.bytes.capacity() == size);
        }
        let mut bytes = spare.map_or_else(|| Vec::with_capacity(size), |chunk| chunk.bytes);
        bytes.clear();
        self.bytes += bytes.capacity();
        Chunk { bytes, messages: 0 }
    }

    /// The messages as they are now.
    pub(super) fn look(&self) -> Look {
        let mut chunks: Vec<_> = self.full.iter().cloned().collect();
        chunks.push(Arc::new(self.open.clone()));
        Look {
            chunks,
            surplus: self.messages.saturating_sub(self.most.0),
        }
    }

    /// The bytes that it takes in memory.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

/// The messages of one moment.
pub(super) struct Look {
    chunks: Vec<Arc<Chunk>>,
    /// Older messages that are still there, since only whole chunks are removed.
    surplus: usize,
}

impl Look {
    /// The messages, oldest first.
    pub(super) fn messages(&self) -> impl Iterator<Item = &[u8]> {
        let all = self.chunks.iter().flat_map(|chunk| chunk.messages());
        all.skip(self.surplus)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lengths(ring: &Ring) -> Vec<usize> {
        ring.look().messages().map(<[u8]>::len).collect()
    }

    #[test]
    fn the_last_messages_are_kept_whatever_their_sizes() {
        let mut ring = Ring::new(100, 1 << 20);
        for length in 0..1_000 {
            ring.push(&vec![7; length]);
        }
        assert_eq!(lengths(&ring), (900..1_000).collect::<Vec<_>>());
        ring.push(&vec![7; 2 * CHUNK]);
        ring.push(b"after");
        assert_eq!(lengths(&ring)[98..], [2 * CHUNK, 5]);
        assert!(
            ring.look()
                .messages()
                .flatten()
                .all(|byte| *byte == 7 || b"after".contains(byte))
        );
    }

    #[test]
    fn the_bytes_are_bounded_too() {
        let mut ring = Ring::new(1_000_000, 1 << 20);
        for _ in 0..100 {
            ring.push(&[0; 100 << 10]);
            ring.push(&[0; 10]);
            assert!(ring.bytes() <= 1 << 20, "{}", ring.bytes());
        }
        let kept = lengths(&ring).len();
        ring.push(&[0; 1 << 20]);
        assert_eq!(
            lengths(&ring).len(),
            kept,
            "one that is too large displaces none"
        );
        assert!(kept > 10);
    }

    #[test]
    fn a_reader_keeps_the_messages_of_its_moment() {
        let mut ring = Ring::new(10, 1 << 20);
        ring.push(b"first");
        let look = ring.look();
        for _ in 0..100 {
            ring.push(&[0; 10 << 10]);
        }
        assert_eq!(look.messages().collect::<Vec<_>>(), [b"first"]);
        assert_eq!(lengths(&ring).len(), 10);
    }
}
