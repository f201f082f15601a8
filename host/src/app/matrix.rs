//! Asks one or two generations what each caller may use, as they are configured.

use std::path::PathBuf;

use super::check::{checking_engine, known_models};
use super::{StartError, facts, source};
use crate::config::Config;
use crate::policy::{self, Asked, Axes, Lines, Notice, Slot, SlotFiles, Unasked};

/// The endpoints that are asked about if none is named: those that start a turn.
const ENDPOINTS: [&str; 4] = [
    "/v1/chat/completions",
    "/v1/responses",
    "/v1/completions",
    "/v1/messages",
];

/// The policies that are compared with the configured ones.
pub enum Other {
    /// Those of another folder.
    Folder(PathBuf),
    /// These files in place of the configured ones.
    Files([SlotFiles; Slot::COUNT]),
}

/// Why there is no matrix.
#[derive(Debug, thiserror::Error)]
pub enum MatrixError {
    /// The gateway could not start either.
    #[error(transparent)]
    Start(#[from] StartError),
    /// There is too much to ask about, or nothing.
    #[error("{0}")]
    Unasked(Unasked),
}

impl From<Unasked> for MatrixError {
    fn from(unasked: Unasked) -> Self {
        match unasked {
            Unasked::Refused(refusals) => Self::Start(refusals.into()),
            other => Self::Unasked(other),
        }
    }
}

/// The matrix of the configured policies or, with others, what would change. The Codex program is asked for its models; if it cannot be,
/// that is a warning.
///
/// # Errors
/// Everything that a start would refuse; that there is too much to ask about, or nothing.
pub async fn matrix(
    config: &Config,
    other: Option<Other>,
    axes: Axes,
) -> Result<(Lines, Option<Notice>), MatrixError> {
    let (models, unknown) = known_models(config).await;
    let engine = checking_engine(config)?;
    let facts = facts(config, models);
    let none = Default::default();
    let own = source(config);
    let mut generations = Vec::new();
    let first = Asked::prepare(&engine, (&own, &facts), none, None).await;
    generations.push(first.map_err(Unasked::from)?);
    let beside = generations.first();
    let second = match other {
        None => None,
        Some(Other::Files(files)) => {
            Some(Asked::prepare(&engine, (&own, &facts), files, beside).await)
        }
        Some(Other::Folder(folder)) => {
            let config = Config {
                policy_dir: Some(folder),
                ..config.clone()
            };
            let none = Default::default();
            Some(Asked::prepare(&engine, (&source(&config), &facts), none, beside).await)
        }
    };
    if let Some(second) = second {
        generations.push(second.map_err(Unasked::from)?);
    }
    let mut axes = axes;
    if axes.endpoints.is_empty() {
        let post = |path: &str| ("POST".to_owned(), path.to_owned());
        axes.endpoints = ENDPOINTS.map(post).into();
    }
    Ok((policy::matrix(&generations, &axes).await?, unknown))
}
