//! `policies.toml`: what the host must know of a slot, beside the operator's components.

use std::io;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

use super::Slot;
use super::component::{Instances, Options};
use super::engine::MAX_MEMORY;
use super::fault::{Problem, Refusal};
use super::guest::Limits;

/// Beside the components; optional.
pub(super) const MANIFEST: &str = "policies.toml";

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Manifest {
    auth: Option<Entry>,
    model: Option<Entry>,
    rate_limit: Option<Entry>,
    tool_stop: Option<Entry>,
}

/// One slot's table in `policies.toml`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    pub(super) component: Option<String>,
    pub(super) settings: Option<String>,
    instances: Option<Instances>,
    #[serde(default)]
    grants: Vec<Grant>,
    memory_mib: Option<usize>,
    deadline_ms: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Grant {
    Credential,
}

impl Manifest {
    /// Reads the manifest of a folder, if there is one.
    pub(super) fn read(folder: Option<&Path>) -> Result<Self, Refusal> {
        let refuse = |problem| Refusal {
            file: MANIFEST.to_owned(),
            slot: Slot::Auth,
            problem,
        };
        let Some(folder) = folder else {
            return Ok(Self::default());
        };
        if let Err(error) = std::fs::read_dir(folder) {
            let file = folder.display().to_string();
            return Err(Refusal {
                file,
                slot: Slot::Auth,
                problem: Problem::Unreadable(error.to_string()),
            });
        }
        match std::fs::read_to_string(folder.join(MANIFEST)) {
            Ok(text) => toml::from_str(&text).map_err(|error| {
                refuse(Problem::Manifest(format!(
                    "tables auth, model, rate-limit, tool-stop; found: {}",
                    error.message()
                )))
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(refuse(Problem::Unreadable(error.to_string()))),
        }
    }

    /// What is said about a slot.
    pub(super) fn take(&mut self, slot: Slot) -> Entry {
        match slot {
            Slot::Auth => self.auth.take(),
            Slot::Model => self.model.take(),
            Slot::RateLimit => self.rate_limit.take(),
            Slot::ToolStop => self.tool_stop.take(),
        }
        .unwrap_or_default()
    }
}

impl Entry {
    /// How the slot's component is to be run.
    pub(super) fn options(&self) -> Result<Options, Problem> {
        let default = Limits::default();
        let memory = self
            .memory_mib
            .map_or(default.memory, |mib| mib.saturating_mul(1 << 20));
        if memory == 0 || memory > MAX_MEMORY {
            return Err(Problem::Manifest(format!(
                "memory_mib from 1 to {}, found {}",
                MAX_MEMORY >> 20,
                memory >> 20
            )));
        }
        let deadline = self
            .deadline_ms
            .map_or(default.deadline, Duration::from_millis);
        if deadline < Duration::from_millis(2) || deadline > Duration::from_secs(10) {
            return Err(Problem::Manifest(format!(
                "deadline_ms from 2 to 10000, found {}",
                deadline.as_millis()
            )));
        }
        let limits = Limits {
            memory,
            deadline,
            wall: default.wall.max(deadline * 10),
            ..default
        };
        let credential = self.grants.contains(&Grant::Credential);
        Ok(Options {
            instances: self.instances.unwrap_or(Instances::Frozen),
            credential,
            limits,
        })
    }
}
