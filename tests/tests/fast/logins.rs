//! Codex without a login: reported at once to the operator and to callers, until there is a login.

use codex_gateway_tests::gateway::{Gateway, Setup, say, sign_in, stream};
use serde_json::{Value, json};

use crate::{fake, old_fake};

/// Sets the fake's answer about its login.
fn login(setup: &Setup, signed_in: bool) {
    let told = json!({"signed_in": signed_in}).to_string();
    std::fs::write(setup.home().join("fake-start.json"), told).unwrap();
}

async fn signed_in(gateway: &Gateway) -> Value {
    let health = gateway.get("/healthz").send().await.unwrap();
    let health: Value = health.json().await.unwrap();
    assert_eq!(health["ok"], health["backend"]["signed_in"] != false);
    health["backend"]["signed_in"].clone()
}

async fn assert_refused(gateway: &Gateway) {
    for body in [say("hi"), stream("hi")] {
        let response = gateway.chat(&body).send().await.unwrap();
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()["x-should-retry"], "false");
        let error = response.json::<Value>().await.unwrap()["error"].take();
        assert_eq!(error["code"], "codex_not_signed_in");
        let message = error["message"].as_str().unwrap();
        assert!(message.contains("`codex login`"), "{message}");
    }
}

async fn assert_served(gateway: &Gateway) {
    let response = gateway.chat(&say("hi")).send().await.unwrap();
    assert_eq!(response.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_login_is_told_at_once_and_a_later_one_is_noticed() {
    let setup = fake().var("WORKER_PROBE_INTERVAL_MS", "20");
    login(&setup, false);
    let home = setup.home().to_owned();
    let gateway = setup.start().await;
    assert_eq!(signed_in(&gateway).await, false);
    assert_refused(&gateway).await;
    let ready = gateway.get("/readyz").send().await.unwrap();
    assert_eq!(ready.status(), 200, "other providers may answer");
    std::fs::write(home.join("fake-start.json"), r#"{"signed_in": true}"#).unwrap();
    gateway
        .until(
            |gateway| gateway.backend.status().signed_in == Some(true),
            "login",
        )
        .await;
    assert_served(&gateway).await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_is_not_known_or_not_needed_is_null() {
    let gateway = fake().start().await;
    assert_eq!(signed_in(&gateway).await, Value::Null);
    assert_served(&gateway).await;
    gateway.stop().await;
    let gateway = Setup::demo().start().await;
    assert_eq!(signed_in(&gateway).await, Value::Null);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_codex_is_judged_by_its_files() {
    let setup = old_fake();
    std::fs::remove_file(setup.home().join("auth.json")).unwrap();
    let gateway = setup.start().await;
    assert_eq!(signed_in(&gateway).await, false);
    assert_refused(&gateway).await;
    sign_in(&gateway.home());
    gateway
        .until(
            |gateway| gateway.backend.status().signed_in == Some(true),
            "login",
        )
        .await;
    assert_served(&gateway).await;
    gateway.stop().await;
}
