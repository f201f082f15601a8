//! The ends of WebSockets: broken, cut and slow clients, old and silent connections, a gateway that drains.

use std::time::Duration;

use codex_gateway_tests::gateway::{Gateway, script};
use codex_gateway_tests::socket::{
    BINARY, CLOSE, LAST, MORE, PING, PONG, Said, Socket, TEXT, TEXT_PART, masked,
};
use serde_json::{Value, json};

use crate::fake;

fn ask(text: &str) -> Value {
    json!({"model": "codex-5", "input": text})
}

/// A turn that goes on until its reader has left.
fn endless() -> Value {
    ask(&script(
        json!({"text": ["x"], "repeat": 1_000_000, "delay_ms": 5}),
    ))
}

/// A connection with a turn that runs.
async fn running(gateway: &Gateway) -> Socket {
    let mut socket = Socket::open(gateway).await;
    socket.create(&endless()).await;
    assert_eq!(socket.event().await["type"], "response.created");
    socket
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_against_the_protocol_end_the_connection_with_their_code() {
    let gateway = fake().start().await;
    let unmasked = [TEXT, 2, b'h', b'i'];
    let half = "ü".as_bytes();
    for (frames, code) in [
        (vec![masked(BINARY, b"{}")], 1003),
        (vec![masked(TEXT, b"\xff\xfe")], 1007),
        (
            vec![masked(TEXT_PART, &half[..1]), masked(LAST, b"!")],
            1007,
        ),
        (vec![masked(0xc1, b"reserved bit")], 1002),
        (vec![masked(0x83, b"unknown kind")], 1002),
        (vec![masked(LAST, b"of nothing")], 1002),
        (vec![masked(TEXT_PART, b"a"), masked(TEXT, b"b")], 1002),
        (vec![masked(0x09, b"half a ping")], 1002),
        (vec![masked(PING, &[b'x'; 126])], 1002),
        (vec![masked(CLOSE, b"\x03")], 1002),
        (vec![masked(CLOSE, &1005_u16.to_be_bytes())], 1002),
        (vec![masked(CLOSE, &1000_u16.to_be_bytes())], 1000),
        (vec![masked(CLOSE, &3000_u16.to_be_bytes())], 3000),
        (vec![masked(CLOSE, b"")], 1000),
        (vec![unmasked.to_vec()], 1002),
    ] {
        let mut socket = Socket::open(&gateway).await;
        socket.raw(&frames.concat()).await;
        assert_eq!(socket.closed().await.0, code, "{frames:?}");
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_beyond_the_limit_is_refused_before_it_is_read() {
    let gateway = fake().var("PROXY_MAX_BODY_BYTES", "2048").start().await;
    for parts in [1, 100] {
        let mut socket = Socket::open(&gateway).await;
        let message = vec![b' '; 10_000];
        let mut frames: Vec<_> = message
            .chunks(10_000 / parts)
            .map(|part| masked(MORE, part))
            .collect();
        frames[0][0] = if parts == 1 { TEXT } else { TEXT_PART };
        socket.raw(&frames.concat()).await;
        let event = socket.event().await;
        assert_eq!(event["status"], 413, "{event}");
        assert_eq!(event["error"]["code"], "request_too_large");
        assert_eq!(socket.closed().await.0, 1009);
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_ends_its_turn() {
    let gateway = fake().start().await;
    drop(running(&gateway).await);
    gateway.idle().await;
    let mut half_closed = running(&gateway).await;
    half_closed.half_close().await;
    gateway.idle().await;
    assert_eq!(half_closed.closed().await.0, 1002);
    let mut closing = running(&gateway).await;
    closing.frame(CLOSE, &1000_u16.to_be_bytes()).await;
    gateway.idle().await;
    assert_eq!(closing.closed().await.0, 1000);
    let mut breaking = running(&gateway).await;
    breaking.frame(BINARY, b"").await;
    gateway.idle().await;
    assert_eq!(breaking.closed().await.0, 1003);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_stops_reading_holds_up_its_own_turn_only() {
    let gateway = fake().start().await;
    let mut slow = Socket::open(&gateway).await;
    let flood = script(json!({"flood": 200_000}));
    slow.create(&ask(&flood)).await;
    assert_eq!(slow.event().await["type"], "response.created");
    let mut other = Socket::open(&gateway).await;
    assert_eq!(other.ask(&ask("hi")).await["type"], "response.completed");
    // It loses nothing if it reads on.
    let mut events = slow.answer().await;
    let last = events.pop().unwrap();
    assert!(
        last["type"] == "response.completed" || last["type"] == "response.failed",
        "{last}"
    );
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_requests_than_may_wait_are_refused() {
    let gateway = fake().start().await;
    let mut socket = running(&gateway).await;
    let mut hi = ask("hi");
    hi["stream_id"] = json!("one");
    for _ in 0..17 {
        socket.create(&hi).await;
    }
    let refused = loop {
        let event = socket.event().await;
        if event["type"] == "error" {
            break event;
        }
    };
    assert_eq!(refused["status"], 429, "{refused}");
    assert_eq!(refused["error"]["code"], "too_many_waiting_responses");
    assert_eq!(refused["stream_id"], "one");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_request_waits_for_no_other_but_follows_at_once() {
    let gateway = fake().start().await;
    let large = ask(&"x".repeat(70_000));
    let mut busy = running(&gateway).await;
    busy.create(&large).await;
    let refused = loop {
        let event = busy.event().await;
        if event["type"] == "error" {
            break event;
        }
    };
    assert_eq!(refused["error"]["code"], "too_many_waiting_responses");
    let mut socket = Socket::open(&gateway).await;
    for _ in 0..5 {
        assert_eq!(socket.ask(&large).await["type"], "response.completed");
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_connection_says_so_and_ends_after_its_turn() {
    let gateway = fake()
        .var("PROXY_WEBSOCKET_MAX_AGE_MS", "100")
        .start()
        .await;
    let mut socket = Socket::open(&gateway).await;
    let slow = script(json!({"text": ["x"], "repeat": 40, "delay_ms": 10}));
    let answer = socket.ask(&ask(&slow)).await;
    assert_eq!(answer["type"], "response.completed");
    let event = socket.event().await;
    let code = &event["error"]["code"];
    assert_eq!(
        (code, &event["status"]),
        (&json!("websocket_connection_limit_reached"), &json!(400))
    );
    assert_eq!(socket.closed().await.0, 1000);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_connection_gets_pings_and_ends() {
    let gateway = fake()
        .var("PROXY_WEBSOCKET_IDLE_MS", "400")
        .var("PROXY_SSE_KEEPALIVE_MS", "50")
        .start()
        .await;
    let mut socket = Socket::open(&gateway).await;
    assert_eq!(socket.next().await, Said::Ping);
    assert_eq!(socket.closed().await.0, 1000);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_pongs_keeps_no_connection_open() {
    for (setting, code, reason) in [
        (
            "PROXY_WEBSOCKET_MAX_AGE_MS",
            Some("websocket_connection_limit_reached"),
            "the connection is too old",
        ),
        (
            "PROXY_WEBSOCKET_IDLE_MS",
            None,
            "nothing was asked for too long",
        ),
    ] {
        let gateway = fake().var(setting, "300").start().await;
        let mut socket = Socket::open(&gateway).await;
        let mut said = socket.flood(&masked(PONG, b"here").repeat(1_000)).await;
        assert_eq!(said.pop(), Some(Said::Close(1000, reason.to_owned())));
        let codes = said.iter().filter_map(|said| match said {
            Said::Event(event) => event["error"]["code"].as_str(),
            _ => None,
        });
        assert_eq!(codes.collect::<Vec<_>>(), Vec::from_iter(code), "{said:?}");
        gateway.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_idle_limit_does_not_count_the_time_of_a_turn() {
    let setup = fake().var("PROXY_WEBSOCKET_IDLE_MS", "300");
    let gateway = setup.start().await;
    let mut socket = Socket::open(&gateway).await;
    let slow = script(json!({"text": ["x"], "repeat": 40, "delay_ms": 20}));
    for _ in 0..2 {
        let answer = socket.ask(&ask(&slow)).await;
        assert_eq!(answer["type"], "response.completed");
    }
    let (code, reason) = socket.closed().await;
    assert_eq!(
        (code, reason.as_str()),
        (1000, "nothing was asked for too long")
    );
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draining_gateway_ends_running_turns_honestly_and_then_closes() {
    let gateway = fake().start().await;
    let mut idle = Socket::open(&gateway).await;
    let gate = gateway.home().join("gate");
    let mut running = Socket::open(&gateway).await;
    let gated = script(json!({"text": ["one ", "two"], "gate": gate}));
    running.create(&ask(&gated)).await;
    assert_eq!(running.event().await["type"], "response.created");
    running.create(&ask("hi")).await;
    gateway.begin_stop();
    assert_eq!(idle.closed().await.0, 1001);
    std::fs::write(&gate, "").unwrap();
    let answer = running.answer().await.pop().unwrap();
    assert_eq!(answer["type"], "response.completed");
    let refused = running.answer().await.pop().unwrap();
    assert_eq!(
        (&refused["type"], &refused["status"]),
        (&json!("error"), &json!(503))
    );
    assert_eq!(running.closed().await.0, 1001);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_that_outlasts_the_grace_fails_before_the_connection_ends() {
    let gateway = fake().var("PROXY_SHUTDOWN_GRACE_MS", "100").start().await;
    let mut socket = running(&gateway).await;
    gateway.begin_stop();
    let last = socket.answer().await.pop().unwrap();
    assert_eq!(last["type"], "response.failed", "{last}");
    assert_eq!(socket.closed().await.0, 1001);
    tokio::time::timeout(Duration::from_secs(30), gateway.stop())
        .await
        .unwrap();
}
