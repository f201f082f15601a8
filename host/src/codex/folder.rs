//! A folder of the gateway's own, for what workers read and write, gone with the backend.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// What a worker writes goes here, and goes away with it. Readable by us alone.
#[derive(Debug)]
pub(super) struct Folder(TempDir);

impl Folder {
    /// Makes the folder, with an empty one to work in.
    pub(super) fn make() -> std::io::Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("codex-gateway-")
            .tempdir()?;
        restrict(folder.path())?;
        std::fs::create_dir(folder.path().join("work"))?;
        Ok(Self(folder))
    }

    /// The empty folder to work in.
    pub(super) fn work(&self) -> PathBuf {
        self.0.path().join("work")
    }

    /// The folder itself.
    pub(super) fn root(&self) -> PathBuf {
        self.0.path().to_owned()
    }

    /// A place for something in it.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Deletes it with all that is in it.
    pub(super) fn delete(self) -> std::io::Result<()> {
        self.0.close()
    }
}

#[cfg(unix)]
fn restrict(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700))
}

#[cfg(not(unix))]
fn restrict(_path: &Path) -> std::io::Result<()> {
    Ok(())
}
