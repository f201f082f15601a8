//! The compile cache: a folder that keeps compiled components after the process ends, so that a restart does not compile them
//! again.
//!
//! Code is used where it lies in a file: its pages are the system's to drop, and the processes share them.

use std::fs::{self, File};
use std::hash::{Hash, Hasher};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;
use wasmtime::Engine;
use wasmtime::component::Component;

use super::candidate::hex;
use crate::file;

/// The most bytes of all files; beyond it the files that were not used for longest are deleted.
const MAX_BYTES: u64 = 1 << 30;

/// A subfolder for this user alone: it contains machine code.
const OURS: &str = "compiled";

/// The identity of compiled code: of the component and of the settings of the engine that it is compiled for.
pub(super) type Key = [u8; 32];

/// An open cache.
#[derive(Debug, Clone)]
pub(super) struct Cache {
    folder: PathBuf,
}

/// Whether a gateway has created its cache in this folder.
#[must_use]
pub fn is_there(folder: &Path) -> bool {
    folder.join(OURS).is_dir()
}

/// The key of a component's compiled code.
pub(super) fn key(engine: &Engine, wasm: &[u8]) -> Key {
    let mut hash = Hashing(Sha256::new_with_prefix(Sha256::digest(wasm)));
    engine.precompile_compatibility_hash().hash(&mut hash);
    hash.0.finalize().into()
}

/// Hashes values of which wasmtime reveals nothing but that they can be hashed.
struct Hashing(Sha256);

impl Hasher for Hashing {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Of no use for a key: it is too short.
    fn finish(&self) -> u64 {
        0
    }
}

impl Cache {
    /// Opens the cache folder, and creates it if it is missing.
    ///
    /// # Errors
    /// One line for the operator: the folder cannot be created or written, or other users could put machine code into it, which the
    /// gateway would run.
    pub(super) fn open(folder: &Path) -> Result<Self, String> {
        let ours = folder.join(OURS);
        file::make_folder(&ours).map_err(|error| error.to_string())?;
        let ours = ours.canonicalize().map_err(|error| error.to_string())?;
        check(folder, 0o022)?;
        check(&ours, 0o077)?;
        let cache = Self { folder: ours };
        cache.tidy();
        Ok(cache)
    }

    /// Removes the folders in it, which are of earlier versions: their files have settings in them.
    fn tidy(&self) {
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }

    /// Makes the folder again if it is gone.
    pub(super) fn restore(&self) {
        if let Err(error) = file::restore_folder(&self.folder) {
            let folder = self.folder.display();
            tracing::warn!(%folder, %error, "no compile cache");
        }
    }

    /// The compiled component of this key. A file that the engine cannot use is as good as none.
    pub(super) fn find(&self, engine: &Engine, key: &Key) -> Option<Component> {
        let path = self.path(key);
        let file = file::open(&path).ok()?;
        // The time of the last use; if it cannot be set, the file is deleted sooner.
        let _ = file.set_modified(SystemTime::now());
        // A file system may not let files be executed.
        let copied = || copied(engine, &fs::read(&path).ok()?).ok();
        mapped(engine, &path).ok().or_else(copied)
    }

    /// Deletes the code of this key; a component that was made of it stays as it is.
    pub(super) fn forget(&self, key: &Key) {
        let _ = fs::remove_file(self.path(key));
    }

    /// Keeps compiled code, and deletes files that were not used for longest.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(super) fn keep(&self, key: &Key, code: &[u8]) -> io::Result<()> {
        let mut file = NamedTempFile::new_in(&self.folder)?;
        file.write_all(code)?;
        // A file that is whole after a loss of power has whole code in it.
        file.as_file().sync_data()?;
        file.persist(self.path(key))?;
        self.shrink(MAX_BYTES)
    }

    fn path(&self, key: &Key) -> PathBuf {
        self.folder.join(hex(key))
    }

    fn shrink(&self, most: u64) -> io::Result<()> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            // Another gateway may delete files, too.
            if let Ok(found) = entry.metadata() {
                files.push((found.modified()?, found.len(), entry.path()));
            }
        }
        files.sort();
        let mut bytes = 0;
        for (_, size, path) in files.into_iter().rev() {
            bytes += size;
            if bytes > most {
                let _ = fs::remove_file(path);
            }
        }
        Ok(())
    }
}

/// Makes a component of its compiled code, which passes through a file without a name in the cache.
///
/// # Errors
/// If the engine cannot use the code.
pub(super) fn load(
    engine: &Engine,
    code: &[u8],
    cache: Option<&Cache>,
) -> wasmtime::Result<Component> {
    // Where it is not possible (a full disk, a file system without execution) the code is copied in memory.
    if let Some(component) = cache.and_then(|cache| passing(engine, code, cache).ok()) {
        return Ok(component);
    }
    copied(engine, code)
}

fn copied(engine: &Engine, code: &[u8]) -> wasmtime::Result<Component> {
    #[expect(unsafe_code, reason = "machine code can be checked only by its maker")]
    // SAFETY: wasmtime compiled the code in this process, or in its child, which leaves it where only this user may write.
    unsafe {
        Component::deserialize(engine, code)
    }
}

fn passing(engine: &Engine, code: &[u8], cache: &Cache) -> wasmtime::Result<Component> {
    let mut file: File = tempfile::tempfile_in(&cache.folder)?;
    file.write_all(code)?;
    mapped(engine, Path::new(&format!("/dev/fd/{}", file.as_raw_fd())))
}

fn mapped(engine: &Engine, path: &Path) -> wasmtime::Result<Component> {
    #[expect(unsafe_code, reason = "machine code can be checked only by its maker")]
    // SAFETY: only this user may write to the folder of the cache, and the gateway replaces its files whole.
    unsafe {
        Component::deserialize_file(engine, path)
    }
}

/// Checks that the folder belongs to the gateway's user and that its mode has none of the bits in `nobodys`.
fn check(folder: &Path, nobodys: u32) -> Result<(), String> {
    let ours = tempfile::tempfile_in(folder)
        .and_then(|file| file.metadata())
        .map_err(|error| format!("it cannot be written: {error}"))?;
    let found = fs::metadata(folder).map_err(|error| error.to_string())?;
    let (folder, mode) = (folder.display(), found.mode() & 0o777);
    if found.uid() != ours.uid() {
        return Err(format!("{folder} belongs to another user"));
    }
    if mode & nobodys != 0 {
        return Err(format!(
            "others may use {folder} (mode {mode:o}): chmod 700"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_folder_is_made_for_its_owner_alone() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("a/b");
        Cache::open(&folder).unwrap();
        assert_eq!(fs::metadata(&folder).unwrap().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_folder_that_is_gone_is_made_again_for_its_owner_alone() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("cache");
        let cache = Cache::open(&folder).unwrap();
        fs::remove_dir_all(&folder).unwrap();
        cache.restore();
        let inner = fs::metadata(folder.join(OURS)).unwrap();
        assert_eq!(inner.mode() & 0o777, 0o700);
    }

    #[test]
    fn a_folder_that_others_may_read_has_one_that_they_may_not() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        Cache::open(folder.path()).unwrap();
        let inner = fs::metadata(folder.path().join(OURS)).unwrap();
        assert_eq!(inner.mode() & 0o777, 0o700);
    }

    #[test]
    fn a_folder_that_others_may_write_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let refused = Cache::open(folder.path()).unwrap_err();
        assert!(refused.contains("chmod 700"), "{refused}");
    }

    #[test]
    fn files_that_were_not_used_for_longest_are_deleted() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path()).unwrap();
        let age = |key: &Key, seconds| {
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            let file = File::options().append(true).open(cache.path(key));
            file.unwrap().set_modified(time).unwrap();
        };
        for (key, used) in [([1; 32], 30), ([2; 32], 10), ([3; 32], 20)] {
            cache.keep(&key, &[0; 100]).unwrap();
            age(&key, used);
        }
        cache.shrink(250).unwrap();
        let is_there = |key| cache.path(&[key; 32]).exists();
        assert_eq!([is_there(1), is_there(2), is_there(3)], [true, false, true]);
    }

    #[test]
    fn folders_of_earlier_versions_are_removed_and_a_snapshots_code_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let old = folder.path().join(OURS).join("modules/wasmtime-48");
        file::make_folder(&old).unwrap();
        fs::write(old.join("code"), "settings").unwrap();
        let cache = Cache::open(folder.path()).unwrap();
        assert!(!old.exists());
        cache.keep(&[1; 32], b"code").unwrap();
        cache.forget(&[1; 32]);
        assert_eq!(fs::read_dir(folder.path().join(OURS)).unwrap().count(), 0);
    }

    #[test]
    fn a_damaged_file_is_as_good_as_none() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path()).unwrap();
        let (engine, empty) = (Engine::default(), b"\0asm\x0d\0\x01\0");
        let key = key(&engine, empty);
        let code = engine.precompile_component(empty).unwrap();
        assert!(cache.find(&engine, &key).is_none());
        cache.keep(&key, &code).unwrap();
        assert!(cache.find(&engine, &key).is_some());
        cache.keep(&key, &code[..code.len() / 2]).unwrap();
        assert!(cache.find(&engine, &key).is_none());
    }
}
