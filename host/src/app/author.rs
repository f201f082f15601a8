//! Single policies for their authors: the engine and the facts that they are tried with, and their way into a policy folder.

use std::path::{Path, PathBuf};

use super::check::{checking_engine, models};
use super::{StartError, facts};
use crate::codex::Backend;
use crate::config::Config;
use crate::file;
use crate::policy::{self, Digest, Draft, Engine, Facts, MAX_CASE, Notice, Refusals, Slot, Source};

/// An engine, and the facts of a gateway with the built-in demo: a policy is tried alike on every machine. Nothing is written.
///
/// # Errors
/// If components cannot run on this machine.
pub fn workbench(config: &Config) -> Result<(Engine, Facts), StartError> {
    let models = Backend::demo().models();
    let facts = Facts {
        environment: "dev".to_owned(),
        cors: false,
        codex_model: Some(models.default.clone()),
        ..facts(config, Some(models))
    };
    Ok((checking_engine(config)?, facts))
}

/// Reads a case.
///
/// # Errors
/// If it is no regular file, too large, or cannot be read.
pub fn read_case(path: &Path) -> std::io::Result<Vec<u8>> {
    file::read(path, MAX_CASE)
}

/// Reads a short text: a key, or a password.
///
/// # Errors
/// If it is no regular file, too large, or cannot be read.
pub fn read_small(path: &Path) -> std::io::Result<String> {
    file::read_text(path, policy::MAX_SIGNATURE)
}

/// Writes a signature beside its file, whole or not at all.
///
/// # Errors
/// If the folder cannot be written.
pub fn write_signature(path: &Path, signature: &str) -> std::io::Result<()> {
    // A name without a folder has none that it could be written beside.
    file::put(&[(std::path::absolute(path)?, signature)])
}

/// Writes files, each whole or not at all.
///
/// # Errors
/// If a folder cannot be written.
pub fn write_files(files: &[(PathBuf, std::sync::Arc<[u8]>)]) -> std::io::Result<()> {
    file::put(files)
}

/// Files that passed every check, on their way into a policy folder.
pub struct Deployed {
    /// The slot.
    pub slot: Slot,
    /// The digest of the slot's policy.
    pub digest: Digest,
    /// Warnings.
    pub notices: Vec<Notice>,
    /// Whether the folder's rules have steps that they take before they serve.
    pub takes_steps: bool,
    /// The files, and their places.
    files: Vec<(PathBuf, std::sync::Arc<[u8]>)>,
}

impl Deployed {
    /// The files that are written.
    pub fn places(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(|(place, _)| place.as_path())
    }
}

/// Checks a policy over those in a folder, as a start with that folder would. Nothing is written.
///
/// # Errors
/// Everything that a start would refuse.
pub async fn deploy(config: &Config, draft: Draft, to: &Path) -> Result<Deployed, StartError> {
    let models = models(config).await.map_err(StartError::from)?;
    let draft = Draft {
        facts: facts(config, Some(models)),
        ..draft
    };
    let engine = checking_engine(config)?;
    let source = Source::new(Some(to.to_owned()), config.policy_defaults.clone())
        .trusting(config.policy_trust.clone());
    let planned = policy::plan(&engine, &source, &draft).await;
    let planned = planned.map_err(|refusals| StartError::from(Refusals(refusals)))?;
    let files = planned.files.into_iter();
    Ok(Deployed {
        slot: draft.slot,
        digest: planned.digest,
        notices: planned.notices,
        takes_steps: planned.takes_steps,
        files: files.map(|(name, bytes)| (to.join(name), bytes)).collect(),
    })
}

/// Writes all files beside their places, and renames them into these then.
///
/// # Errors
/// If the folder cannot be written; with the files that were replaced nevertheless.
pub fn write_deployed(deployed: &Deployed) -> std::io::Result<()> {
    file::put(&deployed.files)
}
