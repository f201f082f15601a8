//! The reasons why a file is not trusted, and the ids of keys that they name.

use std::fmt;

/// The ending of a signature's name, after the whole name of its file: `auth.json.minisig`.
pub const SIGNATURE_ENDING: &str = ".minisig";

/// The id of a key pair, which its signatures carry; shown as minisign shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyId(u64);

/// The reason why a file is not trusted. Each text follows the file's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Distrust {
    /// There is no signature.
    #[error(
        "expected a signature in `{0}{SIGNATURE_ENDING}`, as POLICY_TRUSTED_KEYS is set, found none: sign the file by \
         `codex-gateway policy sign`, or put its signature back"
    )]
    Unsigned(String),
    /// The signature cannot be read.
    #[error(
        "expected a signature of minisign in `{name}{SIGNATURE_ENDING}`, found {found}: sign the file anew by \
         `codex-gateway policy sign`"
    )]
    Garbled {
        /// The file's name.
        name: String,
        /// The content of its signature.
        found: &'static str,
    },
    /// The key is none of the trusted ones.
    #[error(
        "it is signed by the key {id}, which is none of POLICY_TRUSTED_KEYS ({known}): sign it by one of these, or add that \
         key there if you trust it"
    )]
    UnknownKey {
        /// The signature's key.
        id: KeyId,
        /// The trusted keys.
        known: String,
    },
    /// The signature is of a file with another name.
    #[error(
        "its signature is one of {}, not of this file: put its own back, or sign it by `codex-gateway policy sign`",
        .0.as_deref().map_or("no named file".to_owned(), |name| format!("`{name}`"))
    )]
    OtherFile(Option<String>),
    /// The folder has no `policies.toml`, whose removal no signature would show.
    #[error(
        "expected it, as POLICY_TRUSTED_KEYS is set, found none: a file that is removed takes its rules with it; put it back or, \
         if there was none, write one (an empty one will do), and sign it by `codex-gateway policy sign`"
    )]
    NoManifest,
    /// The bytes are not those that were signed.
    #[error(
        "it was altered after the key {0} signed it, or its signature is of another version: put the signed version back or, \
         if the change is wanted, sign it anew by `codex-gateway policy sign`"
    )]
    Altered(KeyId),
}

impl KeyId {
    /// Of the eight bytes in keys and signatures.
    pub(super) fn of(bytes: [u8; 8]) -> Self {
        Self(u64::from_le_bytes(bytes))
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016X}", self.0)
    }
}
