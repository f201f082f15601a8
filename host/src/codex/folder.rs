//! A folder of the gateway for files that workers read and write, deleted with the backend.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::leftovers;

const PREFIX: &str = "codex-gateway-";

/// The name of a file that is locked while the folder is in use. The system releases the lock however the process ends.
const LOCK: &str = "lock";

/// The folder for the files of workers, deleted when dropped. Only the gateway's user can read it.
#[derive(Debug)]
pub(super) struct Folder {
    dir: TempDir,
    _lock: File,
    /// A lock on the folder itself: systems that delete files left in their temporary folder for days skip locked folders,
    /// and only those.
    _whole: File,
}

impl Folder {
    /// Makes the folder, with an empty one in it to work in, and deletes folders left by killed gateways, with the processes
    /// of their workers.
    pub(super) fn make() -> io::Result<Self> {
        Self::make_in(&std::env::temp_dir())
    }

    fn make_in(parent: &Path) -> io::Result<Self> {
        let dir = tempfile::Builder::new().prefix(PREFIX).tempdir_in(parent)?;
        fs::set_permissions(dir.path(), Permissions::from_mode(0o700))?;
        fs::create_dir(dir.path().join("work"))?;
        let lock = lock(dir.path())?;
        let whole = File::open(dir.path())?;
        whole.lock()?;
        let owner = fs::metadata(dir.path())?.uid();
        sweep(parent, owner);
        Ok(Self {
            dir,
            _lock: lock,
            _whole: whole,
        })
    }

    /// The empty folder to work in.
    pub(super) fn work(&self) -> PathBuf {
        self.file("work")
    }

    /// The path of the folder itself.
    pub(super) fn root(&self) -> PathBuf {
        self.dir.path().to_owned()
    }

    /// The path of a file in the folder.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Deletes the folder with all its files.
    pub(super) fn delete(self) -> io::Result<()> {
        self.dir.close()
    }
}

/// Locks a new file before it gets its final name, so that no other gateway sees a folder in use with a free lock.
fn lock(folder: &Path) -> io::Result<File> {
    let part = folder.join("lock.part");
    let file = File::create(&part)?;
    file.lock()?;
    fs::rename(part, folder.join(LOCK))?;
    Ok(file)
}

/// Deletes folders of gateways whose lock is free, and kills the processes of their workers: those gateways were killed.
fn sweep(parent: &Path, owner: u32) {
    let Ok(entries) = fs::read_dir(parent) else {
        return;
    };
    for entry in entries.flatten() {
        let is_ours = entry.file_name().to_string_lossy().starts_with(PREFIX)
            && entry
                .metadata()
                .is_ok_and(|about| about.is_dir() && about.uid() == owner);
        if is_ours && is_left(&entry.path()) {
            let folder = entry.path();
            leftovers::end_now(&folder);
            match fs::remove_dir_all(&folder) {
                Ok(()) => {
                    tracing::info!(folder = %folder.display(), "swept up what a killed gateway left")
                }
                Err(error) => {
                    tracing::warn!(folder = %folder.display(), %error, "a folder that is left")
                }
            }
        }
    }
}

fn is_left(folder: &Path) -> bool {
    File::open(folder.join(LOCK)).is_ok_and(|lock| lock.try_lock().is_ok())
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    #[test]
    fn what_a_killed_gateway_left_is_swept_up_and_nothing_else() {
        let parent = tempfile::tempdir().unwrap();
        let living = Folder::make_in(parent.path()).unwrap();
        let killed = Folder::make_in(parent.path()).unwrap();
        fs::write(killed.file("catalogue.json"), "{}").unwrap();
        // The state after a kill: the lock is released, the folder stays.
        let Folder {
            dir, _lock: lock, ..
        } = killed;
        drop(lock);
        let killed = dir.keep();
        let mut process = leftovers::tests::start(&killed.join("databases"));
        let foreign = ["other", "codex-gateway-without-a-lock"];
        for name in foreign {
            fs::create_dir(parent.path().join(name)).unwrap();
        }
        let new = Folder::make_in(parent.path()).unwrap();
        assert!(!killed.exists());
        assert_eq!(process.wait().unwrap().signal(), Some(9));
        assert!(living.work().exists() && new.work().exists());
        for name in foreign {
            assert!(parent.path().join(name).exists(), "{name}");
        }
        living.delete().unwrap();
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 3);
    }
}
