//! The operator's files that serve and that served before, kept in the state folder: for a start whose policy folder is refused,
//! and to go back to them after a restart.
//!
//! `blobs` has copies of the files, `set` the files of one generation, `pointer` the list of generations of one policy folder.

mod blobs;
mod pointer;
mod set;

use std::cmp::Reverse;
use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::Slot;
use super::candidate::hex;
use super::given::{Files, Given};
use super::pin::Pin;
use crate::file::{self, at};
use blobs::Blobs;
use pointer::Pointer;
pub(super) use set::{Serving, Set};

/// The subfolder of the state folder.
pub(super) const FOLDER: &str = "policies";
/// The first part of a pointer's file name; the digest of its policy folder follows.
const POINTER: &str = "last-good-";
/// The subfolder of copied files.
const BLOBS: &str = "blobs";
/// Held while pointers are replaced: several gateways may share the state folder.
const LOCK: &str = "last-good.lock";
/// The most pointers that are kept. Each folder that a symbolic link led to has one.
const MOST_POINTERS: usize = 64;
/// The age at which the beginning of a file that was never completed is removed.
const UNFINISHED: Duration = Duration::from_secs(60);

/// The most symbolic links that are followed one after the other; Linux has the same limit.
const MOST_LINKS: u32 = 40;

/// The place of the last good files of one policy folder: gateways with other policy folders may share the state folder.
#[derive(Debug, Clone)]
pub(super) struct LastGood {
    folder: PathBuf,
    blobs: Blobs,
    /// `POLICY_DIR` as the operator wrote it, made absolute.
    of: PathBuf,
}

impl LastGood {
    /// The last good files of this policy folder, in the gateway's state folder.
    pub(super) fn new(state: &Path, of: &Path) -> Self {
        let absolute = std::path::absolute(of).unwrap_or_else(|_| of.to_owned());
        let folder = state.join(FOLDER);
        Self {
            blobs: Blobs(folder.join(BLOBS)),
            folder,
            of: absolute.components().collect(),
        }
    }

    /// The policy folder's names, each with its pointer. The first is the configured name: if a symbolic link is changed to point
    /// elsewhere, the past stays with the link. The second is the resolved folder, which may be configured without the link next
    /// time.
    fn pointers(&self) -> Vec<(PathBuf, PathBuf)> {
        let mut names = vec![self.of.clone(), resolve(&self.of, MOST_LINKS)];
        names.dedup();
        let pointer = |of: PathBuf| {
            let digest = hex(&Sha256::digest(of.as_os_str().as_encoded_bytes()));
            let name = format!("{POINTER}{}.json", &digest[..16]);
            (self.folder.join(name), of)
        };
        names.into_iter().map(pointer).collect()
    }

    /// The names of the files that served last; `None` if nothing was saved.
    ///
    /// # Errors
    /// If something was saved and cannot be read; the error names the path.
    pub(super) fn files(&self) -> io::Result<Option<[Files; Slot::COUNT]>> {
        Ok(self.pointer()?.map(|pointer| pointer.serving.files()))
    }

    /// The generation that served last, and then those before it, newest first; none if nothing was saved.
    ///
    /// # Errors
    /// If something was saved and cannot be read.
    pub(super) fn sets(&self) -> io::Result<Vec<Set>> {
        let pointer = self.pointer()?;
        Ok(pointer.map_or_else(Vec::new, |pointer| pointer.sets().cloned().collect()))
    }

    /// The files of a generation.
    ///
    /// # Errors
    /// If one is gone, or differs from its digest.
    pub(super) fn given(&self, set: &Set) -> io::Result<[Given; Slot::COUNT]> {
        set.get(&self.blobs)
    }

    /// Saves the serving files, completely or not at all; those before become the past. A pointer that cannot be read is moved
    /// aside, and its new path is returned.
    ///
    /// # Errors
    /// If the folder cannot be written, or another gateway holds it.
    pub(super) fn keep(&self, serving: &Serving) -> io::Result<Option<PathBuf>> {
        let state = self.folder.parent().unwrap_or(&self.folder);
        file::restore_folder(state).map_err(|error| at(state, error))?;
        let Blobs(blobs) = &self.blobs;
        file::make_folder(blobs).map_err(|error| at(blobs, error))?;
        let _lock = file::lock(&self.folder.join(LOCK))?;
        let set = Set::put(serving, &self.blobs)?;
        let pointers = self.pointers();
        let (mut is_news, mut aside) = (false, None);
        for (path, of) in &pointers {
            let before = match Pointer::read(path) {
                Ok(before) => Some(before),
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                Err(error) if file::may_pass(&error) => return Err(error),
                Err(_) => {
                    aside = Some(move_aside(path)?);
                    None
                }
            };
            let next = match before.clone() {
                Some(before) => before.followed_by(set.clone(), &self.blobs),
                None => Pointer::new(of, set.clone()),
            };
            if before.as_ref() != Some(&next) {
                next.write(path)?;
                is_news = true;
            }
        }
        if is_news {
            self.sweep(&pointers)?;
        }
        Ok(aside)
    }

    /// The operator who pinned the files that served last, if one did.
    ///
    /// # Errors
    /// If something was saved and cannot be read.
    pub(super) fn pin(&self) -> io::Result<Option<Pin>> {
        let pointer = self.pointer()?;
        Ok(pointer.and_then(|pointer| pointer.serving.pin().cloned()))
    }

    fn pointer(&self) -> io::Result<Option<Pointer>> {
        for (path, _) in self.pointers() {
            match Pointer::read(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                read => return read.map(Some),
            }
        }
        Ok(None)
    }

    /// Removes the oldest pointers, except `ours`, the copies that no pointer names any more, and what kills left unfinished, so that
    /// the folder does not grow. Removes nothing while a pointer cannot be read.
    fn sweep(&self, ours: &[(PathBuf, PathBuf)]) -> io::Result<()> {
        file::remove_unfinished(&self.folder, UNFINISHED)?;
        let mut pointers = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if !name.starts_with(POINTER) || !name.ends_with(".json") {
                continue;
            }
            let Ok(pointer) = Pointer::read(&path) else {
                return Ok(());
            };
            let is_ours = ours.iter().any(|(ours, _)| *ours == path);
            pointers.push((is_ours, pointer, path));
        }
        pointers.sort_by_key(|(is_ours, pointer, _)| Reverse((*is_ours, pointer.serving.since())));
        for (_, _, path) in pointers.drain(MOST_POINTERS.min(pointers.len())..) {
            file::remove(&path)?;
        }
        let blobs = pointers.iter().flat_map(|(_, pointer, _)| pointer.blobs());
        let used: HashSet<&str> = blobs.map(|blob| blob.sha256.as_str()).collect();
        self.blobs.sweep(&used)
    }
}

/// The resolved folder, also while it or the target of a symbolic link does not exist, for example because it is not mounted.
fn resolve(path: &Path, links: u32) -> PathBuf {
    let absolute = || std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    if let Ok(found) = path.canonicalize() {
        return found;
    }
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return absolute();
    };
    let parent = match parent.as_os_str().is_empty() {
        true => Path::new("."),
        false => parent,
    };
    match fs::read_link(path) {
        Ok(target) if links > 0 => resolve(&parent.join(target), links - 1),
        _ => resolve(parent, links).join(name),
    }
}

/// Keeps a pointer that cannot be read, which may be of another version and still useful.
fn move_aside(pointer: &Path) -> io::Result<PathBuf> {
    let aside = pointer.with_extension("damaged");
    match file::rename(pointer, &aside) {
        Ok(()) => Ok(aside),
        Err(error) => Err(at(pointer, error)),
    }
}

#[cfg(test)]
mod tests;
