//! The protocol log with the real Codex: the messages of a turn have its request's id, and no secret is in the file.

use codex_gateway_tests::gateway::KEY;
use codex_gateway_tests::provider;
use codex_gateway_tests::real::{script, set_up};
use serde_json::{Value, json};

/// A secret in Codex's `config.toml`.
const HEADER: &str = "header-3f9a";

/// Runs one turn, and returns the lines of its request, as direction and method.
async fn record(program: &str, model: &str, bodies: bool) -> Vec<String> {
    let (setup, _provider) = set_up(program, model).await;
    let path = setup.home().join("proto.ndjson");
    // Codex tells its whole configuration when it is asked.
    let config = setup.home().join("config.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    let headers = format!("http_headers = {{ x-private = \"{HEADER}\" }}\n");
    std::fs::write(&config, text + &headers).unwrap();
    let gateway = setup
        .var("PROXY_DEBUG_PROTO", "true")
        .var("PROXY_DEBUG_PROTO_BODIES", &bodies.to_string())
        .var("PROTO_LOG_PATH", &path.to_string_lossy())
        .start()
        .await;
    let body = script(json!({"text": ["a most private answer"]}), true);
    let answer = gateway.chat(&body).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let request = answer.headers()["x-request-id"].to_str().unwrap();
    let request = request.to_owned();
    answer.bytes().await.unwrap();
    gateway.idle().await;
    gateway.backend.shutdown().await;
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(text.contains("a most private answer"), bodies);
    for secret in [KEY, provider::KEY, HEADER] {
        assert!(!text.contains(secret), "a key is in the file");
    }
    let lines = text.lines().map(|line| -> Value {
        let line: Value = serde_json::from_str(line).unwrap();
        let is_read = line["kind"] != "unreadable" && line["method"].is_string();
        assert!(is_read, "{line}");
        line
    });
    let of_request = lines.filter(|line| line["req_id"] == request.as_str());
    let word = |line: &Value, name: &str| line[name].as_str().unwrap_or_default().to_owned();
    let told = of_request.map(|line| [word(&line, "direction"), word(&line, "method")].join(" "));
    let told = told.collect();
    gateway.stop().await;
    told
}

fn assert_has(lines: &[String], expected: &[&str]) {
    for line in expected {
        assert!(lines.iter().any(|told| told == line), "{line}: {lines:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex"]
async fn the_messages_of_a_turn_are_recorded() {
    for bodies in [false, true] {
        let lines = record("TEST_CODEX_BIN", "gpt-5.4", bodies).await;
        assert_has(
            &lines,
            &[
                "to_codex thread/inject_items",
                "to_codex turn/start",
                "from_codex turn/start",
                "from_codex turn/started",
                "from_codex item/agentMessage/delta",
                "from_codex turn/completed",
            ],
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex 0.42"]
async fn the_messages_of_a_turn_of_an_old_codex_are_recorded() {
    let lines = record("TEST_CODEX_PROTO_BIN", "gpt-5", false).await;
    assert_has(
        &lines,
        &[
            "to_codex user_turn",
            "from_codex task_started",
            "from_codex agent_message_delta",
            "from_codex task_complete",
        ],
    );
}
