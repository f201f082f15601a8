//! `codex-gateway policy new` makes policies that build, pass their own tests and decide, without a change to them.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use codex_gateway::policy::Slot;
use codex_gateway::secret::fingerprint;
use codex_gateway_tests::examples::without_this_build;
use codex_gateway_tests::gateway::{KEY, Setup, say};
use serde_json::{Value, json};

fn new_policy(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gateway"));
    let command = command.args(["policy", "new"]).args(arguments);
    command.current_dir(folder).output().unwrap()
}

fn words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Runs Cargo in the folder with the crates of this workspace, and without a network.
fn cargo(folder: &Path, arguments: &[&str]) {
    let lock = concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.lock");
    std::fs::copy(lock, folder.join("Cargo.lock")).unwrap();
    let mut command = Command::new(env!("CARGO"));
    command.args(arguments).arg("--offline").current_dir(folder);
    command.env("CARGO_TARGET_DIR", target());
    without_this_build(&mut command);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", words(&output));
}

/// Kept, so that only the first run compiles the dependencies.
fn target() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("new-policies")
}

/// Makes the slot's policy, runs its tests, and builds its component.
fn build(folder: &Path, slot: Slot) -> Vec<u8> {
    let name = format!("my-{slot}");
    let made = new_policy(folder, &[slot.name(), &name]);
    assert!(made.status.success(), "{}", words(&made));
    let folder = folder.join(&name);
    cargo(&folder, &["build", "--release"]);
    cargo(&folder, &["test", "--release", "--target", "host-tuple"]);
    let component = format!("wasm32-wasip2/release/{}.wasm", name.replace('-', "_"));
    std::fs::read(target().join(component)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_policy_builds_and_decides_at_the_first_try() {
    let folder = tempfile::tempdir().unwrap();
    let settings: [(Slot, Value); 4] = [
        (
            Slot::Auth,
            json!({"callers": {fingerprint(KEY.as_bytes()): "ann"}}),
        ),
        (Slot::Model, json!({"models": ["codex-5"]})),
        (Slot::RateLimit, json!({"per_minute": 1})),
        (Slot::ToolStop, json!({"max_calls": 2})),
    ];
    let mut setup = Setup::demo();
    for (slot, settings) in settings {
        let component = build(folder.path(), slot);
        setup = setup
            .policy(&format!("{slot}.wasm"), &component)
            .policy(&format!("{slot}.json"), settings.to_string().as_bytes());
    }
    let gateway = setup.start().await;
    let health = gateway.health().await;
    let policies = health["policies"].as_array().unwrap().iter();
    let policies: Vec<_> = policies
        .map(|policy| {
            (
                policy["name"].as_str().unwrap(),
                policy["instances"].as_str().unwrap(),
            )
        })
        .collect();
    let expected = ["my-auth", "my-model", "my-rate-limit", "my-tool-stop"];
    assert_eq!(policies, expected.map(|name| (name, "frozen")));
    let mut statuses = Vec::new();
    for key in ["sk-other", KEY, KEY] {
        let mut asked = say("hello");
        asked["model"] = json!("codex-5");
        let url = format!("{}/v1/chat/completions", gateway.origin);
        let request = gateway.client.post(url).bearer_auth(key).json(&asked);
        statuses.push(request.send().await.unwrap().status().as_u16());
    }
    assert_eq!(statuses, [401, 200, 429]);
    gateway.stop().await;
}

#[test]
fn a_folder_that_is_there_and_a_wrong_name_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let made = new_policy(folder.path(), &["auth", "a", "--to", "mine"]);
    assert!(made.status.success(), "{}", words(&made));
    let readme = folder.path().join("mine/README.md");
    std::fs::write(&readme, "changed").unwrap();
    for (arguments, code, says) in [
        (
            &["auth", "a", "--to", "mine"][..],
            73,
            "mine is there already",
        ),
        (
            &["auth", "a", "--to", "no/where"],
            73,
            "the folder above it is not there",
        ),
        (
            &["auth", "A b"],
            2,
            "expected a name of 1 to 64 lower-case letters",
        ),
        (&["auth", "serde"], 2, "expected another"),
        (&["aut", "a"], 2, "auth, model, rate-limit, tool-stop"),
        (&["auth", "a", "--lang", "go"], 2, "rust, js, python"),
    ] {
        let refused = new_policy(folder.path(), arguments);
        let words = words(&refused);
        assert_eq!(refused.status.code(), Some(code), "{words}");
        assert!(words.contains(says), "{words}");
    }
    assert_eq!(std::fs::read_to_string(readme).unwrap(), "changed");
}
