//! Lays out the root certificates in the form that Codex reads fastest.

mod certificate;

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::codex::{Config, Mode};
use crate::file;
use certificate::Kind;

/// Roots the operator chose for Codex alone. Only Codex itself can add them to the system's.
const CHOSEN: &str = "CODEX_CA_CERTIFICATE";
const FILE: &str = "SSL_CERT_FILE";
const FOLDER: &str = "SSL_CERT_DIR";

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// Limit in bytes for a bundle, and for all files of a folder. Bundles have some hundred kilobytes.
const MAX_BYTES: u64 = 16 << 20;

/// The mark of certificates with OpenSSL's own remarks, which not every program can read.
const REMARKS: &str = "-----BEGIN TRUSTED CERTIFICATE-----";

/// The certificates that are trusted now.
#[derive(Debug)]
struct Roots {
    /// The path of a file with many certificates.
    bundle: PathBuf,
    /// Set if the bundle is the system's. Codex by default uses OpenSSL for it, which also finds certificates in this folder,
    /// by the hash of their names.
    system: Option<Option<PathBuf>>,
}

/// The variables that give Codex the roots it has anyway, laid out in `folder`; none if the roots are better left alone.
///
/// Codex 0.169 reads all roots again for every request. By default it uses OpenSSL, which takes most of the time of a
/// short turn to parse them. Given a `SSL_CERT_FILE` it uses rustls, but parses the certificates in that file with both.
/// Those in `SSL_CERT_DIR` it parses with rustls alone, whatever the names of the files. So the file holds one root, and
/// the folder holds a link to all of them, so that a root which the system adds is trusted at once.
///
/// rustls takes every root for an authority and for nothing else. If the system trusts a server's own certificate
/// beside authorities, the roots are left alone: that certificate would lose its trust, or, worse, be trusted for more.
pub(super) fn lay_out(config: &Config, folder: &Path) -> Vec<(&'static str, PathBuf)> {
    // The commands of an agent would get the variables, too, and not all programs read both.
    if config.quick_roots != Some(true) || config.mode != Mode::Chat {
        return Vec::new();
    }
    let Some(roots) = find(config) else {
        return Vec::new();
    };
    roots.lay_out(folder).unwrap_or_else(|error| {
        tracing::warn!(bundle = %roots.bundle.display(), %error, "Codex reads its root certificates the slow way");
        Vec::new()
    })
}

fn find(config: &Config) -> Option<Roots> {
    let set = |name| config.parent_env.get(name).filter(|text| !text.is_empty());
    if set(CHOSEN).is_some() || set(FOLDER).is_some() {
        return None;
    }
    if let Some(file) = set(FILE) {
        return Some(Roots {
            bundle: std::path::absolute(file).ok()?,
            system: None,
        });
    }
    // On other systems files alone do not decide which certificates are trusted.
    if !cfg!(target_os = "linux") {
        return None;
    }
    let found = openssl_probe::probe();
    Some(Roots {
        bundle: found.cert_file?,
        system: Some(found.cert_dir.into_iter().next()),
    })
}

impl Roots {
    fn lay_out(&self, folder: &Path) -> io::Result<Vec<(&'static str, PathBuf)>> {
        let bundle = read(&self.bundle)?;
        let Some(first) = certificates(&bundle).next() else {
            // Codex itself reports best what is wrong.
            return Ok(Vec::new());
        };
        let Some(further) = self.further(&bundle) else {
            tracing::info!(
                bundle = %self.bundle.display(),
                "not only authorities are trusted here: Codex reads its root certificates the slow way"
            );
            return Ok(Vec::new());
        };
        let (file, roots) = (folder.join("root.pem"), folder.join("roots"));
        fs::write(&file, format!("{BEGIN}{first}{END}\n"))?;
        fs::create_dir(&roots)?;
        symlink(&self.bundle, roots.join("bundle.pem"))?;
        for (number, further) in further.iter().enumerate() {
            symlink(further, roots.join(format!("{number}.pem")))?;
        }
        Ok(vec![(FILE, file), (FOLDER, roots)])
    }

    /// The trusted files in addition to the bundle; `None` if rustls would not trust the same certificates as OpenSSL.
    fn further(&self, bundle: &str) -> Option<Vec<PathBuf>> {
        if bundle.contains(REMARKS) {
            return None;
        }
        let Some(hashed) = &self.system else {
            // Codex uses rustls anyway if `SSL_CERT_FILE` is set.
            return Some(Vec::new());
        };
        let known: HashSet<_> = certificates(bundle).map(plain).collect();
        if !known.iter().all(|one| kind(one) == Kind::Authority) {
            return None;
        }
        let mut further = Vec::new();
        let mut bytes = 0;
        for entry in hashed.iter().flat_map(fs::read_dir).flatten().flatten() {
            let is_hash = entry.file_name().to_str().is_some_and(is_hash);
            // Files that cannot be read are skipped, as OpenSSL does.
            let Some(text) = is_hash.then(|| read(&entry.path()).ok()).flatten() else {
                continue;
            };
            // The system's folder has all of its bundle again, in small files.
            bytes += text.len() as u64;
            if bytes > MAX_BYTES {
                return None;
            }
            let unknown = certificates(&text).map(plain);
            for certificate in unknown.filter(|one| !known.contains(one)) {
                match kind(&certificate) {
                    Kind::Authority => further.push(entry.path()),
                    // Debian's `ssl-cert` leaves this machine's own certificate there. Only this machine can present it.
                    Kind::Server => {}
                    Kind::Unclear => return None,
                }
            }
        }
        Some(further)
    }
}

fn kind(certificate: &str) -> Kind {
    let der = BASE64_STANDARD.decode(certificate);
    der.map_or(Kind::Unclear, |der| Kind::of(&der))
}

/// Reads a file. Remarks between certificates may be in any encoding.
fn read(path: &Path) -> io::Result<String> {
    Ok(String::from_utf8_lossy(&file::read(path, MAX_BYTES)?).into_owned())
}

/// The text between the marks, for each certificate.
fn certificates(text: &str) -> impl Iterator<Item = &str> {
    let blocks = text.split(BEGIN).skip(1);
    blocks.filter_map(|block| Some(block.split_once(END)?.0))
}

/// The text without line breaks, by which equal certificates are recognized.
fn plain(certificate: &str) -> String {
    certificate.split_ascii_whitespace().collect()
}

/// Whether a file is named like a hash: `1a2b3c4d.0`.
fn is_hash(name: &str) -> bool {
    name.split_once('.').is_some_and(|(hash, number)| {
        hash.len() == 8
            && hash.bytes().all(|byte| byte.is_ascii_hexdigit())
            && number.parse::<u8>().is_ok()
    })
}

#[cfg(test)]
mod tests;
