//! Policies are swapped while requests run: no request fails or mixes generations; each ends with the one it began with.

use codex_gateway_tests::gateway::{Gateway, QUICK, Setup, say, stream};
use codex_gateway_tests::guests::{EVERY, deploy};
use codex_gateway_tests::sse::{Event, Events, finishes};
use serde_json::{Value, json};

fn stamped(setup: Setup) -> Setup {
    let settings = br#"{"stamp": 0}"#;
    setup
        .policy("auth.wasm", EVERY)
        .policy("model.wasm", EVERY)
        .policy("auth.json", settings)
        .policy("model.json", settings)
}

/// Points a symbolic link at another folder: both slots get the stamp in one step.
fn point(link: &std::path::Path, to: &std::path::Path) {
    let part = link.with_extension("part");
    std::os::unix::fs::symlink(to, &part).unwrap();
    std::fs::rename(&part, link).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_stream_keeps_its_generation_while_the_next_request_gets_the_new_one() {
    let gateway = stamped(Setup::demo()).start().await;
    let long = r#"{"demo":{"deltas":400,"text":"x ","delay_ms":5}}"#;
    let response = gateway.chat(&stream(long)).send().await.unwrap();
    let mut events = Events::of(response);
    assert!(events.next().await.is_some(), "the stream runs");

    deploy(gateway.policies(), "model.json", br#"{"stamp": 1}"#);
    deploy(gateway.policies(), "auth.json", br#"{"stamp": 1}"#);
    gateway.generation(2).await;
    let answer: Value = gateway.answer(&say(QUICK)).await;
    assert_eq!(answer["model"], "stamp-1", "{answer}");

    let rest = events.rest().await;
    assert_eq!(finishes(&rest), ["stop"]);
    assert_eq!(rest.last(), Some(&Event::Done));
    for event in &rest {
        if let Event::Data(data) = event {
            assert_eq!(data["model"], "stamp-0");
        }
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_a_link_may_be_pointed_elsewhere() {
    let place = tempfile::tempdir().unwrap();
    let (old, new, link) = (
        place.path().join("v1"),
        place.path().join("v2"),
        place.path().join("live"),
    );
    for (folder, stamp) in [(&old, 1), (&new, 2)] {
        std::fs::create_dir(folder).unwrap();
        for slot in ["auth", "model"] {
            std::fs::write(folder.join(format!("{slot}.wasm")), EVERY).unwrap();
            std::fs::write(
                folder.join(format!("{slot}.json")),
                format!(r#"{{"stamp": {stamp}}}"#),
            )
            .unwrap();
        }
    }
    std::os::unix::fs::symlink(&old, &link).unwrap();
    let gateway = Setup::demo()
        .var("POLICY_DIR", &link.to_string_lossy())
        .start()
        .await;
    point(&link, &new);
    gateway.generation(2).await;
    let answer: Value = gateway.answer(&say(QUICK)).await;
    assert_eq!(answer["model"], "stamp-2");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_candidate_changes_nothing_and_shows_in_health_until_it_is_mended() {
    let gateway = stamped(Setup::demo()).start().await;
    std::fs::write(
        gateway.policies().join("auth.wasm"),
        &EVERY[..EVERY.len() / 2],
    )
    .unwrap();
    gateway
        .until(|gateway| !gateway.live.refusals().is_empty(), "refusal")
        .await;
    let health: Value = gateway.health().await;
    assert_eq!(
        (&health["ok"], &health["generation"]),
        (&json!(false), &json!(1))
    );
    assert_eq!(health["refused"][0]["file"], "auth.wasm");
    let answer = gateway.chat(&say(QUICK)).send().await.unwrap();
    assert_eq!(answer.headers()["x-codex-generation"], "1");
    assert_eq!(answer.status(), 200);

    // The file is rewritten in place, as `cp` does it.
    std::fs::write(gateway.policies().join("auth.wasm"), EVERY).unwrap();
    gateway
        .until(
            |gateway| gateway.live.refusals().is_empty(),
            "mended folder",
        )
        .await;
    let health: Value = gateway.health().await;
    assert_eq!(
        (&health["ok"], &health["generation"]),
        (&json!(true), &json!(1)),
        "what serves is what lies there"
    );
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_vanishes_is_refused_unless_the_operator_says_so() {
    let gateway = Setup::demo().policy("auth.wasm", EVERY).start().await;
    let stranger = || {
        gateway
            .client
            .get(format!("{}/v1/models/demo", gateway.origin))
            .bearer_auth("sk-stranger")
            .send()
    };
    assert_eq!(stranger().await.unwrap().status(), 200);
    std::fs::remove_file(gateway.policies().join("auth.wasm")).unwrap();
    let refused = |gateway: &Gateway| !gateway.live.refusals().is_empty();
    gateway.until(refused, "refusal").await;
    let problem = gateway.live.refusals()[0].to_string();
    assert!(
        problem.starts_with("auth.wasm (auth policy): it served and is gone"),
        "{problem}"
    );
    assert_eq!(
        stranger().await.unwrap().status(),
        200,
        "the last good one goes on"
    );
    let said = b"[auth]\nbuilt_in = true\n";
    deploy(gateway.policies(), "policies.toml", said);
    gateway.generation(2).await;
    assert_eq!(stranger().await.unwrap().status(), 401);
    assert!(gateway.live.refusals().is_empty());
    gateway.stop().await;
}
