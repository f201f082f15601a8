//! The components that only tests use, and helpers to deploy policy files.

use std::path::Path;

/// A policy for every slot that obeys its orders; see `guests/every`.
pub const EVERY: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/every.wasm"));

/// An auth policy that wants a file, a socket or HTTP.
pub const FORBIDDEN: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/forbidden.wasm"));

/// That policy with an import that the host does not have.
#[must_use]
pub fn foreign() -> Vec<u8> {
    replace(FORBIDDEN, b"wasi:filesystem/", b"wasj:filesystem/")
}

/// The bytes with each occurrence of `from` replaced by `to`, which is as long.
#[must_use]
pub fn replace(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let mut at = 0;
    while let Some(found) = bytes[at..]
        .windows(from.len())
        .position(|window| window == from)
    {
        bytes[at + found..at + found + to.len()].copy_from_slice(to);
        at += found + to.len();
    }
    bytes
}

/// Puts a file into a folder as a deployment should: complete, by rename.
pub fn deploy(folder: &Path, name: &str, bytes: &[u8]) {
    let part = folder.join(format!(".{name}.part"));
    std::fs::write(&part, bytes).expect("the folder can be written");
    std::fs::rename(&part, folder.join(name)).expect("the file can be renamed");
}
