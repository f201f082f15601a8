//! The content of `/healthz`, and which of it only this machine may read.

use codex_gateway_tests::gateway::{Gateway, KEY, QUICK, Setup, say};
use serde_json::Value;

async fn health(gateway: &Gateway, for_another: bool) -> Value {
    let request = gateway.client.get(format!("{}/healthz", gateway.origin));
    let request = match for_another {
        true => request.header("x-forwarded-for", "203.0.113.9"),
        false => request,
    };
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 200);
    answer.json().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn why_something_is_refused_is_told_to_this_machine_only() {
    let gateway = Setup::demo().start().await;
    codex_gateway_tests::guests::deploy(gateway.policies(), "auth.json", br#"{"keyz": []}"#);
    gateway
        .until(|gateway| !gateway.live.refusals().is_empty(), "refusal")
        .await;
    for for_another in [false, true] {
        let body = health(&gateway, for_another).await;
        assert_eq!(body["ok"], false);
        let refused = &body["refused"][0];
        assert_eq!(
            (&refused["file"], &refused["slot"]),
            (&"auth.json".into(), &"auth".into())
        );
        let problem = refused["problem"].as_str().unwrap();
        assert_eq!(problem.contains("keyz"), !for_another, "{problem}");
    }
    gateway.stop().await;
}

/// The status of a request on a new connection.
async fn knock(url: &str) -> u16 {
    let stranger = reqwest::Client::new();
    let answer = stranger.get(url).bearer_auth(KEY).send().await.unwrap();
    answer.status().as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn for_the_delay_it_is_not_ready_and_takes_requests() {
    let gateway = Setup::demo()
        .var("PROXY_DRAIN_DELAY_MS", "86400000")
        .var("AUTH_PORT", "0")
        .start()
        .await;
    let ready = format!("{}/readyz", gateway.origin);
    assert_eq!(knock(&ready).await, 200);
    gateway.begin_stop();
    let told = async {
        while knock(&ready).await != 503 {
            tokio::task::yield_now().await;
        }
    };
    let bound = std::time::Duration::from_secs(30);
    tokio::time::timeout(bound, told).await.expect("a 503");
    assert_eq!(knock(&format!("{}/v1/models", gateway.origin)).await, 200);
    let auth = gateway.auth_origin.as_ref().unwrap();
    assert_eq!(knock(&format!("{auth}/healthz")).await, 200);
    assert_eq!(health(&gateway, false).await["draining"], true);
    let answer = gateway.chat(&say(QUICK)).send().await.unwrap();
    assert_eq!(answer.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_delay_ends_by_itself() {
    let gateway = Setup::demo().var("PROXY_DRAIN_DELAY_MS", "1");
    gateway.start().await.stop().await;
}
