//! The reasons why the gateway does not start.

use crate::policy::{self, Refusals};
use crate::{codex, listen, telemetry};

/// The reason why the gateway did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Components cannot run on this machine.
    #[error("the policy engine cannot start: {0:#}")]
    Engine(policy::EngineError),
    /// The first generation of policies is refused.
    #[error("the policies cannot serve: {0}")]
    Policies(#[from] Refusals),
    /// The signal to stop came before it could serve.
    #[error("stopped before it could serve")]
    Stopped,
    /// Codex cannot be used.
    #[error(transparent)]
    Codex(#[from] codex::StartError),
    /// Usage records cannot be written, or traces cannot be sent.
    #[error(transparent)]
    Telemetry(#[from] telemetry::StartError),
    /// Decisions cannot be recorded.
    #[error("decisions cannot be recorded: {0}")]
    Records(std::io::Error),
    /// A listener cannot be opened.
    #[error(transparent)]
    Listen(#[from] listen::Error),
}

impl StartError {
    /// Whether a retry without changes cannot help: the operator must change a file or a setting.
    #[must_use]
    pub fn is_configuration(&self) -> bool {
        match self {
            Self::Policies(refusals) => refusals.is_configuration(),
            Self::Codex(error) => error.is_configuration(),
            Self::Telemetry(error) => error.is_configuration(),
            Self::Records(error) => crate::file::is_misplaced(error),
            Self::Listen(error) => error.is_configuration(),
            Self::Engine(_) | Self::Stopped => false,
        }
    }
}
