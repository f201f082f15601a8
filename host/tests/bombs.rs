//! Components that take a compiler minutes and gigabytes: each is refused in one line that names the limit it exceeds.

#![allow(clippy::unwrap_used, reason = "a failure is a failed test")]

use std::process::Command;

use wasm::{leb, section};

#[path = "common/wasm.rs"]
mod wasm;

const AUTH: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/auth.wasm"));

/// The built-in auth policy, and in the same component a module with one function of this many locals and this code.
fn with_function(locals: usize, code: &[u8]) -> Vec<u8> {
    let body = [&[1][..], &leb(locals), &[0x7f], code, &[0x0b]].concat();
    let module = [
        b"\0asm\x01\0\0\0".to_vec(),
        section(1, b"\x01\x60\0\0"),
        section(3, b"\x01\0"),
        section(10, &[vec![1], leb(body.len()), body].concat()),
    ];
    [AUTH.to_vec(), section(1, &module.concat())].concat()
}

/// Blocks that each write one local and read another: the compiler's work on live ranges grows with blocks times locals.
fn tangle(locals: usize, bytes: usize) -> Vec<u8> {
    let mut code = Vec::new();
    let mut number = 1_usize;
    while code.len() < bytes {
        number = number
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let (one, other) = (leb((number >> 33) % locals), leb((number >> 17) % locals));
        // block; local.get one; br_if 0; local.get other; local.set one; end
        code.extend(
            [
                &b"\x02\x40\x20"[..],
                &one,
                b"\x0d\0\x20",
                &other,
                b"\x21",
                &one,
                b"\x0b",
            ]
            .concat(),
        );
    }
    code
}

/// The output of `codex-gateway config` for this auth policy.
fn said(wasm: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let policies = folder.path().join("policies");
    std::fs::create_dir(&policies).unwrap();
    std::fs::write(policies.join("auth.wasm"), wasm).unwrap();
    let ended = Command::new(env!("CARGO_BIN_EXE_codex-gateway"))
        .arg("config")
        .env_clear()
        .envs([
            ("PATH", "/usr/bin:/bin"),
            ("CODEX_BACKEND", "demo"),
            ("PROXY_API_KEY", "sk-abcdefghijklmnopqrst"),
        ])
        .env("HOME", folder.path())
        .env("POLICY_DIR", &policies)
        .output()
        .unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    let refused = ended.status.code() == Some(78);
    let lines = said
        .lines()
        .filter(|line| line.contains("auth.wasm"))
        .count();
    assert_eq!(lines, usize::from(refused), "{said}");
    said
}

#[test]
fn a_function_too_large_to_compile_is_refused_by_its_size() {
    // 800,000 blocks: compiling them took 11 s and 3.7 GiB.
    let said = said(&with_function(
        1,
        &b"\x02\x40\x20\0\x0d\0\x0b".repeat(800_000),
    ));
    assert!(
        said.contains("at most 1048576 bytes of code in one function"),
        "{said}"
    );
}

#[test]
fn a_function_that_only_the_compiler_finds_too_hard_is_refused_by_what_it_takes() {
    let said = said(&with_function(5_000, &tangle(5_000, 900_000)));
    assert!(
        said.contains("at most") && said.contains("to compile"),
        "{said}"
    );
}

#[test]
fn a_component_that_is_heavy_and_sound_is_compiled_and_serves() {
    // Code without branches: local.get 0; i32.const 3; i32.add; local.set 0.
    let said = said(&with_function(
        4,
        &b"\x20\0\x41\x03\x6a\x21\0".repeat(10_000),
    ));
    assert!(!said.contains("auth.wasm"), "{said}");
}
