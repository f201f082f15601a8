//! `policy replay`: recorded decisions are decided again, with the same and with other policies.

use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::folders::{KEY, Site};
use super::*;

/// A site whose gateway recorded some decisions and ended, and the folder of the records.
fn recorded(site: &Site) -> (Vec<(&'static str, String)>, tempfile::TempDir) {
    let records = tempfile::tempdir().unwrap();
    let mut vars = site.vars().to_vec();
    vars.push((
        "POLICY_RECORD",
        records.path().to_string_lossy().into_owned(),
    ));
    let shown: Vec<_> = vars
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let mut running = Running::start(&shown);
    for key in [KEY, KEY, KEY, "sk-wrong"] {
        running.get("/v1/models/demo", Some(key));
        let mut answer = String::new();
        let body = r#"{"messages":[{"role":"user","content":"hi"}]}"#;
        let mut connection = post_with(&running.address, key, body);
        connection.read_to_string(&mut answer).unwrap();
    }
    running.signal("-TERM");
    assert!(running.child.wait().unwrap().success());
    (vars, records)
}

/// The exit code, the output and the messages of a replay.
fn replay(vars: &[(&str, String)], arguments: &[&str]) -> (Option<i32>, String, String) {
    let vars: Vec<_> = vars
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let all = [&[("PROXY_API_KEY", "sk-test"), ("PORT", "0")], &vars[..]].concat();
    let mut command = gateway(&all);
    let command = command.args(["policy", "replay"]).args(arguments);
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

fn only_file(folder: &Path) -> PathBuf {
    let mut files = std::fs::read_dir(folder).unwrap();
    files.next().unwrap().unwrap().path()
}

#[test]
fn records_are_decided_again() {
    let site = Site::new();
    let (vars, records) = recorded(&site);
    let folder = records.path().to_str().unwrap();

    // The same policies decide the same.
    let (code, table, told) = replay(&vars, &[folder]);
    assert_eq!((code, told.as_str()), (Some(0), ""), "{table}");
    assert!(
        table.contains(", 0 of other policies, the chain is whole"),
        "{table}"
    );
    assert!(
        table.contains(": 0 differ, 0 faults, 0 cannot be compared"),
        "{table}"
    );

    // Another key file: it is told whom it would shut out.
    let others = records.path().join("auth.json");
    std::fs::write(&others, r#"{"keys": []}"#).unwrap();
    let given = format!("auth={}", others.display());
    let (code, table, _) = replay(&vars, &[folder, "--settings", &given]);
    assert_eq!(code, Some(1), "{table}");
    let row = table.lines().find(|line| line.contains("caller alice"));
    let row: Vec<_> = row
        .unwrap_or_else(|| panic!("{table}"))
        .split_whitespace()
        .collect();
    assert_eq!(row[1..4], ["auth", "authenticate", "alice"], "{table}");
    let others = others.to_str().unwrap();
    let (code, json, _) = replay(&vars, &[folder, "--settings", others, "--json"]);
    let report: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(code, Some(1));
    assert_eq!(report["differences"][0]["from"], "caller alice");

    // All mistakes of the arguments are told at once.
    let (code, _, told) = replay(
        &vars,
        &["/nowhere", "--with", "x.wasm", "--settings", "auth=/no"],
    );
    assert_eq!(code, Some(78));
    for words in [
        "/nowhere: ",
        "x.wasm: expected a file named auth.wasm",
        "/no: ",
    ] {
        assert!(told.contains(words), "{told}");
    }
    std::fs::write(others, r#"{"kyes": []}"#).unwrap();
    let (code, _, told) = replay(&vars, &[folder, "--settings", others]);
    assert_eq!(code, Some(78));
    assert!(
        told.contains("auth.json") && told.contains("kyes"),
        "{told}"
    );
}

#[test]
fn an_altered_record_is_found_with_its_file_and_line() {
    let site = Site::new();
    let (vars, records) = recorded(&site);
    let path = only_file(records.path());
    // Unpacked, altered, packed and sealed again, as somebody would who knows what he wants.
    let text = zstd::decode_all(std::fs::File::open(&path).unwrap()).unwrap();
    let text = String::from_utf8(text).unwrap();
    let line = 1 + text
        .lines()
        .position(|line| line.contains("alice"))
        .unwrap();
    let altered = text.replacen("alice", "alicf", 1);
    let frame = zstd::encode_all(altered.as_bytes(), 3).unwrap();
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, sealed(&frame)).unwrap();
    let (code, shown, told) = replay(&vars, &[path.to_str().unwrap()]);
    assert_eq!((code, shown.as_str()), (Some(65), ""));
    let expected = format!("codex-gateway: {}, line {line}: its hash", path.display());
    assert!(told.starts_with(&expected), "{told}");

    // A bit in which zstd sees no difference: the unused one of the frame's descriptor.
    let mut flipped = whole;
    flipped[76 + 4] ^= 1 << 4;
    std::fs::write(&path, &flipped).unwrap();
    assert_eq!(zstd::decode_all(&flipped[..]).unwrap(), text.as_bytes());
    let (code, _, told) = replay(&vars, &[path.to_str().unwrap()]);
    assert_eq!(code, Some(65));
    let expected = format!(
        "{}, line 1: the frame that begins here was altered",
        path.display()
    );
    assert!(told.contains(&expected), "{told}");
}

/// A frame after its seal, as the documentation has it.
fn sealed(frame: &[u8]) -> Vec<u8> {
    let mut bytes = 0x184d_2a57_u32.to_le_bytes().to_vec();
    bytes.extend(68_u32.to_le_bytes());
    bytes.extend((frame.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&Sha256::digest(frame));
    let check = Sha256::digest(&bytes);
    bytes.extend_from_slice(&check);
    bytes.extend_from_slice(frame);
    bytes
}
