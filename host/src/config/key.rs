//! Checks keys and tokens of the operator's: whether they are published in documents, or could be guessed.

use super::Environment;
use super::env::{ADMIN_TOKEN, PROXY_API_KEY, Variable};
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

/// Notes the problem of the key for clients.
pub(super) fn judge(reader: &mut Reader<'_>, key: &Secret, environment: Environment) {
    judge_one(reader, PROXY_API_KEY, key, environment);
}

/// Notes the problem of the operator's token. One that a client has is always a mistake.
pub(super) fn judge_admin(reader: &mut Reader<'_>, token: &Secret, environment: Environment) {
    if reader.is(PROXY_API_KEY, token.reveal()) {
        let expected = "a token of its own, since clients have PROXY_API_KEY";
        return reader.note(ADMIN_TOKEN, expected, "the same");
    }
    judge_one(reader, ADMIN_TOKEN, token, environment);
}

/// Notes a key's problem: a mistake in production, otherwise a warning. A key that can never match is always a mistake.
fn judge_one(reader: &mut Reader<'_>, variable: Variable, key: &Secret, environment: Environment) {
    if !is_sendable(key.reveal()) {
        let expected =
            "printable ASCII, as a client can send it (`codex-gateway key new` makes a key)";
        return reader.note(variable, expected, "other characters");
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
            variable,
            format!("{expected} when PROXY_ENV is prod"),
            found,
        ),
        Environment::Dev => {
            reader.warn(variable.name, format!("expected {expected}, found {found}"))
        }
    }
}
