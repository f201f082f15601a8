//! A home that the real Codex cannot write to: the gateway reports it, serves the endpoints that need no Codex, and uses
//! Codex as soon as the home is writable.

use std::os::unix::fs::symlink;

use codex_gateway_tests::real::{set_up, whole};
use codex_gateway_tests::remains::processes;
use serde_json::{Value, json};

/// A folder in which not even root can create files.
const UNWRITABLE: &str = "/sys/kernel";

/// `words`: the reason that Codex gives for its exit.
async fn recovers_from_an_unwritable_home(program: &str, model: &str, words: &str) {
    let (setup, provider) = set_up(program, model).await;
    let real_home = setup.home().to_owned();
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("home");
    symlink(UNWRITABLE, &home).unwrap();
    let gateway = setup
        .var("CODEX_HOME", &home.to_string_lossy())
        .var("WORKER_BACKOFF_INITIAL_MS", "20")
        .var("WORKER_BACKOFF_MAX_MS", "50")
        .launch()
        .await;
    gateway
        .until(
            |gateway| gateway.backend.status().restarts >= 2,
            "second restart",
        )
        .await;
    let (status, body) = whole(&gateway, json!({})).await;
    assert_eq!(
        (status, &body["error"]["code"]),
        (503, &json!("worker_not_ready")),
        "{body}"
    );
    assert!(
        !body.to_string().contains("os error"),
        "for the operator: {body}"
    );
    let ready = gateway.get("/readyz").send().await.unwrap();
    assert_eq!(ready.status(), 503);
    let body: Value = ready.json().await.unwrap();
    let reason = body["backend"]["reason"].as_str().unwrap_or_default();
    assert!(reason.contains(words), "{body}");
    assert_eq!(body["backend"]["turns"], 0);
    assert_eq!(gateway.get("/livez").send().await.unwrap().status(), 200);
    assert_eq!(provider.requests().len(), 0);

    std::fs::remove_file(&home).unwrap();
    symlink(&real_home, &home).unwrap();
    gateway.backend.ready().await;
    assert_eq!(whole(&gateway, json!({})).await.0, 200);
    gateway.stop().await;
    assert!(processes(&home).is_empty(), "processes were left behind");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex"]
async fn an_unwritable_home_is_told_and_got_over() {
    recovers_from_an_unwritable_home("TEST_CODEX_BIN", "gpt-5.4", "Permission denied").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex 0.42"]
async fn an_unwritable_home_is_told_and_got_over_by_an_old_codex_too() {
    recovers_from_an_unwritable_home("TEST_CODEX_PROTO_BIN", "gpt-5", "agent loop died").await;
}
