//! Lists files for the host to embed: those of new policies (templates, the SDK and the contract), and cases.

#![allow(
    clippy::disallowed_methods,
    reason = "cargo tells a build script its folders by variables"
)]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// Writes `OUT_DIR/LIST`: a slice of paths below `folder` and texts, of all files in these folders of it.
pub(crate) fn list(list: &str, folder: &str, of: &[&str]) -> io::Result<()> {
    let root = env::var("CARGO_MANIFEST_DIR").map_err(io::Error::other)?;
    let root = PathBuf::from(root).join(folder);
    let mut files = Vec::new();
    for name in of {
        println!("cargo::rerun-if-changed={folder}/{name}");
        collect(&root.join(name), &mut files)?;
    }
    files.sort();
    let mut text = "&[\n".to_owned();
    for path in files {
        let name = path.strip_prefix(&root).map_err(io::Error::other)?;
        let written = writeln!(
            text,
            "    ({:?}, include_str!({path:?})),",
            name.display().to_string()
        );
        written.map_err(io::Error::other)?;
    }
    let out = env::var("OUT_DIR").map_err(io::Error::other)?;
    fs::write(Path::new(&out).join(list), text + "]\n")
}

/// Names of what a build leaves in a folder, and of an older contract.
const LEFT_OUT: [&str; 5] = [
    "target",
    "node_modules",
    "__pycache__",
    "Cargo.lock",
    "v0.1",
];

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default();
        if LEFT_OUT.iter().any(|left_out| name == *left_out) {
            continue;
        }
        match path.is_dir() {
            true => collect(&path, files)?,
            false => files.push(path),
        }
    }
    Ok(())
}
