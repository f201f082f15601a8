//! The reasons why a backend cannot start at all, and which of them are configuration mistakes.

use std::io::ErrorKind;
use std::path::PathBuf;

use super::binary::ProbeError;
use super::version;

/// Why the backend cannot be started at all. A worker that fails to start is no such reason: it is tried again.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The program cannot be asked what it is.
    #[error(transparent)]
    Probe(#[from] ProbeError),
    /// The program's `app-server` is not the one the gateway speaks to, or it has none.
    #[error(
        "Codex {version} has no `app-server` that the gateway can use; it needs {needed} or newer: \
         `npm install -g @openai/codex`", needed = version::oldest()
    )]
    TooOld {
        /// The program's version.
        version: String,
    },
    /// The program's `proto` is gone, or it never had one.
    #[error(
        "Codex {version} has no `proto`, which ended with 0.42: leave CODEX_BACKEND unset, or install that with \
         `npm install -g @openai/codex@0.42.0`"
    )]
    NoProto {
        /// The program's version.
        version: String,
    },
    /// The program has nothing the gateway can speak to.
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
    /// The program's models cannot be had.
    #[error("Codex is of no use: {0}")]
    Catalogue(#[from] CatalogueError),
    /// The working folder cannot be made.
    #[error("PROXY_CODEX_WORKDIR: {path} cannot be made: {cause}", path = .path.display())]
    Workdir {
        /// The folder.
        path: PathBuf,
        /// The system's words.
        cause: std::io::Error,
    },
    /// The gateway's own folder cannot be made.
    #[error("no folder for Codex: {0}")]
    Folder(#[from] std::io::Error),
}

impl StartError {
    /// Whether trying again as it is cannot help: the operator must install another program, or change a setting.
    #[must_use]
    pub fn is_configuration(&self) -> bool {
        match self {
            Self::Probe(error) => error.is_configuration(),
            Self::TooOld { .. }
            | Self::NoProto { .. }
            | Self::NoServer { .. }
            | Self::NoAgent { .. }
            | Self::Catalogue(_) => true,
            Self::Workdir { cause, .. } => !matches!(
                cause.kind(),
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::OutOfMemory
            ),
            Self::Folder(_) => false,
        }
    }
}

/// What a catalogue cannot be used for.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    /// Not what `codex debug models` prints.
    #[error("its list of models cannot be read: {0}")]
    Json(#[from] serde_json::Error),
    /// No models in it.
    #[error("its list of models is empty")]
    Empty,
}
