//! Checks the operator's key: whether it is published in documents, or could be guessed.

use super::Environment;
use super::env::PROXY_API_KEY;
use super::read::Reader;
use crate::secret::{Secret, is_sendable};

/// Keys that are printed in this project's documents or its predecessor's. The auth policy has the same list.
pub const PUBLISHED: [&str; 5] = [
    "codex-local-secret",
    "your-dev-key",
    "test-sk-ci",
    "sk-choose-your-own",
    "sk-mine",
];

/// The minimum length: shorter keys can be guessed, unlike the 32 random characters of `codex-gateway key new`.
const SHORTEST: usize = 16;

/// Notes the key's problem: a mistake in production, otherwise a warning. A key that can never match is always a mistake.
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
