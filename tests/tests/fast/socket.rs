//! Responses over a WebSocket: one turn after another, each decided on as a request of its own.

use codex_gateway::secret::fingerprint;
use codex_gateway_tests::gateway::{Gateway, KEY, Setup, script};
use codex_gateway_tests::guests::{EVERY, deploy};
use codex_gateway_tests::socket::{LAST, MORE, PING, Said, Socket, TEXT, TEXT_PART};
use serde_json::{Value, json};

use crate::{fake, journal};

fn ask(text: &str) -> Value {
    json!({"model": "codex-5", "input": text})
}

fn fork(text: &str, previous: &Value) -> Value {
    json!({"model": "codex-5", "input": text, "previous_response_id": previous, "store": false})
}

fn kinds(events: &[Value]) -> Vec<&str> {
    let kinds = events.iter().map(|event| event["type"].as_str());
    kinds.map(Option::unwrap_or_default).collect()
}

fn id(event: &Value) -> &Value {
    assert_eq!(event["type"], "response.completed", "{event}");
    &event["response"]["id"]
}

/// Status and code of an error event.
fn error(event: &Value) -> (u64, &str) {
    assert_eq!(event["type"], "error", "{event}");
    let code = event["error"]["code"].as_str();
    (event["status"].as_u64().unwrap(), code.unwrap())
}

/// The lines of the fake's journal about the thread in which this was asked last.
fn thread(gateway: &Gateway, asked: &str) -> String {
    let journal = journal::text(gateway);
    let last = journal.lines().rfind(|line| line.contains(asked)).unwrap();
    let last: Value = serde_json::from_str(last).unwrap();
    let thread = last["params"]["threadId"].as_str().unwrap();
    let of_thread = journal.lines().filter(|line| line.contains(thread));
    of_thread.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_turn_follows_another_on_a_connection() {
    let gateway = fake().start().await;
    let mut socket = Socket::open(&gateway).await;
    socket.create(&ask("The word is papaya.")).await;
    let events = socket.answer().await;
    let kinds = kinds(&events);
    assert_eq!(kinds[..2], ["response.created", "response.in_progress"]);
    assert!(kinds.contains(&"response.output_text.delta"), "{kinds:?}");
    let numbers = events.iter().map(|event| event["sequence_number"].as_u64());
    let numbers: Vec<_> = numbers.map(Option::unwrap).collect();
    assert_eq!(numbers, (0..events.len() as u64).collect::<Vec<_>>());
    let first = id(events.last().unwrap()).clone();
    // A stored response is continued here and elsewhere, as over HTTP.
    let second = socket.ask(&fork("and now?", &first)).await;
    assert_eq!(second["response"]["previous_response_id"], first);
    assert!(thread(&gateway, "and now?").contains("papaya"));
    let path = format!("/v1/responses/{}", first.as_str().unwrap());
    assert_eq!(gateway.read(&path).await["status"], "completed");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_come_together_are_answered_in_their_order() {
    let gateway = fake().start().await;
    let mut socket = Socket::open(&gateway).await;
    for (lane, word) in ["one", "two", "three"].into_iter().enumerate() {
        let mut body = ask(&script(json!({"text": [word]})));
        body["stream_id"] = json!(format!("lane \"{lane}\""));
        socket.create(&body).await;
    }
    for (lane, word) in ["one", "two", "three"].into_iter().enumerate() {
        let events = socket.answer().await;
        let lane = format!("lane \"{lane}\"");
        assert!(events.iter().all(|event| event["stream_id"] == lane));
        let text = &events.last().unwrap()["response"]["output"][0]["content"][0]["text"];
        assert_eq!(text, word);
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_is_in_the_lane_of_its_request() {
    let rules = json!({"rules": [{"name": "few", "per": "caller", "unit": "requests", "limit": 2, "window_ms": 31 * 24 * 3_600_000_u64}]});
    let gateway = fake()
        .policy("rate-limit.json", rules.to_string().as_bytes())
        .start()
        .await;
    let mut socket = Socket::open(&gateway).await;
    let lane = |body: Value| {
        let mut body = body;
        body["stream_id"] = json!("a \"lane\"");
        body
    };
    let dying = script(json!({"text": ["a"], "exit_after": 0}));
    for (body, code) in [
        (json!({"input": 7}), "invalid_type"),
        (json!({"input": "hi", "model": "none"}), "model_not_found"),
        (fork("hi", &json!("resp_0")), "previous_response_not_found"),
        (ask(&dying), ""),
        (ask("hi"), ""),
        (ask("hi"), "rate_limited"),
    ] {
        socket.create(&lane(body)).await;
        let events = socket.answer().await;
        assert!(
            events
                .iter()
                .all(|event| event["stream_id"] == "a \"lane\""),
            "{events:?}"
        );
        if !code.is_empty() {
            assert_eq!(error(events.last().unwrap()).1, code);
        }
    }
    // Large messages are read elsewhere.
    let large = json!({"input": [7], "user": "x".repeat(200_000)});
    let refused = socket.ask(&lane(large)).await;
    assert_eq!(
        (error(&refused).0, &refused["stream_id"]),
        (400, &json!("a \"lane\""))
    );
    let refused = socket.ask(&json!({"input": 7})).await;
    assert_eq!(refused.get("stream_id"), None);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_stored_is_continued_on_its_own_connection_only() {
    let gateway = fake().start().await;
    let mut socket = Socket::open(&gateway).await;
    let mut body = ask("The word is papaya.");
    body["store"] = json!(false);
    let first = socket.ask(&body).await;
    let path = format!("/v1/responses/{}", id(&first).as_str().unwrap());
    assert_eq!(gateway.get(&path).send().await.unwrap().status(), 404);
    let mut other = Socket::open(&gateway).await;
    let refused = other.ask(&fork("Which word?", id(&first))).await;
    assert_eq!(error(&refused), (400, "previous_response_not_found"));
    assert_eq!(refused["error"]["param"], "previous_response_id");
    let second = socket.ask(&fork("Which word?", id(&first))).await;
    assert!(thread(&gateway, "Which word?").contains("papaya"));
    let third = socket.ask(&fork("Once more?", id(&second))).await;
    assert!(thread(&gateway, "Once more?").contains("papaya"));
    // The connection remembers the last response, until a request that continues it fails.
    let refused = socket.ask(&fork("And back?", id(&second))).await;
    assert_eq!(error(&refused).1, "previous_response_not_found");
    let output = json!([{"type": "function_call_output", "call_id": "call_x", "output": "1"}]);
    let mut unpaired = fork("", id(&third));
    unpaired["input"] = output;
    assert_eq!(error(&socket.ask(&unpaired).await).0, 400);
    let refused = socket.ask(&fork("Still there?", id(&third))).await;
    assert_eq!(error(&refused).1, "previous_response_not_found");
    assert_eq!(socket.ask(&ask("hi")).await["type"], "response.completed");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_without_generation_is_kept_to_be_continued_and_costs_nothing() {
    let gateway = fake().start().await;
    let mut socket = Socket::open(&gateway).await;
    let mut body = ask("The word is papaya.");
    body["store"] = json!(false);
    body["generate"] = json!(false);
    socket.create(&body).await;
    let events = socket.answer().await;
    let expected = [
        "response.created",
        "response.in_progress",
        "response.completed",
    ];
    assert_eq!(kinds(&events), expected);
    let response = &events[2]["response"];
    assert_eq!(response["output"], json!([]));
    assert_eq!(response["usage"]["total_tokens"], 0);
    // Codex sends its tools and instructions only, at first.
    let mut empty = json!({"model": "codex-5", "input": [], "generate": false, "store": false});
    let warm = socket.ask(&empty).await;
    let url = format!("{}/v1/responses", gateway.origin);
    let posted = gateway.client.post(url).bearer_auth(KEY).json(&empty);
    assert_eq!(posted.send().await.unwrap().status(), 400);
    for wrong in [json!(true), json!("false")] {
        empty["generate"] = wrong;
        assert_eq!(error(&socket.ask(&empty).await).0, 400);
    }
    let kept = socket.ask(&body).await;
    assert_ne!(id(&kept), id(&warm));
    let answer = socket.ask(&fork("Which word?", id(&kept))).await;
    assert_eq!(answer["type"], "response.completed");
    assert!(thread(&gateway, "Which word?").contains("papaya"));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compaction_begins_a_conversation_on_a_connection() {
    let gateway = fake().start().await;
    let url = format!("{}/v1/responses/compact", gateway.origin);
    let request = gateway.client.post(url).bearer_auth(KEY);
    let compacted = request.json(&ask("hi")).send().await.unwrap();
    let compacted: Value = compacted.json().await.unwrap();
    let mut input = compacted["output"].clone();
    let items = input.as_array_mut().unwrap();
    items.push(json!({"role": "user", "content": "Go on."}));
    let mut socket = Socket::open(&gateway).await;
    let answer = socket.ask(&json!({"input": input, "store": false})).await;
    assert_eq!(answer["type"], "response.completed", "{answer}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_are_events_with_a_status_and_the_connection_stays_open() {
    let gateway = fake().start().await;
    let mut socket = Socket::open(&gateway).await;
    let lane = "x".repeat(129);
    let long_lane =
        json!({"type": "response.create", "input": "hi", "stream_id": lane}).to_string();
    for (message, code) in [
        ("{", "invalid_json"),
        ("[]", "invalid_type"),
        (
            r#"{"type":"response.cancel","input":"hi"}"#,
            "invalid_value",
        ),
        (r#"{"input":"hi"}"#, "invalid_value"),
        (r#"{"type":"response.create","input":7}"#, "invalid_type"),
        (
            r#"{"type":"response.create","input":"hi","background":true}"#,
            "unsupported_value",
        ),
        (
            r#"{"type":"response.create","input":"hi","stream_id":7}"#,
            "invalid_type",
        ),
        (&long_lane, "string_above_max_length"),
    ] {
        socket.frame(TEXT, message.as_bytes()).await;
        let event = socket.event().await;
        assert_eq!(error(&event), (400, code), "{message}");
        assert!(event["headers"]["x-request-id"].is_string(), "{event}");
    }
    let failing =
        script(json!({"error": {"message": "boom", "codexErrorInfo": "serverOverloaded"}}));
    let failed = socket.ask(&ask(&failing)).await;
    assert_eq!(failed["type"], "response.failed", "{failed}");
    assert_eq!(socket.ask(&ask("hi")).await["type"], "response.completed");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_swapped_policy_decides_the_next_turn_of_an_open_connection() {
    let settings = |stamp: u64| json!({ "stamp": stamp }).to_string().into_bytes();
    let gateway = Setup::demo()
        .policy("model.wasm", EVERY)
        .policy("model.json", &settings(0))
        .start()
        .await;
    let mut socket = Socket::open(&gateway).await;
    let quick = r#"{"demo":{"deltas":3,"text":"x "}}"#;
    assert_eq!(
        socket.ask(&ask(quick)).await["response"]["model"],
        "stamp-0"
    );
    let slow = r#"{"demo":{"deltas":200,"text":"x ","delay_ms":5}}"#;
    socket.create(&ask(slow)).await;
    assert_eq!(socket.event().await["type"], "response.created");
    deploy(gateway.policies(), "model.json", &settings(1));
    gateway.generation(2).await;
    socket.create(&ask(quick)).await;
    // The turn that ran keeps its generation.
    let events = socket.answer().await;
    assert_eq!(events.last().unwrap()["response"]["model"], "stamp-0");
    let events = socket.answer().await;
    assert_eq!(events.last().unwrap()["response"]["model"], "stamp-1");
    // A key that is withdrawn ends no connection, but every further turn.
    let other = json!({"keys": [{"id": "other", "sha256": fingerprint(b"sk-other")}]});
    deploy(
        gateway.policies(),
        "auth.json",
        other.to_string().as_bytes(),
    );
    gateway.generation(3).await;
    assert_eq!(error(&socket.ask(&ask(quick)).await).0, 401);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_turn_is_charged_to_the_limits_of_its_caller() {
    let rules = json!({"rules": [
        {"name": "few", "per": "caller", "unit": "requests", "limit": 2, "window_ms": 31 * 24 * 3_600_000_u64}
    ]});
    let gateway = fake()
        .policy("rate-limit.json", rules.to_string().as_bytes())
        .start()
        .await;
    let mut socket = Socket::open(&gateway).await;
    for _ in 0..2 {
        assert_eq!(socket.ask(&ask("hi")).await["type"], "response.completed");
    }
    let refused = socket.ask(&ask("hi")).await;
    assert_eq!(error(&refused).0, 429);
    assert!(refused["headers"]["retry-after"].is_string(), "{refused}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_may_come_in_parts_with_pings_between() {
    let gateway = fake().start().await;
    let mut socket = Socket::open(&gateway).await;
    let message = json!({"type": "response.create", "input": "grüße ".repeat(40_000)}).to_string();
    let (first, rest) = message.as_bytes().split_at(23);
    socket.frame(TEXT_PART, first).await;
    socket.frame(PING, b"there?").await;
    assert_eq!(socket.next().await, Said::Pong(b"there?".to_vec()));
    for part in rest.chunks(10_001) {
        socket.frame(MORE, part).await;
    }
    socket.frame(LAST, b"").await;
    let events = socket.answer().await;
    assert_eq!(events.last().unwrap()["type"], "response.completed");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_is_authenticated_and_checked() {
    let gateway = fake()
        .var("PROXY_CORS_ALLOWED_ORIGINS", "https://page.example")
        .var("PROXY_WEBSOCKET_MAX_PER_CALLER", "2")
        .start()
        .await;
    let refusal = async |key, headers: &[(&str, &str)]| {
        let refused = Socket::open_with(&gateway, key, headers).await;
        let refused = refused.err().expect("a refusal");
        (refused.status, refused.code)
    };
    assert_eq!(refusal("sk-wrong", &[]).await.0, 401);
    let evil = [("origin", "https://evil.example")];
    assert_eq!(
        refusal(KEY, &evil).await,
        (403, "origin_not_allowed".to_owned())
    );
    let address = gateway.origin.trim_start_matches("http://").to_owned();
    let head = |lines: &str| {
        format!(
            "GET /v1/responses HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\nUpgrade: websocket\r\n{lines}\r\n"
        )
    };
    for (lines, status) in [
        (
            "Connection: close\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
            400,
        ),
        (
            "Connection: upgrade\r\nSec-WebSocket-Version: 12\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
            426,
        ),
        (
            "Connection: upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhl\r\n",
            400,
        ),
        ("Connection: upgrade\r\nSec-WebSocket-Version: 13\r\n", 400),
    ] {
        let refused = Socket::send_head(address.parse().unwrap(), &head(lines)).await;
        assert_eq!(
            refused.err().map(|refused| refused.status),
            Some(status),
            "{lines}"
        );
    }
    let listed = [("origin", "https://page.example")];
    let first = Socket::open_with(&gateway, KEY, &listed).await.unwrap();
    let own = [("origin", gateway.origin.as_str())];
    let _second = Socket::open_with(&gateway, KEY, &own).await.unwrap();
    assert_eq!(
        refusal(KEY, &[]).await,
        (429, "too_many_websockets".to_owned())
    );
    drop(first);
    while let Err(refused) = Socket::open_with(&gateway, KEY, &[]).await {
        assert_eq!(refused.status, 429);
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_without_websockets_refuses_them_at_once() {
    let gateway = fake().var("PROXY_ENABLE_WEBSOCKET", "false").start().await;
    let refused = Socket::open_with(&gateway, KEY, &[]).await.err().unwrap();
    let found = (refused.status, refused.code.as_str());
    assert_eq!(found, (426, "websocket_not_supported"));
    assert!(
        refused.head.contains("upgrade: http/1.1"),
        "{}",
        refused.head
    );
    gateway.stop().await;
}
