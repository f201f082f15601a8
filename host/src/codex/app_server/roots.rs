//! The root certificates, in the form Codex reads fastest.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::codex::{Config, Mode};

/// Roots the operator chose for Codex alone. They come on top of the system's, which only Codex knows to do.
const CHOSEN: &str = "CODEX_CA_CERTIFICATE";
const FILE: &str = "SSL_CERT_FILE";
const FOLDER: &str = "SSL_CERT_DIR";

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// Certificates with OpenSSL's own remarks, which not everyone can read.
const REMARKS: &str = "-----BEGIN TRUSTED CERTIFICATE-----";

/// What is trusted today.
#[derive(Debug)]
struct Roots {
    /// Many certificates in one file.
    bundle: PathBuf,
    /// A folder where OpenSSL finds further ones by the hash of their names.
    hashed: Option<PathBuf>,
}

/// The variables that give Codex the roots it has anyway, laid out in `folder`; none where they are better left alone.
///
/// Codex 0.169 reads all roots anew for every request. By itself it uses OpenSSL, which takes most of the time of a short
/// turn to parse them. Given a `SSL_CERT_FILE` it uses rustls, but parses what is in that file by both. What is in
/// `SSL_CERT_DIR` it parses by rustls alone, whatever the files there are called. So one root is the file, and a link to
/// all of them lies in the folder: nothing more is trusted, nothing less, and what the system changes is seen at once.
pub(super) fn lay_out(config: &Config, folder: &Path) -> Vec<(&'static str, PathBuf)> {
    // The commands of an agent would see the variables, too, and not all of them look at both.
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
            hashed: None,
        });
    }
    // Elsewhere the system has more than files to say what is trusted.
    if !cfg!(target_os = "linux") {
        return None;
    }
    let found = openssl_probe::probe();
    Some(Roots {
        bundle: found.cert_file?,
        hashed: found.cert_dir.into_iter().next(),
    })
}

impl Roots {
    fn lay_out(&self, folder: &Path) -> io::Result<Vec<(&'static str, PathBuf)>> {
        let bundle = read(&self.bundle)?;
        let Some(first) = certificates(&bundle).next() else {
            // Codex says best what is wrong.
            return Ok(Vec::new());
        };
        if bundle.contains(REMARKS) {
            return Ok(Vec::new());
        }
        let (file, roots) = (folder.join("root.pem"), folder.join("roots"));
        fs::write(&file, format!("{BEGIN}{first}{END}\n"))?;
        fs::create_dir(&roots)?;
        symlink(&self.bundle, roots.join("bundle.pem"))?;
        let known: HashSet<_> = certificates(&bundle).map(plain).collect();
        for entry in self.hashed.iter().flat_map(fs::read_dir).flatten() {
            let entry = entry?;
            let is_hash = entry.file_name().to_str().is_some_and(is_hash);
            // As OpenSSL does, past what cannot be read.
            let Some(text) = is_hash.then(|| read(&entry.path()).ok()).flatten() else {
                continue;
            };
            if certificates(&text).any(|one| !known.contains(&plain(one))) {
                symlink(entry.path(), roots.join(entry.file_name()))?;
            }
        }
        Ok(vec![(FILE, file), (FOLDER, roots)])
    }
}

/// Remarks between certificates may be in any encoding.
fn read(file: &Path) -> io::Result<String> {
    Ok(String::from_utf8_lossy(&fs::read(file)?).into_owned())
}

/// What is between the marks, certificate by certificate.
fn certificates(text: &str) -> impl Iterator<Item = &str> {
    let blocks = text.split(BEGIN).skip(1);
    blocks.filter_map(|block| Some(block.split_once(END)?.0))
}

/// The same certificate is the same text, but for its line breaks.
fn plain(certificate: &str) -> String {
    certificate.split_ascii_whitespace().collect()
}

/// `1a2b3c4d.0`
fn is_hash(name: &str) -> bool {
    name.split_once('.').is_some_and(|(hash, number)| {
        hash.len() == 8
            && hash.bytes().all(|byte| byte.is_ascii_hexdigit())
            && number.parse::<u8>().is_ok()
    })
}

#[cfg(test)]
mod tests;
