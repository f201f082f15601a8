//! Lists the cases of the built-in policies as a Rust expression, for the host to embed.

#![allow(
    clippy::disallowed_methods,
    reason = "cargo tells a build script its folders by variables"
)]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// Writes `OUT_DIR/cases.rs`: a list of (slot, file name, text). `policies` pairs a slot with the folder of its policy.
pub(crate) fn list(policies: &[(&str, &str)]) -> io::Result<()> {
    let mut text = "&[\n".to_owned();
    for (slot, policy) in policies {
        let folder = Path::new(policy).join("cases").canonicalize()?;
        println!("cargo::rerun-if-changed={}", folder.display());
        let entries = fs::read_dir(&folder)?.map(|entry| Ok(entry?.path()));
        let mut files = entries.collect::<io::Result<Vec<PathBuf>>>()?;
        files.sort();
        for file in files {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            let place = file.display().to_string();
            // Writing to a string cannot fail.
            let _ = writeln!(text, "    ({slot:?}, {name:?}, include_str!({place:?})),");
        }
    }
    text.push(']');
    let out = PathBuf::from(env::var("OUT_DIR").map_err(io::Error::other)?);
    fs::write(out.join("cases.rs"), text)
}
