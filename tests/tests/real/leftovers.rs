//! Processes of a real Codex that would outlive it.

use codex_gateway_tests::gateway::Gateway;
use codex_gateway_tests::real::{agent, script};
use codex_gateway_tests::remains::{kill, runs};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex"]
async fn commands_end_with_a_codex_that_is_killed() {
    let folder = tempfile::tempdir_in("/var/tmp").unwrap();
    let path = folder.path().to_str().unwrap().to_owned();
    let (gateway, _provider) = agent("danger-full-access", |setup| {
        setup
            .var("PROXY_CODEX_WORKDIR", &path)
            .without("POLICY_DIR")
    })
    .await;
    // Neither is a child of Codex's own, and the first is in a session of its own, too.
    let command = "setsid sh -c 'echo $$ > apart; exec sleep 600' & \
         sh -c 'echo $$ > inner; exec sleep 600' & wait";
    let arguments = json!({"cmd": command}).to_string();
    let turn = json!({"calls": [{"name": "exec_command", "arguments": arguments}]});
    let request = tokio::spawn(gateway.chat(&script(turn, true)).send());
    let pid = |name: &str| -> Option<u32> {
        let written = std::fs::read_to_string(folder.path().join(name)).ok()?;
        written.trim().parse().ok()
    };
    let pids = || ["apart", "inner"].map(pid);
    let begun = |_: &Gateway| pids().iter().all(Option::is_some);
    gateway.until(begun, "commands").await;
    assert!(pids().into_iter().flatten().all(runs));
    kill(gateway.worker());
    let ended = |_: &Gateway| !pids().into_iter().flatten().any(runs);
    gateway.until(ended, "end of the commands").await;
    request.await.unwrap().unwrap();
    gateway.stop().await;
}
