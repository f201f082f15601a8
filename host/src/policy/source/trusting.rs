//! The signatures of a policy folder: which keys a source trusts, and which files are to be signed.

use std::path::Path;

use super::super::distrust::Distrust;
use super::super::fault::{Problem, Refusal, Refusals};
use super::super::folder::{Folder, MAX_COMPONENT};
use super::super::given::Overlay;
use super::super::manifest::{MANIFEST, Manifest};
use super::super::trust::{Signed, Trust};
use super::Source;
use crate::file;

/// A candidate's own rules, which an upload may have.
const OWN_RULES: &str = "rollout.toml";

impl Source {
    /// Refuses files that are not signed by a trusted key.
    #[must_use]
    pub fn trusting(mut self, trust: Trust) -> Self {
        self.folder.trust = trust;
        self
    }

    /// The keys whose signatures count.
    #[must_use]
    pub fn trust(&self) -> &Trust {
        &self.folder.trust
    }

    /// The folder, in which these files are about to be replaced: the signatures of those that are there mean nothing any more.
    pub(super) fn replacing(&self, files: &Overlay) -> Folder {
        let replaced = [&files.component, &files.settings].into_iter().flatten();
        let names = replaced.map(|file| file.name.clone()).collect();
        Folder {
            path: self.folder.path.clone(),
            trust: self.folder.trust.replacing(names),
        }
    }
}

/// The names of the files in a policy folder that are to be signed: those that a gateway reads, and a `rollout.toml`.
///
/// # Errors
/// If its `policies.toml` has mistakes, or the folder cannot be read.
pub fn files_to_sign(folder: &Path) -> Result<Vec<String>, Refusals> {
    let trust = Trust::default();
    let manifest = Manifest::read(Some(folder), &trust);
    let manifest = manifest.map_err(|refusal| Refusals(vec![refusal]))?;
    if !manifest.mistakes.is_empty() {
        return Err(Refusals(manifest.mistakes));
    }
    let path = Some(folder.to_owned());
    let slots = Folder { path, trust }.expected().into_iter().flatten();
    let of_slots = slots.flat_map(|files| [files.component, files.settings]);
    let names = [MANIFEST, OWN_RULES].map(|name| Some(name.to_owned()));
    let names = names.into_iter().chain(of_slots).flatten();
    let is_there = |name: &String| folder.join(name).symlink_metadata().is_ok();
    let mut names: Vec<_> = names.filter(is_there).collect();
    // Two slots may have one file.
    names.sort();
    names.dedup();
    Ok(names)
}

/// Verifies a policy folder as a gateway does: each file with its signature, or the refusal.
#[must_use]
pub fn verify_folder(folder: &Path, trust: &Trust) -> Vec<Result<(String, Signed), Refusal>> {
    let names = match files_to_sign(folder) {
        Ok(names) => names,
        Err(Refusals(refusals)) => return refusals.into_iter().map(Err).collect(),
    };
    let missing = (!names.iter().any(|name| name == MANIFEST)).then(|| {
        let problem = Problem::Untrusted(Distrust::NoManifest);
        refusal(MANIFEST.to_owned(), problem)
    });
    let verified = names.into_iter().map(|name| {
        let read = file::read_within(folder, &name, MAX_COMPONENT);
        let problem = match read {
            Ok(bytes) => match trust.verify_in(folder, &name, &bytes) {
                Ok(Some(signed)) => return Ok((name, signed)),
                Ok(None) => Problem::Untrusted(Distrust::Unsigned(name.clone())),
                Err(problem) => problem,
            },
            Err(error) => Problem::of_io(&error, Problem::Unreadable),
        };
        Err(refusal(name, problem))
    });
    verified.chain(missing.map(Err)).collect()
}

fn refusal(file: String, problem: Problem) -> Refusal {
    Refusal {
        file,
        slot: None,
        problem,
    }
}
