//! The seal before each frame: its length and hash, so that an altered bit is found also where zstd does not look.

use sha2::{Digest as _, Sha256};

/// The bytes of a seal.
pub(super) const SIZE: usize = 76;
/// The first bytes, by which zstd skips the seal: the magic number of a skippable frame, and the number of bytes after these.
const HEAD: [u8; 8] = [0x57, 0x2a, 0x4d, 0x18, SIZE as u8 - 8, 0, 0, 0];
/// The place of the frame's hash, after its length.
const HASH: usize = HEAD.len() + 4;
/// The place of the hash over the seal itself. Without it, an altered length of the last frame would look like a torn end.
const CHECK: usize = HASH + 32;
/// The largest frame, compressed or not.
pub(super) const FRAME: usize = 128 << 20;

/// The length and the hash of a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seal {
    length: u32,
    hash: [u8; 32],
}

impl Seal {
    /// Of a compressed frame; `None` if it is too large.
    pub(super) fn of(frame: &[u8]) -> Option<Self> {
        let length = u32::try_from(frame.len()).ok()?;
        (frame.len() <= FRAME).then(|| Self {
            length,
            hash: Sha256::digest(frame).into(),
        })
    }

    /// As it is written.
    pub(super) fn bytes(&self) -> [u8; SIZE] {
        let mut bytes = [0; SIZE];
        bytes[..HEAD.len()].copy_from_slice(&HEAD);
        bytes[HEAD.len()..HASH].copy_from_slice(&self.length.to_le_bytes());
        bytes[HASH..CHECK].copy_from_slice(&self.hash);
        let check = Sha256::digest(&bytes[..CHECK]);
        bytes[CHECK..].copy_from_slice(&check);
        bytes
    }

    /// Reads one; `None` if it was altered, or is something else.
    pub(super) fn read(bytes: &[u8; SIZE]) -> Option<Self> {
        let mut seal = Self {
            length: 0,
            hash: [0; 32],
        };
        let mut length = [0; 4];
        length.copy_from_slice(&bytes[HEAD.len()..HASH]);
        seal.length = u32::from_le_bytes(length);
        seal.hash.copy_from_slice(&bytes[HASH..CHECK]);
        (seal.length() <= FRAME && seal.bytes() == *bytes).then_some(seal)
    }

    /// The bytes of the frame.
    pub(super) fn length(&self) -> usize {
        self.length as usize
    }

    /// Whether this is the frame, bit by bit.
    pub(super) fn fits(&self, frame: &[u8]) -> bool {
        Self::of(frame).as_ref() == Some(self)
    }
}
