//! The operator's files that served last, kept in the state folder for a start whose policy folder is refused.

use std::collections::HashSet;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::component::{Instances, Options};
use super::given::{Files, Given, Named};
use super::guest::Limits;
use super::prepare::hex;
use crate::file;

/// In the state folder.
const FOLDER: &str = "policies";
/// Names the blobs that served last; replaced by rename, so that it is never half.
const POINTER: &str = "last-good.json";
/// Files by their SHA-256.
const BLOBS: &str = "blobs";
/// The only layout there was.
const VERSION: u32 = 1;
/// No file of an operator's is larger.
const MAX_BYTES: u64 = 64 << 20;
/// Blobs nobody points to are removed when they are older: another gateway may have written them and be about to
/// replace the pointer.
const ORPHANED: Duration = Duration::from_secs(60);

/// Where the last good files are kept, for one policy folder.
#[derive(Debug, Clone)]
pub(super) struct LastGood {
    folder: PathBuf,
    /// `POLICY_DIR`: what was served from another one says nothing about this one.
    of: PathBuf,
}

#[derive(Serialize, Deserialize)]
struct Pointer {
    version: u32,
    of: PathBuf,
    /// In the order of the slots.
    slots: [Kept; 4],
}

#[derive(Serialize, Deserialize)]
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

#[derive(Serialize, Deserialize)]
struct Blob {
    name: String,
    sha256: String,
}

impl LastGood {
    /// In the gateway's state folder, for this policy folder.
    pub(super) fn new(state: &Path, of: &Path) -> Self {
        Self {
            folder: state.join(FOLDER),
            of: of.to_owned(),
        }
    }

    /// The names of the files that served last; none if nothing is known.
    pub(super) fn files(&self) -> Option<[Files; 4]> {
        let pointer = self.pointer().ok().flatten()?;
        let name = |blob: Option<Blob>| blob.map(|blob| blob.name);
        Some(pointer.slots.map(|kept| Files {
            component: name(kept.component),
            settings: name(kept.settings),
        }))
    }

    /// What served last.
    ///
    /// # Errors
    /// If something was kept and cannot be read, or is not what was kept.
    pub(super) fn read(&self) -> io::Result<Option<[Given; 4]>> {
        let Some(pointer) = self.pointer()? else {
            return Ok(None);
        };
        let [auth, model, rate_limit, tool_stop] = pointer.slots.map(|kept| self.given(kept));
        Ok(Some([auth?, model?, rate_limit?, tool_stop?]))
    }

    /// Keeps what serves now instead of what served before, whole or not at all.
    ///
    /// # Errors
    /// If the folder cannot be written.
    pub(super) fn keep(&self, given: &[Given; 4]) -> io::Result<()> {
        let blobs = self.folder.join(BLOBS);
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700).create(&blobs)?;
        let [auth, model, rate_limit, tool_stop] =
            given.each_ref().map(|given| kept(&blobs, given));
        let pointer = Pointer {
            version: VERSION,
            of: self.of.clone(),
            slots: [auth?, model?, rate_limit?, tool_stop?],
        };
        write(&self.folder, POINTER, &serde_json::to_vec(&pointer)?)?;
        sweep(&blobs, &pointer)
    }

    fn pointer(&self) -> io::Result<Option<Pointer>> {
        let bytes = match file::read(&self.folder.join(POINTER), MAX_BYTES) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let pointer: Pointer = serde_json::from_slice(&bytes)?;
        if pointer.version != VERSION {
            let found = pointer.version;
            let message = format!("{POINTER}: expected version {VERSION}, found {found}");
            return Err(io::Error::other(message));
        }
        Ok((pointer.of == self.of).then_some(pointer))
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
        // The name of a blob is part of a path.
        let is_digest = sha256.len() == 64 && sha256.bytes().all(|byte| byte.is_ascii_hexdigit());
        let bytes = match is_digest {
            true => file::read(&self.folder.join(BLOBS).join(&sha256), MAX_BYTES)?,
            false => Vec::new(),
        };
        if hex(&Sha256::digest(&bytes)) != sha256 {
            let message = format!("what was kept of {name} is damaged");
            return Err(io::Error::other(message));
        }
        let bytes = bytes.into();
        Ok(Named { name, bytes })
    }
}

fn kept(blobs: &Path, given: &Given) -> io::Result<Kept> {
    let blob = |named: &Option<Named>| -> io::Result<Option<Blob>> {
        let Some(Named { name, bytes }) = named else {
            return Ok(None);
        };
        let sha256 = hex(&Sha256::digest(bytes));
        if !blobs.join(&sha256).exists() {
            write(blobs, &sha256, bytes)?;
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

/// Under its name at once, and readable by us alone: settings may hold secrets.
fn write(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(folder.join(name))?;
    File::open(folder)?.sync_all()
}

/// Removes what nobody points to any more, so that the folder does not grow.
fn sweep(blobs: &Path, pointer: &Pointer) -> io::Result<()> {
    let slots = pointer.slots.iter();
    let used: HashSet<&str> = slots
        .flat_map(|kept| [&kept.component, &kept.settings])
        .flatten()
        .map(|blob| blob.sha256.as_str())
        .collect();
    for entry in fs::read_dir(blobs)? {
        let entry = entry?;
        let is_used = entry
            .file_name()
            .to_str()
            .is_some_and(|name| used.contains(name));
        let age = entry.metadata()?.modified()?.elapsed().unwrap_or_default();
        if !is_used && age > ORPHANED {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::super::Slot;
    use super::*;

    fn given(settings: &str) -> [Given; 4] {
        Slot::ALL.map(|slot| Given {
            component: None,
            settings: (slot == Slot::Auth).then(|| Named {
                name: "auth.json".to_owned(),
                bytes: settings.as_bytes().into(),
            }),
            options: Options::default(),
            built_in: false,
        })
    }

    #[test]
    fn the_last_good_files_come_back_as_they_were() {
        let state = tempfile::tempdir().unwrap();
        let last = LastGood::new(state.path(), Path::new("/policies"));
        assert_eq!(last.read().unwrap(), None);
        last.keep(&given("{}")).unwrap();
        last.keep(&given(r#"{"realm":"x"}"#)).unwrap();
        assert_eq!(last.read().unwrap(), Some(given(r#"{"realm":"x"}"#)));
        let files = last.files().unwrap();
        assert_eq!(files[0].settings.as_deref(), Some("auth.json"));
    }

    #[test]
    fn another_policy_folder_has_another_past() {
        let state = tempfile::tempdir().unwrap();
        let last = LastGood::new(state.path(), Path::new("/policies"));
        last.keep(&given("{}")).unwrap();
        let other = LastGood::new(state.path(), Path::new("/others"));
        assert_eq!(other.read().unwrap(), None);
    }

    #[test]
    fn nobody_else_can_read_what_is_kept_and_damage_is_noticed() {
        let state = tempfile::tempdir().unwrap();
        let last = LastGood::new(state.path(), Path::new("/policies"));
        last.keep(&given("{}")).unwrap();
        let blobs = state.path().join(FOLDER).join(BLOBS);
        let blob = fs::read_dir(&blobs)
            .unwrap()
            .next()
            .unwrap()
            .unwrap()
            .path();
        assert_eq!(fs::metadata(&blobs).unwrap().mode() & 0o777, 0o700);
        assert_eq!(fs::metadata(&blob).unwrap().mode() & 0o777, 0o600);
        fs::write(&blob, "[]").unwrap();
        let error = last.read().unwrap_err().to_string();
        assert!(error.contains("auth.json is damaged"), "{error}");
    }
}
