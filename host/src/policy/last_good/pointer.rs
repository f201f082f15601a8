//! A pointer: which files serve, and which served before. It is replaced by rename, so that it is never incomplete.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::blobs::{Blob, Blobs};
use super::set::{Kept, Set};
use crate::file::{self, at};
use crate::policy::Slot;

/// The version of the layout; there was no other yet. A pointer with another number of slots has another version.
const VERSION: u32 = 1;
/// The most bytes of a pointer.
const MAX_BYTES: u64 = 16 << 20;
/// The most generations that are kept besides the one that serves, as many as are kept in memory.
const MOST_PAST: usize = 8;
/// The most bytes of files that only they have.
const MOST_PAST_BYTES: u64 = 256 << 20;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Pointer {
    version: u32,
    /// The policy folder, for people who read the file.
    of: PathBuf,
    /// The generation that serves; its members are the pointer's.
    #[serde(flatten)]
    pub(super) serving: Set,
    /// Those before, newest first. The start falls back on them if the one that serves was taken back.
    #[serde(default)]
    pub(super) past: Vec<Set>,
    /// The one before, as earlier gateways wrote it.
    #[serde(default, skip_serializing)]
    before: Option<[Kept; Slot::COUNT]>,
}

impl Pointer {
    /// Of a folder whose first policies serve.
    pub(super) fn new(of: &Path, serving: Set) -> Self {
        Self {
            version: VERSION,
            of: of.to_owned(),
            serving,
            past: Vec::new(),
            before: None,
        }
    }

    /// The pointer after this one.
    pub(super) fn followed_by(self, serving: Set, blobs: &Blobs) -> Self {
        let is_same = serving.is(&self.serving);
        let serving = match is_same {
            true => serving.began_with(&self.serving),
            false => serving,
        };
        let before = (!is_same).then_some(self.serving);
        let past = before.into_iter().chain(self.past);
        let mut past: Vec<Set> = past.filter(|past| !past.is(&serving)).collect();
        past.truncate(bound(&serving, &past, blobs));
        Self {
            serving,
            past,
            ..self
        }
    }

    /// Reads one.
    ///
    /// # Errors
    /// If it is not there, damaged, or of a newer gateway; the error names its path.
    pub(super) fn read(path: &Path) -> io::Result<Self> {
        let bytes = file::read(path, MAX_BYTES).map_err(|error| at(path, error))?;
        let mut pointer: Self = serde_json::from_slice(&bytes)
            .map_err(|error| at(path, io::Error::new(io::ErrorKind::InvalidData, error)))?;
        if pointer.version != VERSION {
            let found = pointer.version;
            let message =
                format!("expected version {VERSION}, found {found} (of a newer gateway?)");
            return Err(at(path, io::Error::other(message)));
        }
        if let Some(before) = pointer.before.take() {
            pointer.past.push(Set::before(&pointer.serving, before));
        }
        Ok(pointer)
    }

    /// Puts it in place of the one before.
    ///
    /// # Errors
    /// If the folder cannot be written.
    pub(super) fn write(&self, path: &Path) -> io::Result<()> {
        file::replace(path, &serde_json::to_vec(self)?)
    }

    /// All generations, newest first.
    pub(super) fn sets(&self) -> impl Iterator<Item = &Set> {
        std::iter::once(&self.serving).chain(&self.past)
    }

    /// All copies that it names.
    pub(super) fn blobs(&self) -> impl Iterator<Item = &Blob> {
        self.sets().flat_map(Set::blobs)
    }
}

/// How many of the past generations are kept. The last one always is: the start may fall back on it.
fn bound(serving: &Set, past: &[Set], blobs: &Blobs) -> usize {
    let mut known: HashSet<&str> = serving.blobs().map(|blob| blob.sha256.as_str()).collect();
    let mut bytes = 0;
    let kept = past.iter().take(MOST_PAST).take_while(|past| {
        let news = past.blobs().filter(|blob| known.insert(&blob.sha256));
        bytes += news.map(|blob| blobs.size(blob)).sum::<u64>();
        bytes <= MOST_PAST_BYTES
    });
    kept.count().max(past.len().min(1))
}
