//! The protocol log: every message of a turn is recorded with its request's id, and nothing of what was said.

use std::path::Path;

use codex_gateway_tests::gateway::{KEY, Setup, say, script};
use serde_json::{Value, json};

use crate::{fake, old_fake};

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    let lines = text.lines().map(serde_json::from_str);
    lines.collect::<Result<_, _>>().unwrap()
}

/// Runs one turn with the log on. Returns the id of its request, the file's text and its lines.
async fn record(setup: Setup, bodies: &str) -> (String, String, Vec<Value>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("proto.ndjson");
    let gateway = setup
        .var("PROXY_DEBUG_PROTO", "true")
        .var("PROXY_DEBUG_PROTO_BODIES", bodies)
        .var("PROTO_LOG_PATH", &path.to_string_lossy())
        .start()
        .await;
    let said = script(json!({"text": ["a secret answer"]}));
    let answer = gateway.chat(&say(&said)).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let id = answer.headers()["x-request-id"].to_str().unwrap();
    let id = id.to_owned();
    let answer = answer.text().await.unwrap();
    assert!(answer.contains("a secret answer"), "{answer}");
    gateway.stop().await;
    (id, std::fs::read_to_string(&path).unwrap(), lines(&path))
}

/// The methods of the lines of one request, in their order.
fn methods<'a>(lines: &'a [Value], request: &str) -> Vec<(&'a str, &'a str)> {
    let of = lines.iter().filter(|line| line["req_id"] == request);
    of.map(|line| {
        let word = |name: &str| line[name].as_str().unwrap_or_default();
        (word("direction"), word("method"))
    })
    .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_message_of_a_turn_is_recorded_without_what_was_said() {
    let (id, text, lines) = record(fake(), "false").await;
    let methods = methods(&lines, &id);
    for one in [
        ("to_codex", "turn/start"),
        ("from_codex", "turn/start"),
        ("from_codex", "turn/started"),
        ("from_codex", "turn/completed"),
    ] {
        assert!(methods.contains(&one), "{one:?} is not in {methods:?}");
    }
    let first = &lines[0];
    assert_eq!(
        (&first["direction"], &first["method"]),
        (&json!("to_codex"), &json!("initialize"))
    );
    assert!(first["pid"].is_u64() && first["bytes"].is_u64(), "{first}");
    assert!(lines[1]["duration_ms"].is_u64(), "{}", lines[1]);
    for secret in ["secret answer", "fake", KEY] {
        assert!(!text.contains(secret), "{secret} is in {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_said_is_recorded_with_a_switch_of_its_own() {
    let (_, text, lines) = record(fake(), "true").await;
    assert!(text.contains("a secret answer") && !text.contains(KEY));
    let read = lines.iter().filter(|line| line["method"] == "config/read");
    let read: Vec<_> = read.collect();
    assert!(!read.is_empty());
    assert!(
        read.iter().all(|line| line.get("body").is_none()),
        "{read:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_messages_of_an_old_codex_are_recorded_too() {
    let (id, text, lines) = record(old_fake(), "false").await;
    let methods = methods(&lines, &id);
    for one in [
        ("to_codex", "user_turn"),
        ("from_codex", "task_started"),
        ("from_codex", "task_complete"),
    ] {
        assert!(methods.contains(&one), "{one:?} is not in {methods:?}");
    }
    assert!(!text.contains("secret"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn recorded_messages_are_counted_and_lost_ones_too() {
    let gateway = fake()
        .var("PROXY_ENABLE_METRICS", "true")
        .var("PROXY_DEBUG_PROTO", "true")
        // Every write to this device fails as on a full disk.
        .var("PROTO_LOG_PATH", "/dev/full")
        .start()
        .await;
    let answer = gateway.chat(&say(&script(json!({})))).send().await.unwrap();
    assert_eq!(answer.status(), 200, "no turn waits for the disk");
    let lost = async {
        loop {
            let url = format!("{}/metrics", gateway.origin);
            let text = gateway.client.get(url).send().await.unwrap();
            let text = text.text().await.unwrap();
            let value = |name: &str| {
                let mut lines = text.lines();
                let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
                value.unwrap().parse::<u64>().unwrap()
            };
            assert_eq!(value("codex_protocol_messages_written_total"), 0);
            if value("codex_protocol_messages_dropped_total") > 0 {
                return;
            }
        }
    };
    let limit = std::time::Duration::from_secs(30);
    let in_time = tokio::time::timeout(limit, lost).await;
    in_time.expect("lost messages are counted");
    gateway.stop().await;
}
