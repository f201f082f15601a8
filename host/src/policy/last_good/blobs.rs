//! Copies of the operator's files, each named by its SHA-256 and written once.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::file::{self, at};
use crate::hex::hex;
use crate::policy::given::Named;

/// The most bytes of a copy; no file of the operator's is larger.
const MAX_BYTES: u64 = 64 << 20;
/// Copies that are not in use are removed when they are older: a gateway of another version, which does not take the lock, may have
/// written them and be about to name them.
const ORPHANED: Duration = Duration::from_secs(60);

/// The folder of the copies.
#[derive(Debug, Clone)]
pub(super) struct Blobs(pub(super) PathBuf);

/// A file's name, and the digest by which its copy is found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Blob {
    pub(super) name: String,
    pub(super) sha256: String,
}

impl Blobs {
    /// Copies a file, unless that was done before.
    ///
    /// # Errors
    /// If the folder cannot be written.
    pub(super) fn put(&self, Named { name, bytes }: &Named) -> io::Result<Blob> {
        let sha256 = hex(&Sha256::digest(bytes));
        let path = self.0.join(&sha256);
        let before = file::read(&path, MAX_BYTES);
        if before.as_ref().is_ok_and(|before| **before != **bytes) {
            tracing::warn!(file = %name, blob = %path.display(), "what was kept of a policy was damaged: it is written anew");
        }
        if before.ok().as_deref() != Some(&**bytes) {
            file::replace(&path, bytes)?;
        }
        let name = name.clone();
        Ok(Blob { name, sha256 })
    }

    /// Reads a copy.
    ///
    /// # Errors
    /// If it is gone, or is not what was copied; the error names its path.
    pub(super) fn get(&self, Blob { name, sha256 }: &Blob) -> io::Result<Named> {
        // The digest becomes part of a path, so it must be hexadecimal digits only.
        let is_digest = sha256.len() == 64 && sha256.bytes().all(|byte| byte.is_ascii_hexdigit());
        let path = self.0.join(sha256);
        let bytes = match is_digest {
            true => file::read(&path, MAX_BYTES).map_err(|error| at(&path, error))?,
            false => Vec::new(),
        };
        if hex(&Sha256::digest(&bytes)) != *sha256 {
            let message = format!("{}: what was kept of {name} is damaged", path.display());
            return Err(io::Error::other(message));
        }
        let (name, bytes) = (name.clone(), bytes.into());
        Ok(Named { name, bytes })
    }

    /// The bytes of a copy; none if it is gone.
    pub(super) fn size(&self, blob: &Blob) -> u64 {
        fs::metadata(self.0.join(&blob.sha256)).map_or(0, |found| found.len())
    }

    /// Removes the copies that are not in use.
    ///
    /// # Errors
    /// If the folder cannot be read or written.
    pub(super) fn sweep(&self, used: &HashSet<&str>) -> io::Result<()> {
        for entry in fs::read_dir(&self.0)? {
            let entry = entry?;
            let name = entry.file_name();
            let is_used = name.to_str().is_some_and(|name| used.contains(name));
            if !is_used && file::is_older(&entry, ORPHANED)? {
                file::remove(&entry.path())?;
            }
        }
        Ok(())
    }
}
