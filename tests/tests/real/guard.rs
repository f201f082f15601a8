//! The real Codex as an agent that tries to write to the gateway's own folders: in a sandbox it changes none of them.

use std::collections::BTreeMap;
use std::path::Path;

use codex_gateway_tests::real::{set_up_agent, whole};
use serde_json::json;

/// Each file below a folder, with its content. The files of the counters are left out: the gateway may write them.
fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(contents(&path));
        } else if !path.to_string_lossy().contains("counters") {
            let bytes = std::fs::read(&path).unwrap();
            found.insert(path.to_string_lossy().into_owned(), bytes);
        }
    }
    found
}

/// Whether the last good policies have been stored.
fn remembers(folder: &Path) -> bool {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.any(|name| name.starts_with("last-good-") && name.ends_with(".json"))
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex"]
async fn an_agent_in_a_sandbox_cannot_write_policies_state_or_cache() {
    let folder = || tempfile::tempdir().unwrap();
    for (sandbox, shared) in [
        ("read-only", false),
        ("workspace-write", false),
        ("workspace-write", true),
    ] {
        let (state, cache, work) = (folder(), folder(), folder());
        let text = |folder: &tempfile::TempDir| folder.path().to_string_lossy().into_owned();
        let (setup, provider) = set_up_agent(sandbox).await;
        let mut setup = setup
            .var("PROXY_STATE_DIR", &text(&state))
            .var("PROXY_CACHE_DIR", &text(&cache))
            .policy("tool-stop.json", b"{}");
        if shared {
            setup = setup.var("PROXY_CODEX_WORKDIR", &text(&work));
        }
        std::fs::write(cache.path().join("compiled"), "machine code").unwrap();
        let gateway = setup.start().await;
        let policies = gateway.policies().to_owned();
        let folders = [policies.as_path(), state.path(), cache.path()];
        let kept = state.path().join("policies");
        gateway
            .until(|_| remembers(&kept), "last good policies")
            .await;
        let before = folders.map(contents);
        assert!(
            before.iter().all(|contents| !contents.is_empty()),
            "{before:?}"
        );
        let attempts = folders.map(|folder| {
            let folder = folder.display();
            format!(
                "for f in {folder}/*; do echo '{{}}' > $f; rm -rf $f; mv $f $f.away; done; echo x > {folder}/stray; \
                 ln -s / {folder}/link; mv {folder} {folder}.away; chmod 777 {folder}; "
            )
        });
        let command = format!("{} echo tried; true", attempts.concat());
        let call =
            json!({"name": "exec_command", "arguments": json!({"cmd": command}).to_string()});
        let (status, body) = whole(
            &gateway,
            json!({"calls": [call], "then": {"text": ["done"]}}),
        )
        .await;
        assert_eq!(status, 200, "{body}");
        let output = provider.requests().pop().unwrap().outputs().remove(0);
        assert!(output.contains("tried"), "{output}");
        assert_eq!(folders.map(contents), before, "{sandbox}: {output}");
        assert_eq!(gateway.live.current().number(), 1);
        assert!(gateway.live.refusals().is_empty());
        gateway.stop().await;
    }
}
