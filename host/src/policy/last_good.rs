//! The operator's files that served last, kept in the state folder for a start whose policy folder is refused.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Slot;
use super::candidate::hex;
use super::candidate::{Instances, Options};
use super::given::{Files, Given, Named};
use super::guest::Limits;
use super::pin::Pin;
use crate::file::{self, at};

/// The subfolder of the state folder.
pub(super) const FOLDER: &str = "policies";
/// The first part of a pointer's file name; the digest of its policy folder follows. A pointer names the blobs that served last,
/// and is replaced by rename, so that it is never incomplete.
const POINTER: &str = "last-good-";
/// The subfolder of copied files, each named by its SHA-256.
const BLOBS: &str = "blobs";
/// The version of the pointer's layout; there was no other yet. A pointer with another number of slots has another version.
const VERSION: u32 = 1;
/// The most bytes of a pointer or a blob; no file of the operator's is larger.
const MAX_BYTES: u64 = 64 << 20;
/// Blobs that no pointer names are removed when they are older: another gateway may have written them and be about to
/// replace its pointer.
const ORPHANED: Duration = Duration::from_secs(60);

/// The most pointers that are kept. Each folder that a symbolic link led to has one.
const MOST_POINTERS: usize = 64;

/// The most symbolic links that are followed one after the other; Linux has the same limit.
const MOST_LINKS: u32 = 40;

/// The place of the last good files of one policy folder: gateways with other policy folders may share the state folder.
#[derive(Debug, Clone)]
pub(super) struct LastGood {
    folder: PathBuf,
    /// `POLICY_DIR` as the operator wrote it, made absolute.
    of: PathBuf,
}

/// The files that serve, and who pinned them.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Serving {
    pub(super) given: [Given; Slot::COUNT],
    pub(super) pin: Option<Pin>,
}

/// The files that served last.
#[derive(Debug, PartialEq)]
pub(super) struct Past {
    /// The time when they began to serve.
    pub(super) since: SystemTime,
    pub(super) given: [Given; Slot::COUNT],
}

#[derive(Serialize, Deserialize)]
struct Pointer {
    version: u32,
    /// The policy folder, for people who read the file.
    of: PathBuf,
    /// Seconds since 1970.
    since: u64,
    /// In the order of the slots.
    slots: [Kept; Slot::COUNT],
    /// Those before: the start falls back on them if the others were taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    before: Option<[Kept; Slot::COUNT]>,
    /// The operator who pinned them: a start does not look at the policy folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pin: Option<Pin>,
}

#[derive(PartialEq, Serialize, Deserialize)]
struct Kept {
    component: Option<Blob>,
    settings: Option<Blob>,
    instances: Instances,
    credential: bool,
    memory_bytes: usize,
    deadline_ms: u64,
    wall_ms: u64,
    built_in: bool,
}

#[derive(PartialEq, Serialize, Deserialize)]
struct Blob {
    name: String,
    sha256: String,
}

impl LastGood {
    /// The last good files of this policy folder, in the gateway's state folder.
    pub(super) fn new(state: &Path, of: &Path) -> Self {
        let absolute = std::path::absolute(of).unwrap_or_else(|_| of.to_owned());
        Self {
            folder: state.join(FOLDER),
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
        let name = |blob: Option<Blob>| blob.map(|blob| blob.name);
        let files = |kept: Kept| Files {
            component: name(kept.component),
            settings: name(kept.settings),
        };
        let pointer = self.pointer()?;
        Ok(pointer.map(|pointer| pointer.slots.map(files)))
    }

    /// The files that served last, and then those before them; none if nothing was saved.
    ///
    /// # Errors
    /// If something was saved and cannot be read, or differs from its digest.
    pub(super) fn read(&self) -> io::Result<Vec<Past>> {
        let Some(pointer) = self.pointer()? else {
            return Ok(Vec::new());
        };
        let since = UNIX_EPOCH + Duration::from_secs(pointer.since);
        let past = |slots: [Kept; Slot::COUNT]| -> io::Result<Past> {
            let [auth, model, rate_limit, tool_stop] = slots.map(|kept| self.given(kept));
            let given = [auth?, model?, rate_limit?, tool_stop?];
            Ok(Past { since, given })
        };
        let mut found = vec![past(pointer.slots)?];
        // They are wanted only if the first ones may not serve: their damage is none of the first.
        found.extend(pointer.before.and_then(|before| past(before).ok()));
        Ok(found)
    }

    /// Saves the serving files in place of the ones before, completely or not at all. A pointer that cannot be read is moved
    /// aside, and its new path is returned.
    ///
    /// # Errors
    /// If the folder cannot be written.
    pub(super) fn keep(&self, serving: &Serving) -> io::Result<Option<PathBuf>> {
        let blobs = self.folder.join(BLOBS);
        let state = self.folder.parent().unwrap_or(&self.folder);
        file::restore_folder(state).map_err(|error| at(state, error))?;
        file::make_folder(&blobs).map_err(|error| at(&blobs, error))?;
        let [auth, model, rate_limit, tool_stop] =
            serving.given.each_ref().map(|given| kept(&blobs, given));
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let mut pointer = Pointer {
            version: VERSION,
            of: self.of.clone(),
            since: now.unwrap_or_default().as_secs(),
            slots: [auth?, model?, rate_limit?, tool_stop?],
            before: None,
            pin: serving.pin.clone(),
        };
        let pointers = self.pointers();
        let (mut is_news, mut aside) = (false, None);
        for (path, of) in &pointers {
            match read_pointer(path) {
                Ok(before) if before.slots == pointer.slots && before.pin == pointer.pin => {
                    continue;
                }
                Ok(before) if before.slots == pointer.slots => pointer.before = before.before,
                Ok(before) => pointer.before = Some(before.slots),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) if file::may_pass(&error) => return Err(error),
                Err(_) => aside = Some(move_aside(path)?),
            }
            of.clone_into(&mut pointer.of);
            file::replace(path, &serde_json::to_vec(&pointer)?)?;
            is_news = true;
        }
        if is_news {
            sweep(&self.folder, &pointers)?;
        }
        Ok(aside)
    }

    /// The operator who pinned the files that served last, if one did.
    ///
    /// # Errors
    /// If something was saved and cannot be read.
    pub(super) fn pin(&self) -> io::Result<Option<Pin>> {
        Ok(self.pointer()?.and_then(|pointer| pointer.pin))
    }

    fn pointer(&self) -> io::Result<Option<Pointer>> {
        for (path, _) in self.pointers() {
            match read_pointer(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                read => return read.map(Some),
            }
        }
        Ok(None)
    }

    fn given(&self, kept: Kept) -> io::Result<Given> {
        let named = |blob: Option<Blob>| blob.map(|blob| self.named(blob)).transpose();
        Ok(Given {
            component: named(kept.component)?,
            settings: named(kept.settings)?,
            options: Options {
                instances: kept.instances,
                credential: kept.credential,
                limits: Limits {
                    memory: kept.memory_bytes,
                    deadline: Duration::from_millis(kept.deadline_ms),
                    wall: Duration::from_millis(kept.wall_ms),
                    ..Limits::default()
                },
            },
            built_in: kept.built_in,
        })
    }

    fn named(&self, Blob { name, sha256 }: Blob) -> io::Result<Named> {
        // The digest becomes part of a path, so it must be hexadecimal digits only.
        let is_digest = sha256.len() == 64 && sha256.bytes().all(|byte| byte.is_ascii_hexdigit());
        let path = self.folder.join(BLOBS).join(&sha256);
        let bytes = match is_digest {
            true => file::read(&path, MAX_BYTES).map_err(|error| at(&path, error))?,
            false => Vec::new(),
        };
        if hex(&Sha256::digest(&bytes)) != sha256 {
            let message = format!("{}: what was kept of {name} is damaged", path.display());
            return Err(io::Error::other(message));
        }
        let bytes = bytes.into();
        Ok(Named { name, bytes })
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
    match fs::rename(pointer, &aside) {
        Ok(()) => Ok(aside),
        Err(error) => Err(at(pointer, error)),
    }
}

fn read_pointer(path: &Path) -> io::Result<Pointer> {
    let bytes = file::read(path, MAX_BYTES).map_err(|error| at(path, error))?;
    let pointer: Pointer = serde_json::from_slice(&bytes)
        .map_err(|error| at(path, io::Error::new(io::ErrorKind::InvalidData, error)))?;
    if pointer.version != VERSION {
        let found = pointer.version;
        let message = format!("expected version {VERSION}, found {found} (of a newer gateway?)");
        return Err(at(path, io::Error::other(message)));
    }
    Ok(pointer)
}

fn kept(blobs: &Path, given: &Given) -> io::Result<Kept> {
    let blob = |named: &Option<Named>| -> io::Result<Option<Blob>> {
        let Some(Named { name, bytes }) = named else {
            return Ok(None);
        };
        let sha256 = hex(&Sha256::digest(bytes));
        let path = blobs.join(&sha256);
        let before = file::read(&path, MAX_BYTES);
        if before.as_ref().is_ok_and(|before| **before != **bytes) {
            tracing::warn!(file = %name, blob = %path.display(), "what was kept of a policy was damaged: it is written anew");
        }
        if before.ok().as_deref() != Some(&**bytes) {
            file::replace(&path, bytes)?;
        }
        let name = name.clone();
        Ok(Some(Blob { name, sha256 }))
    };
    let Options {
        instances,
        credential,
        limits,
    } = given.options;
    Ok(Kept {
        component: blob(&given.component)?,
        settings: blob(&given.settings)?,
        instances,
        credential,
        memory_bytes: limits.memory,
        deadline_ms: limits.deadline.as_millis() as u64,
        wall_ms: limits.wall.as_millis() as u64,
        built_in: given.built_in,
    })
}

/// Removes the oldest pointers, except `ours`, and the blobs that no pointer names any more, so that the folder does not grow.
/// Removes nothing while a pointer cannot be read.
fn sweep(folder: &Path, ours: &[(PathBuf, PathBuf)]) -> io::Result<()> {
    let mut pointers = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if !name.starts_with(POINTER) || !name.ends_with(".json") {
            continue;
        }
        let Ok(pointer) = read_pointer(&path) else {
            return Ok(());
        };
        let is_ours = ours.iter().any(|(ours, _)| *ours == path);
        let slots = [Some(pointer.slots), pointer.before].into_iter().flatten();
        let slots: Vec<Kept> = slots.flatten().collect();
        pointers.push((is_ours, pointer.since, path, slots));
    }
    pointers.sort_by_key(|(is_ours, since, ..)| Reverse((*is_ours, *since)));
    for (_, _, path, _) in pointers.drain(MOST_POINTERS.min(pointers.len())..) {
        fs::remove_file(path)?;
    }
    let slots = pointers.into_iter().flat_map(|(.., slots)| slots);
    let blobs = slots.flat_map(|kept| [kept.component, kept.settings]);
    let used: HashSet<_> = blobs.flatten().map(|blob| blob.sha256).collect();
    for entry in fs::read_dir(folder.join(BLOBS))? {
        let entry = entry?;
        let name = entry.file_name();
        let is_used = name.to_str().is_some_and(|name| used.contains(name));
        let age = entry.metadata()?.modified()?.elapsed().unwrap_or_default();
        if !is_used && age > ORPHANED {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
