//! Hostile policies behind the real API: each fails only its own request, in bounded time, and costs other requests nothing.

use std::time::Duration;

use codex_gateway_tests::gateway::{Gateway, QUICK, Setup, say};
use codex_gateway_tests::guests::EVERY;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const ACTS: [&str; 11] = [
    "panic",
    "spin",
    "hoard",
    "recurse",
    "flood",
    "exit",
    "nonsense",
    "id-long",
    "id-control",
    "code",
    "denies content-length",
];

#[tokio::test(flavor = "multi_thread")]
async fn each_hostile_act_is_one_refused_request() {
    // Settings of its own: equal policies of one process share their count of faults.
    let setup = Setup::demo().policy("auth.json", br#"{"stamp": 1}"#);
    let gateway = setup.policy("auth.wasm", EVERY).start().await;
    for act in ACTS {
        let request = gateway.chat(&say(QUICK)).header("x-hostile", act);
        // Only a guest that is never stopped exceeds this timeout; the deadline is 50 ms of computing time.
        let response = tokio::time::timeout(Duration::from_secs(60), request.send())
            .await
            .unwrap_or_else(|_| panic!("{act} was not stopped"))
            .unwrap();
        assert_eq!(response.status(), 503, "{act}");
        let body: Value = response.json().await.unwrap();
        assert_eq!(body["error"]["code"], "policy_unavailable", "{act}: {body}");
        let words = body.to_string();
        assert!(
            !words.contains("wasm") && !words.contains("told to"),
            "the cause is for the log: {words}"
        );
        assert_eq!(
            gateway.chat(&say(QUICK)).send().await.unwrap().status(),
            200,
            "after {act}"
        );
    }
    let health: Value = gateway.health().await;
    assert_eq!(health["policies"][0]["faults"], ACTS.len());
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn honest_requests_are_answered_beside_hostile_ones() {
    let gateway = Setup::demo().policy("auth.wasm", EVERY).start().await;
    let hostile: Vec<_> = ACTS
        .iter()
        .cycle()
        .take(10 * ACTS.len())
        .map(|act| {
            let request = gateway.chat(&say(QUICK)).header("x-hostile", *act);
            tokio::spawn(async move { request.send().await.unwrap().status() })
        })
        .collect();
    for _ in 0..50 {
        assert_eq!(
            gateway.chat(&say(QUICK)).send().await.unwrap().status(),
            200
        );
    }
    for status in hostile {
        assert_eq!(status.await.unwrap(), 503);
    }
    gateway.stop().await;
}

/// One answer as it is on the wire; asserts that the connection can be used again.
async fn raw(gateway: &Gateway, hostile: &str) -> String {
    let address = gateway.origin.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = |hostile: &str, end: &str| {
        format!("GET /v1/usage HTTP/1.1\r\nhost: gateway\r\nx-hostile: {hostile}\r\n{end}\r\n")
    };
    let both = request(hostile, "") + &request("limit", "connection: close\r\n");
    stream.write_all(both.as_bytes()).await.unwrap();
    let mut read = Vec::new();
    stream.read_to_end(&mut read).await.unwrap();
    String::from_utf8(read).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_header_of_a_policy_breaks_the_connection() {
    let gateway = Setup::demo()
        .policy("auth.json", br#"{"stamp": 2}"#)
        .policy("auth.wasm", EVERY)
        .policy("rate-limit.wasm", EVERY)
        .start()
        .await;
    let framing = [
        "content-length",
        "transfer-encoding",
        "connection",
        "upgrade",
        "content-encoding",
        "content-type",
        "set-cookie",
        "access-control-allow-origin",
    ];
    for header in framing {
        // `denies`: a denial of the auth policy. `sets`: headers of the rate-limit policy for any answer.
        for act in ["denies", "sets"] {
            let wire = raw(&gateway, &format!("{act} {header}")).await;
            assert!(wire.starts_with("HTTP/1.1 503 "), "{act} {header}: {wire}");
            assert!(wire.contains(r#""code":"policy_unavailable""#), "{wire}");
            let answers = wire.matches("HTTP/1.1 ").count();
            assert!(
                answers == 2 && wire.contains("HTTP/1.1 429 "),
                "{act} {header}: {wire}"
            );
            assert!(wire.ends_with('}'), "{wire}");
        }
    }
    let health = gateway.health().await;
    for slot in [0, 2] {
        assert_eq!(health["policies"][slot]["faults"], framing.len());
    }
    gateway.stop().await;
}
