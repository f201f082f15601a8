//! The reasons why a backend cannot start at all, and which of them are configuration mistakes.

use std::io::ErrorKind;
use std::path::PathBuf;

use super::binary::ProbeError;
use super::version;
use crate::file;

/// Why the backend cannot start at all. A worker that fails to start is no such error: it is started again.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The program cannot be asked for its version and protocols.
    #[error(transparent)]
    Probe(#[from] ProbeError),
    /// The program has no `app-server`, or one that the gateway cannot use.
    #[error(
        "Codex {version} has no `app-server` that the gateway can use; it needs {needed} or newer: \
         `npm install -g @openai/codex`", needed = version::oldest()
    )]
    TooOld {
        /// The program's version.
        version: String,
    },
    /// The program's version no longer has `proto`, or never had it.
    #[error(
        "Codex {version} has no `proto`, which ended with 0.42: leave CODEX_BACKEND unset, or install that with \
         `npm install -g @openai/codex@0.42.0`"
    )]
    NoProto {
        /// The program's version.
        version: String,
    },
    /// The program has no protocol that the gateway speaks.
    #[error(
        "Codex {version} has neither `app-server` nor `proto`: install a newer one with \
         `npm install -g @openai/codex`"
    )]
    NoServer {
        /// The program's version.
        version: String,
    },
    /// The program cannot work as an agent.
    #[error(
        "Codex {version} speaks only `proto`, by which it cannot work as an agent: leave CODEX_MODE unset, or install a \
         newer one with `npm install -g @openai/codex`"
    )]
    NoAgent {
        /// The program's version.
        version: String,
    },
    /// The program's list of models cannot be used.
    #[error("Codex is of no use: {0}")]
    Catalogue(#[from] CatalogueError),
    /// The working folder cannot be made.
    #[error("PROXY_CODEX_WORKDIR: {path} cannot be made: {cause}", path = .path.display())]
    Workdir {
        /// The folder.
        path: PathBuf,
        /// The error of the system.
        cause: std::io::Error,
    },
    /// The protocol log cannot be written.
    #[error("PROTO_LOG_PATH: cannot write {path}: {cause}", path = .path.display())]
    ProtocolLog {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        cause: std::io::Error,
    },
    /// The gateway's own folder cannot be made.
    #[error("no folder for Codex: {0}")]
    Folder(#[from] std::io::Error),
}

impl StartError {
    /// Whether another try without a change cannot help: the operator must install another program, or change a setting.
    #[must_use]
    pub fn is_configuration(&self) -> bool {
        match self {
            Self::Probe(error) => error.is_configuration(),
            Self::TooOld { .. }
            | Self::NoProto { .. }
            | Self::NoServer { .. }
            | Self::NoAgent { .. }
            | Self::Catalogue(_) => true,
            Self::ProtocolLog { cause, .. } => file::is_misplaced(cause),
            Self::Workdir { cause, .. } => !matches!(
                cause.kind(),
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::OutOfMemory
            ),
            Self::Folder(_) => false,
        }
    }
}

/// Why a list of models cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    /// The list is not in the form that `codex debug models` prints.
    #[error("its list of models cannot be read: {0}")]
    Json(#[from] serde_json::Error),
    /// The list has no models.
    #[error("its list of models is empty")]
    Empty,
}
