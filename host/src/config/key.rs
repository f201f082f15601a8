//! Judges the operator's key: whether everybody knows it, or could guess it.

use super::Environment;
use super::env::PROXY_API_KEY;
use super::read::Reader;
use crate::secret::{Secret, is_sendable};

/// Keys that are printed in this project's documents or its predecessor's. The auth policy knows the same ones.
pub const PUBLISHED: [&str; 5] = [
    "codex-local-secret",
    "your-dev-key",
    "test-sk-ci",
    "sk-choose-your-own",
    "sk-mine",
];

/// Shorter ones can be guessed, other than the random 32 characters of `codex-gateway key new`.
const SHORTEST: usize = 16;

/// Notes what is wrong with the key: in production a mistake, else a warning. One that can never match is a mistake
/// anywhere.
pub(super) fn judge(reader: &mut Reader<'_>, key: &Secret, environment: Environment) {
    if !is_sendable(key.reveal()) {
        let expected =
            "printable ASCII, as a client can send it (`codex-gateway key new` makes a key)";
        return reader.note(PROXY_API_KEY, expected, "other characters");
    }
    let found = if PUBLISHED.contains(&key.reveal()) {
        "a sample from the documents, which everybody knows"
    } else if key.reveal().len() < SHORTEST {
        "a shorter one"
    } else {
        return;
    };
    let expected = format!(
        "a key of its own, of {SHORTEST} characters or more (`codex-gateway key new` makes one)"
    );
    match environment {
        Environment::Prod => reader.note(
            PROXY_API_KEY,
            format!("{expected} when PROXY_ENV is prod"),
            found,
        ),
        Environment::Dev => reader.warn(
            PROXY_API_KEY.name,
            format!("expected {expected}, found {found}"),
        ),
    }
}
