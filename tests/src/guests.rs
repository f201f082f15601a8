//! The components that only tests use, and the built-in ones as files.

use std::path::Path;

/// A policy for every slot that does what it is told; see `guests/every`.
pub const EVERY: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/every.wasm"));

/// An auth policy that wants to read files.
pub const FORBIDDEN: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/forbidden.wasm"));

/// Puts a file into a folder the way a deployment does: whole, by rename.
pub fn deploy(folder: &Path, name: &str, bytes: &[u8]) {
    let part = folder.join(format!(".{name}.part"));
    std::fs::write(&part, bytes).expect("the folder can be written");
    std::fs::rename(&part, folder.join(name)).expect("the file can be renamed");
}
