//! Decides recorded decisions again, with the policies as they are configured.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::check::{checking_engine, models};
use super::{StartError, facts, source};
use crate::config::Config;
use crate::file;
use crate::policy::{self, Replayed, Slot, SlotFiles, Undecided};

/// The largest component or settings file.
const LARGEST: u64 = 64 << 20;

/// Why records cannot be decided again.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The gateway could not start either.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The policies or the records are at fault.
    #[error(transparent)]
    Undecided(#[from] Undecided),
}

/// Decides these records again: with the configured policies, and with `files` in place of theirs. The Codex program is asked for
/// its models, which policies know.
///
/// # Errors
/// Everything that a start would refuse, and damaged records.
pub async fn replay(
    config: &Config,
    files: [SlotFiles; Slot::COUNT],
    records: &[PathBuf],
) -> Result<Replayed, ReplayError> {
    let models = models(config).await.map_err(StartError::from)?;
    let engine = checking_engine(config)?;
    let (source, facts) = (source(config), facts(config, Some(models)));
    Ok(policy::replay_records(&engine, (&source, &facts), files, records).await?)
}

/// Reads the signature beside a file, if there is one.
///
/// # Errors
/// If it is no regular file, too large, or cannot be read.
pub fn signature_of(path: &Path) -> std::io::Result<Option<Arc<[u8]>>> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(policy::SIGNATURE_ENDING);
    match file::read(Path::new(&beside), policy::MAX_SIGNATURE) {
        Ok(signature) => Ok(Some(signature.into())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads a component, or settings, that are to be tried.
///
/// # Errors
/// If it is no regular file, too large, or cannot be read.
pub fn replacement(path: &Path) -> std::io::Result<Arc<[u8]>> {
    file::read(path, LARGEST).map(Into::into)
}
