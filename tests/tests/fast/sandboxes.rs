//! Agent mode on a machine that forbids the sandbox: not ready, with the reason and the remedy, until that is repaired.

use std::path::Path;

use codex_gateway_tests::gateway::{Gateway, Setup, say};
use serde_json::{Value, json};

use crate::journal;

const WORDS: &str = "bwrap: No permissions to create new namespace";

fn probing() -> Setup {
    crate::fake().var("WORKER_PROBE_INTERVAL_MS", "20")
}

fn forbid(home: &Path) {
    let fault = json!({"sandbox": WORDS}).to_string();
    std::fs::write(home.join("fake-start.json"), fault).unwrap();
}

/// The status of `/readyz`, and the reason if it is not 200.
async fn ready(gateway: &Gateway, for_another: bool) -> (u16, Value) {
    let request = gateway.get("/readyz");
    let request = match for_another {
        true => request.header("x-forwarded-for", "203.0.113.9"),
        false => request,
    };
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    let mut body: Value = answer.json().await.unwrap();
    (status, body["backend"]["reason"].take())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_whose_sandbox_is_forbidden_is_not_ready_until_it_is_allowed() {
    let setup = probing().var("CODEX_MODE", "agent");
    forbid(setup.home());
    let gateway = setup.launch().await;
    let told = |gateway: &Gateway| {
        let reason = gateway.backend.status().reason;
        reason.is_some_and(|reason| reason.contains(WORDS))
    };
    gateway.until(told, "reason").await;
    let (status, reason) = ready(&gateway, false).await;
    let reason = reason.as_str().unwrap();
    assert_eq!(status, 503);
    for words in [
        WORDS,
        "security_opt",
        "kernel.unprivileged_userns_clone",
        "danger-full-access",
    ] {
        assert!(reason.contains(words), "{words} is missing in: {reason}");
    }
    let (status, reason) = ready(&gateway, true).await;
    assert_eq!(status, 503);
    assert!(!reason.to_string().contains("bwrap"), "{reason}");
    let refused = gateway.chat(&say("hi")).send().await.unwrap();
    assert_eq!(refused.status(), 503);
    std::fs::remove_file(gateway.home().join("fake-start.json")).unwrap();
    gateway.backend.ready().await;
    assert_eq!(ready(&gateway, false).await, (200, Value::Null));
    assert_eq!(gateway.backend.status().restarts, 0);
    let served = gateway.chat(&say("hi")).send().await.unwrap();
    assert_eq!(served.status(), 200);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_tried_where_no_sandbox_is_used() {
    for setup in [
        probing(),
        probing()
            .var("CODEX_MODE", "agent")
            .var("PROXY_SANDBOX_MODE", "danger-full-access")
            .without("POLICY_DIR"),
    ] {
        forbid(setup.home());
        let gateway = setup.start().await;
        let journal = journal::text(&gateway);
        assert!(!journal.contains("command/exec"), "{journal}");
        gateway.stop().await;
    }
}
