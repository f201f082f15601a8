//! A secret that does not print itself.

use sha2::{Digest, Sha256};

/// Shows as `***` wherever it is printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    #[must_use]
    pub fn new(secret: String) -> Self {
        Self(secret)
    }

    /// The secret itself: for the one place that must show or send it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Lower-case hexadecimal SHA-256: what policies know a key by.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        fingerprint(self.0.as_bytes())
    }
}

/// Lower-case hexadecimal SHA-256, 64 characters.
#[must_use]
pub fn fingerprint(secret: &[u8]) -> String {
    Sha256::digest(secret)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}
