//! The keys whose signatures are trusted, and the verification of a file: minisign's format, one detached signature a file.
//!
//! `signing` makes keys and signatures, `source` and `folder` refuse what does not pass here.

use std::fmt;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use minisign_verify::{Error, PublicKey, Signature};

use super::Slot;
use super::distrust::{Distrust, KeyId, SIGNATURE_ENDING};
use super::fault::{Problem, Refusal, Refusals};
use crate::file;

/// The most bytes of a signature or of a public key, which have some 300.
pub const MAX_SIGNATURE: u64 = 4 << 10;

/// The public keys of `POLICY_TRUSTED_KEYS`. Without any, files need no signature.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    keys: Vec<TrustedKey>,
    /// Files of the folder that are about to be replaced: theirs are no signatures to be judged.
    replaced: Vec<String>,
}

/// A public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedKey {
    id: KeyId,
    key: PublicKey,
}

/// A file that an operator brings, and its signature, if there is one.
#[derive(Debug, Clone)]
pub struct Brought {
    /// The name that it gets.
    pub name: String,
    /// Its bytes.
    pub bytes: Bytes,
    /// The text of its signature.
    pub signature: Option<Bytes>,
}

/// A verified signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signed {
    /// The key.
    pub key: KeyId,
    /// When it was signed, in seconds since 1970, as the signer's clock said.
    pub at: Option<u64>,
}

impl Trust {
    /// Trusts these keys.
    #[must_use]
    pub fn new(keys: Vec<TrustedKey>) -> Self {
        let replaced = Vec::new();
        Self { keys, replaced }
    }

    /// Whether files need a signature.
    #[must_use]
    pub fn is_on(&self) -> bool {
        !self.keys.is_empty()
    }

    /// The same keys for a folder in which these files are about to be replaced.
    pub(super) fn replacing(&self, names: Vec<String>) -> Self {
        Self {
            keys: self.keys.clone(),
            replaced: names,
        }
    }

    /// Verifies a file's signature; without trusted keys any file passes, and nothing is returned.
    ///
    /// # Errors
    /// If a trusted key did not sign these bytes under this name.
    pub fn verify(
        &self,
        name: &str,
        bytes: &[u8],
        signature: Option<&[u8]>,
    ) -> Result<Option<Signed>, Distrust> {
        if !self.is_on() {
            return Ok(None);
        }
        let text = signature.ok_or_else(|| Distrust::Unsigned(name.to_owned()))?;
        let garbled = |found| Distrust::Garbled {
            name: name.to_owned(),
            found,
        };
        let text = std::str::from_utf8(text).map_err(|_| garbled("other bytes"))?;
        let signature = Signature::decode(text).map_err(|_| garbled("another text"))?;
        let id = signer(text).ok_or_else(|| garbled("another text"))?;
        let (of, at) = read_comment(signature.trusted_comment());
        let key = self.keys.iter().find(|key| key.id == id);
        let key = key.ok_or_else(|| Distrust::UnknownKey {
            id,
            known: self.to_string(),
        })?;
        // The name is trusted only if the signature holds; until then it is the better explanation.
        if of != Some(name) {
            return Err(Distrust::OtherFile(of.map(str::to_owned)));
        }
        match key.key.verify(bytes, &signature, false) {
            Ok(()) => Ok(Some(Signed { key: id, at })),
            Err(Error::UnexpectedAlgorithm) => Err(garbled(
                "one in the legacy form of minisign before 0.10, without a hash",
            )),
            Err(_) => Err(Distrust::Altered(id)),
        }
    }

    /// Verifies the files that an operator brings, each with its signature.
    ///
    /// # Errors
    /// A refusal for each file that is not trusted.
    pub fn verify_all(&self, files: &[Brought]) -> Result<(), Refusals> {
        let refused = files.iter().filter_map(|file| {
            let verified = self.verify(&file.name, &file.bytes, file.signature.as_deref());
            verified.err().map(|why| Refusal {
                file: file.name.clone(),
                slot: file
                    .name
                    .rsplit_once('.')
                    .and_then(|(stem, _)| Slot::parse(stem)),
                problem: Problem::Untrusted(why),
            })
        });
        let refusals: Vec<_> = refused.collect();
        match refusals.is_empty() {
            true => Ok(()),
            false => Err(Refusals(refusals)),
        }
    }

    /// As [`Trust::verify`], with the signature beside the file in a folder.
    ///
    /// # Errors
    /// As [`Trust::verify`]; also if the signature cannot be read.
    pub(super) fn verify_in(
        &self,
        folder: &Path,
        name: &str,
        bytes: &[u8],
    ) -> Result<Option<Signed>, Problem> {
        if !self.is_on() || self.replaced.iter().any(|replaced| replaced == name) {
            return Ok(None);
        }
        let signature =
            file::read_if_there(folder, &format!("{name}{SIGNATURE_ENDING}"), MAX_SIGNATURE);
        let signature = signature.map_err(|error| {
            Problem::of_io(&error, |why| {
                Problem::Unreadable(format!("its signature: {why}"))
            })
        })?;
        let verified = self.verify(name, bytes, signature.as_deref());
        verified.map_err(Problem::Untrusted)
    }
}

/// The ids of the keys.
impl fmt::Display for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids: Vec<_> = self.keys.iter().map(|key| key.id.to_string()).collect();
        f.write_str(&ids.join(", "))
    }
}

impl TrustedKey {
    /// Reads a public key: its line in base64 alone, or a whole public key file of minisign.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let line = text.lines().map(str::trim).rfind(|line| !line.is_empty())?;
        let key = PublicKey::from_base64(line).ok()?;
        let id = key_id(line)?;
        Some(Self { id, key })
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> KeyId {
        self.id
    }
}

/// The key of a signature, from its second line.
fn signer(text: &str) -> Option<KeyId> {
    key_id(text.lines().nth(1)?.trim())
}

/// The id in a key or a signature in base64: after the two bytes of the algorithm.
fn key_id(line: &str) -> Option<KeyId> {
    let bytes = STANDARD.decode(line).ok()?;
    Some(KeyId::of(bytes.get(2..10)?.try_into().ok()?))
}

/// The file's name and the time in a trusted comment, which minisign writes as `timestamp:1700000000⇥file:auth.wasm⇥hashed`.
fn read_comment(comment: &str) -> (Option<&str>, Option<u64>) {
    let field = |name: &str| {
        let mut fields = comment.split('\t');
        fields.find_map(|field| field.strip_prefix(name))
    };
    let at = field("timestamp:").and_then(|at| at.parse().ok());
    (field("file:"), at)
}

#[cfg(test)]
mod tests;
