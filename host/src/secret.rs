//! A secret that is never printed by accident.

use sha2::{Digest, Sha256};

use crate::hex::hex;

/// A secret string, printed as `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// The characters of keys, chosen for copying: none wraps or needs quoting.
const ALPHANUMERIC: [char; 62] = {
    let letters = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut characters = ['0'; 62];
    let mut i = 0;
    while i < 62 {
        characters[i] = letters[i] as char;
        i += 1;
    }
    characters
};

impl Secret {
    /// A new key with this prefix and 32 random characters (190 bits) from the system's generator.
    #[must_use]
    pub fn random(prefix: &str) -> Self {
        Self(format!("{prefix}{}", nanoid::nanoid!(32, &ALPHANUMERIC)))
    }

    /// Wraps a secret.
    #[must_use]
    pub fn new(secret: String) -> Self {
        Self(secret)
    }

    /// The secret itself, for code that must show or send it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// The SHA-256 in lower-case hexadecimal, by which policies know a key.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        fingerprint(self.0.as_bytes())
    }
}

/// The SHA-256 in lower-case hexadecimal, 64 characters.
#[must_use]
pub fn fingerprint(secret: &[u8]) -> String {
    hex(&Sha256::digest(secret))
}

/// Whether a key can be sent as `Authorization: Bearer KEY`: printable ASCII, without blanks at its ends. A key that cannot be
/// sent would never match.
#[must_use]
pub fn is_sendable(key: &str) -> bool {
    let is_printable = |byte| matches!(byte, b' '..=b'~' | b'\t');
    key.bytes().all(is_printable) && key.trim_ascii() == key
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_no_header_can_carry_is_told_apart() {
        for key in ["sk-0123456789", "a b", "~!\"#$%"] {
            assert!(is_sendable(key), "{key}");
        }
        for key in ["clé", "ключ", " a", "a ", "a\nb", "a\u{7f}"] {
            assert!(!is_sendable(key), "{key:?}");
        }
    }
}
