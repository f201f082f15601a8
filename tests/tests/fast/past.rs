//! Going back after a restart, to policies whose files are kept in the state folder.

use std::path::PathBuf;

use codex_gateway_tests::gateway::{Gateway, Setup};
use codex_gateway_tests::operator::{answer, operated, post, upload};
use codex_gateway_tests::place::Place;
use serde_json::{Value, json};

fn at(place: &Place) -> Setup {
    operated(Setup::demo())
        .var("POLICY_DIR", place.policies().to_str().unwrap())
        .var("PROXY_STATE_DIR", place.state().to_str().unwrap())
}

fn owned(by: &str) -> String {
    json!({"owned_by": by}).to_string()
}

/// The status and the answer of a roll-back.
async fn back(gateway: &Gateway, digest: Option<&str>) -> (u16, Value) {
    post(gateway, "rollback", json!({ "digest": digest })).await
}

async fn owner(gateway: &Gateway) -> String {
    let models = gateway.read("/v1/models").await;
    models["data"][0]["owned_by"].as_str().unwrap().to_owned()
}

/// The digests of three generations that served one after the other, before the gateway was stopped: that of the folder, and two that
/// were promoted.
async fn three(place: &Place) -> Vec<String> {
    place.publish("model.json", &owned("one"));
    let gateway = at(place).start().await;
    let mut digests = vec![gateway.live.current().digest().to_string()];
    for by in ["two", "three"] {
        let settings = owned(by);
        let (status, told) = answer(upload(&gateway, &[("model.json", settings.as_bytes())])).await;
        assert_eq!(status, 201, "{told}");
        let digest = told["digest"].as_str().unwrap();
        gateway.live.promote(digest, "ops").await.unwrap();
        digests.push(digest.to_owned());
    }
    gateway.stop().await;
    digests
}

/// The copy of a file.
fn copy(place: &Place, text: &str) -> PathBuf {
    let blobs = std::fs::read_dir(place.state().join("policies/blobs")).unwrap();
    let mut paths = blobs.map(|entry| entry.unwrap().path());
    let is_it = |path: &PathBuf| std::fs::read(path).unwrap() == text.as_bytes();
    paths.find(is_it).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn generations_from_before_a_restart_can_serve_again() {
    let place = Place::default();
    let digests = three(&place).await;
    let gateway = at(&place).start().await;
    assert_eq!(owner(&gateway).await, "three", "it is pinned");
    let (status, told) = back(&gateway, Some(&digests[0][..12])).await;
    assert_eq!(
        (status, &told["digest"]),
        (200, &json!(digests[0])),
        "{told}"
    );
    assert_eq!(told["number"], 4);
    assert_eq!(owner(&gateway).await, "one");
    let (status, told) = back(&gateway, Some(&digests[1])).await;
    assert_eq!(
        (status, &told["by"]),
        (200, &json!("rolled-back")),
        "{told}"
    );
    gateway.stop().await;

    // The next restart goes on with it, and without a digest goes back to the one before.
    let gateway = at(&place).start().await;
    assert_eq!(owner(&gateway).await, "two");
    let (status, told) = back(&gateway, None).await;
    assert_eq!(
        (status, &told["digest"]),
        (200, &json!(digests[0])),
        "{told}"
    );
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_is_not_what_was_kept_serves_nobody() {
    let place = Place::default();
    let digests = three(&place).await;
    let gateway = at(&place).start().await;
    let blob = copy(&place, &owned("one"));
    std::fs::write(&blob, owned("eve")).unwrap();
    let (status, told) = back(&gateway, Some(&digests[0])).await;
    let code = &told["error"]["code"];
    assert_eq!((status, code), (500, &json!("past_unreadable")), "{told}");
    let message = told["error"]["message"].as_str().unwrap();
    assert!(
        message.contains(blob.to_str().unwrap()) && message.contains("model.json is damaged"),
        "{message}"
    );
    assert_eq!(owner(&gateway).await, "three");
    let (status, _) = back(&gateway, Some(&digests[1])).await;
    assert_eq!(status, 200, "others are whole");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_generation_whose_variables_are_others_by_now_is_another() {
    let place = Place::default();
    let digests = three(&place).await;
    let other = at(&place).var("PROXY_API_KEY", "sk-another").start().await;
    let (status, told) = back(&other, Some(&digests[0])).await;
    let code = &told["error"]["code"];
    assert_eq!((status, code), (409, &json!("past_changed")), "{told}");
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pinned_files_that_are_gone_are_told_at_a_start_and_afterwards() {
    let place = Place::default();
    three(&place).await;
    for copy in std::fs::read_dir(place.state().join("policies/blobs")).unwrap() {
        std::fs::remove_file(copy.unwrap().path()).unwrap();
    }
    let gateway = at(&place).start().await;
    assert_eq!(owner(&gateway).await, "one");
    let notices = gateway.live.notices().into_iter();
    let told = notices.map(|notice| notice.to_string()).collect::<Vec<_>>();
    let told = told.join("; ");
    assert!(told.contains(" pinned cannot serve: "), "{told}");
    assert!(told.contains("POLICY_DIR decides again"), "{told}");
    let health = gateway.health().await.to_string();
    assert!(health.contains(" pinned cannot serve: "), "{health}");
    gateway.stop().await;
}
