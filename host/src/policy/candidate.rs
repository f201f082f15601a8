//! A component with its settings and options, as it is offered for a slot; and what is known of it afterwards.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::Slot;
use super::fault::{Problem, Refusal};
use super::guest::Limits;

/// Where settings come from that there are none of: the operator's component has no settings file, and the environment's
/// are those of the built-in one.
pub(super) const NONE: &str = "none";

/// How decisions get their instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Instances {
    /// A fresh one each, from the snapshot of the configured component.
    Frozen,
    /// A configured one, used again.
    Warm,
}

impl Instances {
    /// As `policies.toml` spells it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Frozen => "frozen",
            Self::Warm => "warm",
        }
    }
}

/// What the host, not the guest, must know of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Options {
    /// Frozen unless the component cannot be, or the operator prefers warm.
    pub instances: Instances,
    /// The auth policy may see the secret itself.
    pub credential: bool,
    /// What a call may use.
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

/// What is to be prepared for one slot.
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
    /// A JSON object, the host's member included.
    pub settings: String,
    /// The host's part.
    pub options: Options,
}

impl Candidate {
    /// Equal for candidates that prepare to the same policy.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(Sha256::digest(&self.wasm));
        hash.update(self.settings.as_bytes());
        hash.update(format!("{:?}{:?}", self.slot, self.options));
        hash.finalize().into()
    }

    pub(super) fn refuse(&self, problem: Problem) -> Refusal {
        let of_settings = matches!(
            problem,
            Problem::Settings(_) | Problem::SettingsShape(_) | Problem::SettingsMistakes(_)
        );
        let file = match of_settings && self.settings_file != NONE {
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

/// What is known of a policy, for logs and health.
#[derive(Debug, Clone, serde::Serialize)]
pub struct About {
    /// The component's own name.
    pub name: String,
    /// The component's own version.
    pub version: String,
    /// The file it came from, or "built-in".
    pub file: String,
    /// Where its settings came from.
    pub settings: String,
    /// SHA-256 of the component, hexadecimal.
    pub sha256: String,
    /// How it runs.
    pub instances: Instances,
    /// Why it runs warm, if it was to be frozen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warm_because: Option<String>,
}

/// In lower case.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
