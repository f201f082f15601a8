//! The components that only tests use, and helpers to deploy policy files.

use std::path::Path;

/// A policy for every slot that obeys its orders; see `guests/every`.
pub const EVERY: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/every.wasm"));

/// An auth policy that tries to read files.
pub const FORBIDDEN: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/forbidden.wasm"));

/// Puts a file into a folder as a deployment should: complete, by rename.
pub fn deploy(folder: &Path, name: &str, bytes: &[u8]) {
    let part = folder.join(format!(".{name}.part"));
    std::fs::write(&part, bytes).expect("the folder can be written");
    std::fs::rename(&part, folder.join(name)).expect("the file can be renamed");
}
