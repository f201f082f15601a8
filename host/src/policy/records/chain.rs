//! The chain of records: each line ends with a hash over the hash before it and the line itself.

use std::fmt;

use sha2::{Digest as _, Sha256};

use super::super::digest::Digest;
use crate::hex::hex;

/// Between a line and its hash.
const MEMBER: &[u8] = b",\"hash\":\"";
/// The bytes from there to the end of the line.
const SUFFIX: usize = MEMBER.len() + 64 + 2;

/// The hash of the last line; all zeros before the first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Chain([u8; 32]);

impl Chain {
    /// The hash that 64 digits stand for.
    pub(super) fn parse(digits: &str) -> Option<Self> {
        Digest::parse(digits).map(|digest| Self(digest.bytes()))
    }

    fn next(self, object: &[u8]) -> Self {
        let mut hash = Sha256::new();
        hash.update(self.0);
        hash.update(object);
        Self(hash.finalize().into())
    }

    /// Appends an object as a line, with its hash as the last member.
    pub(super) fn seal(&mut self, object: &[u8], to: &mut Vec<u8>) {
        *self = self.next(object);
        let open = object.strip_suffix(b"}").unwrap_or(object);
        to.extend_from_slice(open);
        to.extend_from_slice(MEMBER);
        to.extend_from_slice(self.to_string().as_bytes());
        to.extend_from_slice(b"\"}\n");
    }

    /// Goes on with a line, without its line end. Returns whether its hash is right.
    pub(super) fn check(&mut self, line: &[u8]) -> bool {
        let Some(end) = line.len().checked_sub(SUFFIX) else {
            return false;
        };
        let (open, suffix) = line.split_at(end);
        let mut object = Vec::with_capacity(open.len() + 1);
        object.extend_from_slice(open);
        object.push(b'}');
        let next = self.next(&object);
        let expected = format!(",\"hash\":\"{next}\"}}");
        let is_right = suffix == expected.as_bytes();
        if is_right {
            *self = next;
        }
        is_right
    }
}

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_is_found() {
        let mut chain = Chain::default();
        let mut text = Vec::new();
        for object in [r#"{"a":1}"#, "{\"b\":\"\u{e9}\"}"] {
            chain.seal(object.as_bytes(), &mut text);
        }
        let intact = |text: &[u8]| {
            let mut chain = Chain::default();
            let text = text.strip_suffix(b"\n").unwrap_or(text);
            text.split(|byte| *byte == b'\n')
                .all(|line| chain.check(line))
        };
        assert!(intact(&text));
        for line in text
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
        {
            serde_json::from_slice::<serde_json::Value>(line).unwrap();
        }
        // The last line end is no part of a line.
        for place in 0..8 * (text.len() - 1) {
            let mut altered = text.clone();
            altered[place / 8] ^= 1 << (place % 8);
            assert!(!intact(&altered), "bit {place}");
        }
    }
}
