//! Clients that disconnect before their answer is complete, where the operator wants their turns to run on.

use std::path::{Path, PathBuf};

use codex_gateway_tests::gateway::{Gateway, Setup, say, stream};
use codex_gateway_tests::sse::Events;
use serde_json::{Value, json};

use crate::{fake, journal, old_fake};

/// A file that the fake waits for after its first delta.
fn gate(gateway: &Gateway) -> PathBuf {
    gateway.home().join("gate")
}

fn waiting(gateway: &Gateway) -> String {
    let gate = gate(gateway);
    json!({"fake": {"text": ["one ", "two"], "gate": gate}}).to_string()
}

/// Opens a stream, reads its first delta, and disconnects.
async fn leave_a_stream(gateway: &Gateway) {
    let body = stream(&waiting(gateway));
    let mut events = Events::of(gateway.chat(&body).send().await.unwrap());
    // The role, then the first delta.
    assert!(events.next().await.is_some());
    assert!(events.next().await.is_some());
}

/// Sends a request whose answer is not streamed, and disconnects during its turn.
async fn leave_an_answer(gateway: &Gateway) {
    let before = journal::count(gateway, "turn/start");
    let request = tokio::spawn(gateway.chat(&say(&waiting(gateway))).send());
    gateway
        .until(
            |gateway| journal::count(gateway, "turn/start") > before,
            "turn",
        )
        .await;
    // When another turn has ended, this one is well under way.
    let quick = gateway.chat(&say("hi")).send().await.unwrap();
    assert_eq!(quick.status(), 200);
    request.abort();
    assert!(request.await.unwrap_err().is_cancelled());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_outlives_its_client_where_it_shall() {
    let setup = fake().var("PROXY_KILL_ON_DISCONNECT", "false");
    let gateway = setup.start().await;
    leave_a_stream(&gateway).await;
    leave_an_answer(&gateway).await;
    // When another turn has ended, the turns of disconnected clients would have been interrupted.
    let quick = gateway.chat(&say("hi")).send().await.unwrap();
    assert_eq!(quick.status(), 200);
    std::fs::write(gate(&gateway), "").unwrap();
    gateway.idle().await;
    assert_eq!(
        journal::count(&gateway, "turn/interrupt"),
        0,
        "both ran to their end"
    );
    gateway.stop().await;
}

/// The recorded finish reason of the last request.
fn last_finish(usage: &Path) -> Value {
    let lines = std::fs::read_to_string(usage).unwrap();
    let last: Value = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
    last["finish_reason"].clone()
}

/// Asserts that a turn whose client has disconnected ends normally although the gateway is stopping.
async fn outlives_the_end_of_intake(setup: Setup) {
    let folder = tempfile::tempdir().unwrap();
    let usage = folder.path().join("usage.ndjson");
    let gateway = setup
        .var("PROXY_KILL_ON_DISCONNECT", "false")
        .var("TOKEN_LOG_PATH", &usage.to_string_lossy())
        .start()
        .await;
    let (gate, origin) = (gate(&gateway), gateway.origin.clone());
    let script = json!({"demo": {"text": "x ", "deltas": 100, "delay_ms": 20}, "fake": {"text": ["one ", "two"], "gate": gate}});
    let mut events = Events::of(
        gateway
            .chat(&stream(&script.to_string()))
            .send()
            .await
            .unwrap(),
    );
    assert!(events.next().await.is_some());
    assert!(events.next().await.is_some());
    drop(events);
    let stopping = tokio::spawn(gateway.stop());
    while tokio::net::TcpStream::connect(origin.trim_start_matches("http://"))
        .await
        .is_ok()
    {
        tokio::task::yield_now().await;
    }
    std::fs::write(gate, "").unwrap_or_default();
    stopping.await.unwrap();
    assert_eq!(last_finish(&usage), "stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn draining_waits_for_turns_whose_clients_have_gone() {
    outlives_the_end_of_intake(Setup::demo()).await;
    outlives_the_end_of_intake(fake()).await;
    outlives_the_end_of_intake(old_fake()).await;
}
