//! The reasons why a registry's artifact is refused, or a registry does not answer.

use std::error::Error;

use crate::policy::{Distrust, Refusal, SigningError};

/// Why an artifact was not pushed or not pulled.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The text is no reference.
    #[error("{0}: expected a reference as oci://registry.example/policies/auth:1.0, {1}")]
    Reference(String, String),
    /// The registry did not do as it was asked.
    #[error("the registry: {0}")]
    Failed(String),
    /// It took too long.
    #[error("the registry was not done within 10 minutes: try again")]
    Late,
    /// A part is too large.
    #[error("expected a {0} of at most {1} bytes, found a larger one; nothing of it was kept")]
    TooLarge(&'static str, u64),
    /// The registry sent another manifest than the digest names.
    #[error("the registry sent another manifest than was asked for: {0}")]
    OtherManifest(String),
    /// The registry sent more or fewer bytes than the manifest says.
    #[error(
        "expected the {0} bytes that the manifest has, found more or fewer; nothing of them was kept"
    )]
    OtherSize(u64),
    /// It is no Wasm artifact.
    #[error(
        "expected a Wasm artifact ({expected}), found {found}; push it with `codex-gateway policy push` or `wkg oci push`"
    )]
    OtherFormat {
        /// The part of the format.
        expected: &'static str,
        /// The part that is there.
        found: String,
    },
    /// The component would not fit.
    #[error("expected a component for the {slot} slot, found one that exports {found}")]
    OtherSlot {
        /// The slot.
        slot: String,
        /// Its exports.
        found: String,
    },
    /// No trusted key signed it.
    #[error("{0}")]
    Untrusted(#[from] Distrust),
    /// It is no component, or not for this slot.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It cannot be signed.
    #[error(transparent)]
    Unsigned(#[from] SigningError),
}

impl RegistryError {
    /// An error of a library, with all its causes in one line.
    pub(super) fn failed(error: &dyn Error) -> Self {
        let mut told = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            let further = error.to_string();
            if !told.contains(&further) {
                told = format!("{told}: {further}");
            }
            cause = error.source();
        }
        // A registry may have written parts of it.
        Self::Failed(told.escape_debug().take(1_000).collect())
    }
}
