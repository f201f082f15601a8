//! Hostile policies behind the real surface: each costs its own request, in bounded time, and nobody else anything.

use std::time::Duration;

use codex_gateway_tests::gateway::{QUICK, Setup, say};
use codex_gateway_tests::guests::EVERY;
use serde_json::Value;

const ACTS: [&str; 7] = [
    "panic", "spin", "hoard", "recurse", "flood", "exit", "nonsense",
];

#[tokio::test(flavor = "multi_thread")]
async fn each_hostile_act_is_one_refused_request() {
    let gateway = Setup::demo().policy("auth.wasm", EVERY).start().await;
    for act in ACTS {
        let request = gateway.chat(&say(QUICK)).header("x-hostile", act);
        // Only a guest that is never stopped meets this bound; the deadline is 50 ms of computing.
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
    let health: Value = gateway
        .get("/healthz")
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(health["policies"][0]["faults"], ACTS.len());
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn honest_requests_are_answered_beside_hostile_ones() {
    let gateway = Setup::demo().policy("auth.wasm", EVERY).start().await;
    let hostile: Vec<_> = ACTS
        .iter()
        .cycle()
        .take(70)
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
