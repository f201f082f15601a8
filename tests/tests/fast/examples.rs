//! The examples in Rust build, pass their tests and cases, and decide, with what their README says and nothing else.

use std::os::unix::fs::symlink;
use std::path::Path;

use codex_gateway_tests::examples::{Example, without_this_build};
use codex_gateway_tests::gateway::{Setup, say};
use serde_json::{Value, json};

/// Builds an example with the crates of this workspace, and without a network.
fn built(name: &str) -> Vec<u8> {
    let example = Example::copied(name);
    let lock = concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.lock");
    std::fs::copy(lock, example.folder().join("Cargo.lock")).unwrap();
    // Kept, so that only the first run compiles the dependencies.
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("examples");
    std::fs::create_dir_all(&target).unwrap();
    symlink(target, example.folder().join("target")).unwrap();
    example.built(env!("CARGO_BIN_EXE_gateway"), |command| {
        command.env("CARGO_NET_OFFLINE", "true");
        without_this_build(command).env_remove("CARGO_TARGET_DIR");
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_that_was_copied_and_built_ends() {
    let component = tokio::task::block_in_place(|| built("budget"));
    // A single token costs more than this.
    let settings = json!({
        "prices": [{"name": "all", "models": ["*"], "per_million": 1_000_000}],
        "others": 0.5,
    });
    let gateway = Setup::demo()
        .policy("rate-limit.wasm", &component)
        .policy("rate-limit.json", settings.to_string().as_bytes())
        .start()
        .await;
    let listed = gateway.get("/v1/models").send().await.unwrap();
    assert_eq!(listed.status().as_u16(), 200);
    let refused = gateway.chat(&say("hello")).send().await.unwrap();
    assert_eq!(refused.status().as_u16(), 429);
    assert!(refused.headers().contains_key("retry-after"));
    let refused: Value = refused.json().await.unwrap();
    assert_eq!(refused["error"]["code"], "insufficient_quota");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_policy_that_was_copied_and_built_refuses_strangers() {
    let component = tokio::task::block_in_place(|| built("jwt-auth"));
    let case = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../policies/examples/jwt-auth/cases/algorithms.case.json"
    );
    let case: Value = serde_json::from_slice(&std::fs::read(case).unwrap()).unwrap();
    let gateway = Setup::demo()
        .policy("auth.wasm", &component)
        .policy("auth.json", case["settings"].to_string().as_bytes())
        .policy("policies.toml", b"[auth]\ngrants = [\"credential\"]\n")
        .start()
        .await;
    // The gateway's own key is no token.
    let refused = gateway.chat(&say("hello")).send().await.unwrap();
    assert_eq!(refused.status().as_u16(), 401);
    assert_eq!(
        refused.headers()["www-authenticate"],
        "Bearer realm=\"api\", error=\"invalid_token\""
    );
    gateway.stop().await;
}
