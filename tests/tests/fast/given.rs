//! The facts and resources that policies get: mistakes are found before a policy serves, not by its first request.

use std::time::Duration;

use codex_gateway::policy::{Defaults, Engine, Facts, Live, Source};
use codex_gateway_tests::guests::{EVERY, deploy, foreign};
use serde_json::json;

/// Prepares these files over the built-in policies, with a key in the environment. Returns the refusal, if any.
async fn refused(files: &[(&str, &[u8])]) -> Option<String> {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        deploy(folder.path(), name, bytes);
    }
    let key = json!({"keys": [{"id": "owner", "sha256": "ab".repeat(32)}]});
    let defaults = Defaults {
        auth: key.as_object().unwrap().clone(),
        ..Defaults::default()
    };
    let source = Source::new(Some(folder.path().to_owned()), defaults);
    let engine = Engine::new(None).unwrap();
    let candidates = match source.read(&Facts::default()) {
        Ok(candidates) => candidates,
        Err(refusals) => return Some(refusals.to_string()),
    };
    let live = Live::start(engine, &candidates).await;
    live.err().map(|refusals| refusals.to_string())
}

fn patched(words: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut bytes = EVERY.to_vec();
    for (from, to) in words {
        assert_eq!(from.len(), to.len());
        let at = bytes.windows(from.len()).position(|window| window == *from);
        let at = at.unwrap_or_else(|| panic!("{from:?} is not in the guest"));
        bytes[at..at + to.len()].copy_from_slice(to);
    }
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_in_settings_are_shown_all_at_once_with_their_places() {
    let settings = json!({
        "keys": [{"id": "a", "sha256": "ab".repeat(32)}, {"id": 7, "sha256": "zz"}],
        "anonymous": ["no-slash"],
        "keyz": [],
    });
    let said = refused(&[("auth.json", settings.to_string().as_bytes())])
        .await
        .unwrap();
    assert!(said.starts_with("auth.json (auth policy): "), "{said}");
    for expected in ["/keys/1/id: ", "/keys/1/sha256: ", "/anonymous/0: ", "keyz"] {
        assert!(said.contains(expected), "{expected} is missing: {said}");
    }
    assert!(!said.contains("zz\""), "values may be secrets: {said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_that_the_manifest_asks_for_is_demanded_at_load() {
    let wants = patched(&[(b"x-nobody", b"x-grants"), (b"everything", b"credential")]);
    let said = refused(&[("auth.wasm", &wants)]).await.unwrap();
    assert!(
        said.contains("auth.wasm") && said.contains("grants = [\"credential\"]"),
        "{said}"
    );
    let manifest = b"[auth]\ngrants = [\"credential\"]\n";
    assert_eq!(
        refused(&[("auth.wasm", &wants), ("policies.toml", manifest)]).await,
        None
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_schema_is_a_refusal_of_the_component() {
    let broken = patched(&[(
        b"\"x-nobody\":[\"everything\"]",
        b"\"type\":\"whatever-that-is\"",
    )]);
    let said = refused(&[("auth.wasm", &broken)]).await.unwrap();
    assert!(
        said.starts_with("auth.wasm") && said.contains("expected a JSON Schema"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_on_the_main_path_is_found_by_the_trial() {
    for (slot, path) in [
        ("auth", "credential"),
        ("model", "model"),
        ("tool-stop", "history"),
    ] {
        for instances in ["frozen", "warm"] {
            let settings = json!({"trip": path}).to_string();
            let manifest = format!("[{slot}]\ninstances = \"{instances}\"\n");
            let (wasm, json) = (format!("{slot}.wasm"), format!("{slot}.json"));
            let files: [(&str, &[u8]); 3] = [
                (&wasm, EVERY),
                (&json, settings.as_bytes()),
                ("policies.toml", manifest.as_bytes()),
            ];
            let said = refused(&files)
                .await
                .unwrap_or_else(|| panic!("{slot} serves"));
            assert!(
                said.contains("trial call") && said.contains("tripped over"),
                "{said}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configure_that_sleeps_is_stopped() {
    for settings in [r#"{"configure": "sleep"}"#, r#"{"configure": "spin"}"#] {
        // The deadline for decisions does not apply to `configure`.
        let patient = b"[auth]\ndeadline_ms = 10000\n";
        let files: [(&str, &[u8]); 3] = [
            ("auth.wasm", EVERY),
            ("auth.json", settings.as_bytes()),
            ("policies.toml", patient),
        ];
        let said = tokio::time::timeout(Duration::from_secs(60), refused(&files)).await;
        let said = said.expect("it is never stopped").unwrap();
        assert!(
            said.contains("a fault while configuring: deadline"),
            "{said}"
        );
    }
}

/// The component is also invalid after its imports: compiling it would give another error.
#[tokio::test(flavor = "multi_thread")]
async fn imports_are_refused_before_anything_is_compiled() {
    let mut broken = foreign();
    // A module with one function, whose body is not valid code.
    broken.extend(
        b"\x01\x1a\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x03\x02\x01\0\x0a\x06\x01\x04\0\xff\xff\x0b",
    );
    let said = refused(&[("auth.wasm", &broken)]).await.unwrap();
    assert!(said.contains("wasj:filesystem/"), "{said}");
    let mut bomb = EVERY.to_vec();
    // A module with 100 memories.
    bomb.extend(
        [
            b"\x01\xd4\x01\0asm\x01\0\0\0\x05\xc9\x01\x64".to_vec(),
            b"\0\x01".repeat(100),
        ]
        .concat(),
    );
    let said = refused(&[("auth.wasm", &bomb)]).await.unwrap();
    assert!(said.contains("at most 4 memories"), "{said}");
}
