//! Reads any bytes of an operator: an upload, a `policies.toml`, a line of the records, a digest. Mistakes are told in lines.

#![no_main]

use arbitrary::Arbitrary;
use codex_gateway::api::replay::upload;
use codex_gateway::policy::bytes;
use libfuzzer_sys::fuzz_target;

#[derive(Debug, Arbitrary)]
enum Input {
    Upload { kind: Vec<u8>, body: Vec<u8> },
    /// A body with the boundary `x`.
    Form { body: Vec<u8> },
    Manifest(Vec<u8>),
    Record(Vec<u8>),
    Digest(String),
}

fuzz_target!(|input: Input| match input {
    Input::Upload { kind, body } => assert_upload(&kind, &body),
    Input::Form { body } => assert_upload(b"multipart/form-data; boundary=x", &body),
    Input::Manifest(text) => {
        for mistake in bytes::manifest(&text) {
            assert!(!mistake.contains('\n'), "{mistake}");
        }
    }
    Input::Record(line) => {
        if let Err(mistake) = bytes::record(&line) {
            assert!(!mistake.contains('\n'), "{mistake}");
        }
    }
    Input::Digest(text) => {
        if let Some(digits) = bytes::digest(&text) {
            assert_eq!(digits, text.to_lowercase());
        }
    }
});

fn assert_upload(kind: &[u8], body: &[u8]) {
    match upload(kind, body) {
        // Four slots, each with a component and settings, and a candidate's own rules.
        Ok(files) => assert!((1..=9).contains(&files), "{files}"),
        Err(code) => assert_eq!(code, "invalid_upload"),
    }
}
