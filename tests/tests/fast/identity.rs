//! The names of a generation: a digest that is the same everywhere, and a number that outlives restarts.

use codex_gateway_tests::gateway::{Gateway, QUICK, Setup, say};
use codex_gateway_tests::place::Place;
use serde_json::Value;

const ONE: &str = r#"{"owned_by": "one", "default": "codex-5"}"#;
const TWO: &str = r#"{"owned_by": "two", "default": "codex-5"}"#;

/// The lines of the history.
fn history(place: &Place) -> Vec<Value> {
    let folder = std::fs::read_dir(place.state().join("policies")).unwrap();
    let mut paths = folder.map(|entry| entry.unwrap().path());
    let is_history =
        |path: &std::path::PathBuf| path.extension().is_some_and(|kind| kind == "ndjson");
    let text = std::fs::read_to_string(paths.find(is_history).unwrap()).unwrap();
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// The names of the generation in health: digest, number, its way and time.
async fn named(gateway: &Gateway) -> (String, u64, String, String) {
    let health = gateway.health().await;
    let text = |name: &str| health[name].as_str().unwrap().to_owned();
    let number = health["generation"].as_u64().unwrap();
    (text("digest"), number, text("by"), text("since"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_generation_is_named_alike_in_answers_health_and_metrics() {
    let setup = Setup::demo().var("PROXY_ENABLE_METRICS", "true");
    let gateway = setup.start().await;
    let (digest, number, by, _) = named(&gateway).await;
    assert_eq!((digest.len(), number, by.as_str()), (64, 1, "start"));
    let refused = gateway.client.get(format!("{}/v1/models", gateway.origin));
    for request in [
        gateway.get("/v1/models"),
        gateway.chat(&say(QUICK)),
        refused,
    ] {
        let answer = request.send().await.unwrap();
        assert_eq!(
            answer.headers()["x-codex-policy"],
            digest[..12],
            "{}",
            answer.status()
        );
    }
    let metrics = gateway.get("/metrics").send().await.unwrap();
    let metrics = metrics.text().await.unwrap();
    let sample = format!("codex_policy_info{{digest=\"{}\"}} 1", &digest[..12]);
    assert!(metrics.contains(&sample), "{metrics}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_digest_comes_back_with_its_policies_and_a_number_does_not() {
    let place = Place::default();
    place.publish("model.json", ONE);
    let gateway = place.start().await;
    let (one, ..) = named(&gateway).await;
    place.publish("model.json", TWO);
    gateway.generation(2).await;
    let (two, _, by, _) = named(&gateway).await;
    assert_ne!(two, one);
    assert_eq!(by, "folder");
    place.publish("model.json", ONE);
    gateway.generation(3).await;
    let before = named(&gateway).await;
    assert_eq!((&before.0, before.1), (&one, 3));
    gateway.stop().await;

    let gateway = place.start().await;
    assert_eq!(
        named(&gateway).await,
        before,
        "a restart activates nothing new"
    );
    gateway.stop().await;

    place.publish("model.json", TWO);
    let gateway = place.start().await;
    let (digest, number, by, _) = named(&gateway).await;
    assert_eq!(
        (digest.as_str(), number, by.as_str()),
        (two.as_str(), 4, "start")
    );
    gateway.stop().await;
    let told: Vec<_> = history(&place)
        .iter()
        .map(|line| {
            let text = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
            (
                line["number"].as_u64().unwrap(),
                text("door"),
                text("digest"),
                text("before"),
            )
        })
        .collect();
    let entry = |number, door: &str, digest: &str, before: &str| {
        (
            number,
            door.to_owned(),
            digest.to_owned(),
            before.to_owned(),
        )
    };
    let expected = [
        entry(1, "start", &one, ""),
        entry(2, "folder", &two, &one),
        entry(3, "folder", &one, &two),
        entry(4, "start", &two, &one),
    ];
    assert_eq!(told, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_that_cannot_be_written_is_a_warning_and_stops_nothing() {
    let place = Place::default();
    place.publish("model.json", ONE);
    let gateway = place.start().await;
    let folder = place.state().join("policies");
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|kind| kind == "ndjson") {
            std::fs::remove_file(&path).unwrap();
            std::fs::create_dir(&path).unwrap();
        }
    }
    place.publish("model.json", TWO);
    gateway.generation(2).await;
    let health = gateway.health().await;
    let told = health["warnings"].to_string();
    assert!(
        told.contains("PROXY_STATE_DIR") && told.contains("is not in the history"),
        "{told}"
    );
    gateway.stop().await;
}
