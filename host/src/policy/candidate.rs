//! A candidate for a slot (component, settings and options), and the description of a prepared policy.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::Slot;
use super::fault::{Problem, Refusal};
use super::guest::Limits;
pub(super) use crate::hex::hex;

/// The name of the settings source if there are no settings: the operator's component has no settings file, and the settings of
/// the environment belong to the built-in component.
pub(super) const NONE: &str = "none";

/// How a decision gets its instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Instances {
    /// A fresh instance for each decision, from the snapshot of the configured component.
    Frozen,
    /// A configured instance that is reused.
    Warm,
}

impl Instances {
    /// The word for it in `policies.toml`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Frozen => "frozen",
            Self::Warm => "warm",
        }
    }
}

/// The options of a slot that the host, not the guest, must know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Options {
    /// Frozen, unless the component cannot be frozen or the operator chose warm.
    pub instances: Instances,
    /// Whether the auth policy gets the credential's secret itself.
    pub credential: bool,
    /// The limits of one call.
    pub limits: Limits,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            instances: Instances::Frozen,
            credential: false,
            limits: Limits::default(),
        }
    }
}

/// The input of one slot's preparation.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// The slot.
    pub slot: Slot,
    /// The component's file name, or "built-in".
    pub file: String,
    /// The component.
    pub wasm: Arc<[u8]>,
    /// Where the settings come from: a file name, or "environment".
    pub settings_file: String,
    /// A JSON object, with the member `host`.
    pub settings: String,
    /// The host's options for the slot.
    pub options: Options,
}

impl Candidate {
    /// The candidate's digest: equal for candidates that prepare to the same policy.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(Sha256::digest(&self.wasm));
        hash.update(self.settings.as_bytes());
        hash.update(format!("{:?}{:?}", self.slot, self.options));
        hash.finalize().into()
    }

    pub(super) fn refuse(&self, problem: Problem) -> Refusal {
        let file = match problem.is_of_settings() && self.settings_file != NONE {
            true => &self.settings_file,
            false => &self.file,
        };
        Refusal {
            file: file.clone(),
            slot: Some(self.slot),
            problem,
        }
    }
}

/// The description of a policy, for logs and health.
#[derive(Debug, Clone, serde::Serialize)]
pub struct About {
    /// The component's own name.
    pub name: String,
    /// The component's own version.
    pub version: String,
    /// The component's file, or "built-in".
    pub file: String,
    /// The source of its settings.
    pub settings: String,
    /// SHA-256 of the component, hexadecimal.
    pub sha256: String,
    /// How decisions get their instances.
    pub instances: Instances,
    /// Why it runs warm although it was to be frozen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warm_because: Option<String>,
    /// The version of the contract it is written against.
    pub contract: &'static str,
    /// The parts of the input that it declared; absent if it gets all of it, as its contract has no needs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub needs: Option<Vec<String>>,
}
