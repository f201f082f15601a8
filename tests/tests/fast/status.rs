//! The operator's status while policies are on probation, are refused, or were taken back.

use std::time::Duration;

use codex_gateway::policy::{Slot, SlotFiles};
use codex_gateway_tests::gateway::{Gateway, QUICK, say};
use codex_gateway_tests::guests::EVERY;
use codex_gateway_tests::place::Place;
use reqwest::Method;
use serde_json::{Value, json};

use crate::admin::{TOKEN, operated};
use codex_gateway_tests::operator::{answer, keys};

/// Longer than a change of the folder takes to serve.
const UNNOTICED: Duration = Duration::from_millis(1_200);

async fn status(gateway: &Gateway) -> Value {
    let (status, told) = answer(gateway.operate(Method::GET, "status", TOKEN)).await;
    assert_eq!(status, 200, "{told}");
    told
}

/// The status as soon as it fulfils a condition.
async fn status_when(gateway: &Gateway, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    let comes = async {
        loop {
            let found = status(gateway).await;
            if is_so(&found) {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(30), comes).await;
    in_time.unwrap_or_else(|_| panic!("the status never has {what}"))
}

/// A gateway in these folders, with operators.
async fn start(place: &Place) -> Gateway {
    let text = |path: &std::path::Path| path.to_string_lossy().into_owned();
    let setup = operated().var("POLICY_DIR", &text(place.policies()));
    let setup = setup.var("PROXY_STATE_DIR", &text(place.state()));
    setup.start().await
}

/// Promotes policies that cannot resolve a model, and waits until they were taken back.
async fn promote_faulty(gateway: &Gateway) -> String {
    let mut files: [SlotFiles; Slot::COUNT] = Default::default();
    files[Slot::Model as usize] = SlotFiles {
        component: Some(EVERY.into()),
        settings: Some(br#"{"fails": "resolve"}"#.as_slice().into()),
    };
    let candidate = gateway.live.offer(files, None, "ops").await.unwrap();
    let digest = candidate.digest.to_string();
    gateway.live.promote(&digest, "ops").await.unwrap();
    let on = status(gateway).await["generation"]["probation"].clone();
    assert_eq!((&on["faults"], &on["denials"]), (&json!(0), &Value::Null));
    let answer = gateway.chat(&say(QUICK)).send().await.unwrap();
    assert_eq!(answer.status(), 503);
    let is_shown = |gateway: &Gateway| !gateway.live.refusals().is_empty();
    gateway.until(is_shown, "refusal").await;
    digest[..12].to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promotion_that_was_taken_back_is_shown_until_something_else_serves() {
    let place = Place::default();
    place.publish("model.json", r#"{"owned_by": "one"}"#);
    let gateway = start(&place).await;
    let digest = promote_faulty(&gateway).await;
    // The folder is looked at again meanwhile, and is in order.
    tokio::time::sleep(UNNOTICED).await;
    let found = status(&gateway).await;
    let refused = found["refused"].as_array().unwrap();
    assert_eq!(refused.len(), 1, "{found}");
    let problem = refused[0]["problem"].as_str().unwrap();
    assert!(
        problem.contains(&digest) && problem.contains("taken back"),
        "{problem}"
    );
    assert!(refused[0]["since"].is_string());
    assert_eq!(found["restart"], Value::Null, "the folder is in order");
    assert_eq!(gateway.health().await["ok"], false);
    place.publish("model.json", r#"{"owned_by": "two"}"#);
    status_when(&gateway, "no refusal", |found| {
        found["refused"] == json!([])
    })
    .await;
    assert_eq!(gateway.health().await["ok"], true);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_who_accepts_or_follows_has_seen_what_was_taken_back() {
    let place = Place::default();
    let gateway = start(&place).await;
    let digest = promote_faulty(&gateway).await;
    place.publish(
        "policies.toml",
        &format!("[rollout]\naccept = [\"{digest}\"]\n"),
    );
    status_when(&gateway, "no refusal", |found| {
        found["refused"] == json!([])
    })
    .await;
    gateway.stop().await;

    let place = Place::default();
    let gateway = start(&place).await;
    promote_faulty(&gateway).await;
    gateway.live.follow("ops").await;
    assert_eq!(status(&gateway).await["refused"], json!([]));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_refused_is_shown_with_what_a_restart_would_serve() {
    let place = Place::default();
    place.publish("auth.json", &keys(&["alice", "bob"]));
    let gateway = start(&place).await;
    let found = status(&gateway).await;
    assert_eq!(found["slots"][0]["entries"], json!({"keys": 2}));
    assert_eq!(found["restart"], Value::Null);
    place.publish("auth.json", "{");
    let found = status_when(&gateway, "a refusal", |found| found["refused"] != json!([])).await;
    assert_eq!(found["refused"][0]["file"], "auth.json");
    assert_eq!(found["restart"]["serves"], found["generation"]["digest"]);
    gateway.stop().await;

    let gateway = operated().start().await;
    std::fs::write(gateway.policies().join("auth.json"), "{").unwrap();
    let found = status_when(&gateway, "a refusal", |found| found["refused"] != json!([])).await;
    assert_eq!(
        found["restart"],
        json!({"serves": null}),
        "nothing is saved"
    );
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn probation_counts_the_denials_that_those_before_would_not_have_made() {
    let gateway = operated()
        .policy("auth.json", keys(&["alice", "bob"]).as_bytes())
        .policy("policies.toml", b"[rollout]\nmax_denials = 99\n")
        .start()
        .await;
    std::fs::write(gateway.policies().join("auth.json"), keys(&["alice"])).unwrap();
    gateway.generation(2).await;
    let on = status(&gateway).await["generation"]["probation"].clone();
    assert_eq!((&on["faults"], &on["denials"]), (&json!(0), &json!(0)));
    let url = format!("{}/v1/models", gateway.origin);
    let denied = gateway.client.get(url).bearer_auth("bob").send().await;
    assert_eq!(denied.unwrap().status(), 401);
    let is_counted = |found: &Value| found["generation"]["probation"]["denials"] == 1;
    status_when(&gateway, "the denial", is_counted).await;
    gateway.stop().await;
}
