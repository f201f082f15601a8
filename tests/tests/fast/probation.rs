//! New policies on probation: what they cannot decide and those before could brings those before back, at once and by itself.

use std::path::Path;
use std::sync::Arc;

use codex_gateway::policy::{Slot, SlotFiles, Unsteered};
use codex_gateway::secret::fingerprint;
use codex_gateway_tests::gateway::{Gateway, QUICK, Setup, say, stream};
use codex_gateway_tests::guests::{EVERY, deploy};
use codex_gateway_tests::place::Place;
use codex_gateway_tests::sse::{Event, Events};
use serde_json::{Value, json};

use crate::fake;

/// Deploys the component and its settings together, so that they become one generation.
pub(crate) fn deploy_every(folder: &Path, slot: &str, settings: &Value) {
    let staged = tempfile::tempdir_in(folder.parent().unwrap()).unwrap();
    for (name, bytes) in [
        (format!("{slot}.json"), settings.to_string().into_bytes()),
        (format!("{slot}.wasm"), EVERY.to_vec()),
    ] {
        std::fs::write(staged.path().join(&name), bytes).unwrap();
        std::fs::rename(staged.path().join(&name), folder.join(&name)).unwrap();
    }
}

/// Waits until the generation of this number serves, and returns what health says then.
async fn generation(gateway: &Gateway, number: u64) -> Value {
    gateway.generation(number).await;
    let health = gateway.health().await;
    assert_eq!(health["generation"], number, "{health}");
    health
}

/// As [`generation`], for one that was taken back: its refusal is shown a moment after the swap.
pub(crate) async fn taken_back(gateway: &Gateway, number: u64) -> Value {
    gateway.generation(number).await;
    let is_shown = |gateway: &Gateway| !gateway.live.refusals().is_empty();
    gateway.until(is_shown, "refusal").await;
    generation(gateway, number).await
}

/// A setup with metrics, with or without the scripted Codex.
fn measured(setup: Setup) -> Setup {
    setup.var("PROXY_ENABLE_METRICS", "true")
}

/// The value of a metric without labels.
async fn metric(gateway: &Gateway, name: &str) -> String {
    let response = gateway.get("/metrics").send().await.unwrap();
    let text = response.text().await.unwrap();
    let mut lines = text.lines().filter_map(|line| line.split_once(' '));
    let (_, value) = lines.find(|(found, _)| *found == name).unwrap();
    value.to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_of_any_function_brings_the_policies_before_back() {
    for (slot, function) in [
        ("model", "resolve"),
        ("rate-limit", "quotas"),
        ("rate-limit", "decide"),
        ("tool-stop", "observe"),
    ] {
        let gateway = measured(fake()).start().await;
        let before = generation(&gateway, 1).await["digest"].clone();
        deploy_every(gateway.policies(), slot, &json!({"fails": function}));
        let on = generation(&gateway, 2).await;
        assert_eq!(on["by"], "folder", "{function}");
        assert!(on["probation_until"].is_string(), "{function}: {on}");
        let calls = json!({"fake": {"call": [{"name": "f", "arguments": "{}"}]}});
        let tool = json!({"type": "function", "function": {"name": "f"}});
        let mut body = say(&calls.to_string());
        body["model"] = json!("codex-5");
        body["tools"] = json!([tool]);
        let answer: Value = gateway.answer(&body).await;
        assert_eq!(
            answer["error"]["code"], "policy_unavailable",
            "{function}: {answer}"
        );
        let back = taken_back(&gateway, 3).await;
        assert_eq!(
            (&back["by"], &back["digest"]),
            (&json!("taken-back"), &before),
            "{function}"
        );
        assert_eq!(back["probation_until"], Value::Null);
        let told = back["refused"][0]["problem"].as_str().unwrap();
        let digest = &on["digest"].as_str().unwrap()[..12];
        let why = format!("{slot} policy: trap");
        assert!(told.contains(digest) && told.contains(&why), "{told}");
        let answer: Value = gateway.answer(&body).await;
        assert_eq!(
            answer["choices"][0]["finish_reason"], "tool_calls",
            "{function}: {answer}"
        );
        assert_eq!(metric(&gateway, "codex_policy_taken_back_total").await, "1");
        gateway.stop().await;
    }
}

/// The status of a request that the test policy fails, and the built-in one does not.
async fn hostile(gateway: &Gateway) -> u16 {
    let request = gateway.get("/v1/models").header("x-hostile", "panic");
    request.send().await.unwrap().status().as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_that_were_taken_back_stay_refused_until_somebody_accepts_them() {
    let place = Place::default();
    let gateway = place.start().await;
    // A stream that began under the first generation sees none of this.
    let slow = r#"{"demo":{"deltas":200,"text":"x","delay_ms":20}}"#;
    let response = gateway.chat(&stream(slow)).send().await.unwrap();
    let mut streaming = Events::of(response);
    streaming.next().await;
    deploy_every(place.policies(), "auth", &json!({}));
    let digest = generation(&gateway, 2).await["digest"].clone();
    assert_eq!(hostile(&gateway).await, 503);
    taken_back(&gateway, 3).await;
    assert_eq!(hostile(&gateway).await, 200);
    let rest = streaming.rest().await;
    assert!(
        rest.iter().any(|event| matches!(event, Event::Done)),
        "{rest:?}"
    );

    // The same files under new times and, in between, others: still refused.
    let wasm = place.policies().join("auth.wasm");
    let settings = place.policies().join("auth.json");
    std::fs::write(&settings, r#"{"stamp": 2}"#).unwrap();
    generation(&gateway, 4).await;
    std::fs::write(&settings, "{ }").unwrap();
    let refused = |gateway: &Gateway| !gateway.live.refusals().is_empty();
    gateway.until(refused, "refusal").await;
    assert_eq!(generation(&gateway, 4).await["by"], "folder");
    gateway.stop().await;

    // A restart serves the last good ones, and says why.
    let gateway = place.start().await;
    let health = generation(&gateway, 4).await;
    assert_ne!(health["digest"], digest);
    let told = health["refused"][0]["problem"].as_str().unwrap();
    assert!(
        told.contains("were taken back") && told.contains("auth policy: trap"),
        "{told}"
    );

    // The operator accepts them: they serve, and are not taken back again.
    let digest = digest.as_str().unwrap();
    let accept = format!("[rollout]\naccept = [\"{}\"]\n", &digest[..12]);
    deploy(place.policies(), "policies.toml", accept.as_bytes());
    generation(&gateway, 5).await;
    let is_mended = |gateway: &Gateway| gateway.live.refusals().is_empty();
    gateway.until(is_mended, "mended folder").await;
    let health = gateway.health().await;
    assert_eq!(health["digest"], digest);
    assert_eq!(
        (&health["probation_until"], &health["ok"]),
        (&Value::Null, &json!(true))
    );
    assert_eq!(hostile(&gateway).await, 503);
    gateway.stop().await;

    // Their activation is in the history: without the line they serve, too.
    std::fs::remove_file(place.policies().join("policies.toml")).unwrap();
    assert!(wasm.exists());
    let gateway = place.start().await;
    let health = generation(&gateway, 5).await;
    assert_eq!(
        (&health["digest"], &health["ok"]),
        (&json!(digest), &json!(true))
    );
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_that_the_policies_before_have_too_take_nothing_back() {
    let setup = measured(Setup::demo());
    let gateway = setup.policy("auth.wasm", EVERY).start().await;
    std::fs::write(gateway.policies().join("auth.json"), r#"{"stamp": 2}"#).unwrap();
    let on = generation(&gateway, 2).await;
    assert!(on["probation_until"].is_string());
    for _ in 0..20 {
        assert_eq!(hostile(&gateway).await, 503);
    }
    std::fs::write(gateway.policies().join("auth.json"), r#"{"stamp": 3}"#).unwrap();
    let health = generation(&gateway, 3).await;
    assert_eq!(health["by"], "folder", "{health}");
    assert_eq!(metric(&gateway, "codex_policy_taken_back_total").await, "0");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_probation_and_after_it_nothing_is_taken_back() {
    for probation in ["0s", "1ms"] {
        let rules = format!("[rollout]\nprobation = \"{probation}\"\n");
        let setup = Setup::demo().policy("policies.toml", rules.as_bytes());
        let gateway = setup.start().await;
        deploy_every(gateway.policies(), "auth", &json!({}));
        gateway.generation(2).await;
        let is_over = |gateway: &Gateway| gateway.live.on_probation_until().is_none();
        gateway.until(is_over, "end of the probation").await;
        for _ in 0..20 {
            assert_eq!(hostile(&gateway).await, 503, "{probation}");
        }
        deploy(gateway.policies(), "auth.json", b"{\"stamp\": 3}");
        let health = generation(&gateway, 3).await;
        assert_eq!(health["by"], "folder", "{probation}");
        let answer = gateway.chat(&say(QUICK)).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        gateway.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn denials_take_back_only_if_they_are_limited_and_those_before_would_not_deny() {
    let keys = |names: &[(&str, &str)]| {
        let key =
            |(id, key): &(&str, &str)| json!({"id": id, "sha256": fingerprint(key.as_bytes())});
        let keys: Vec<Value> = names.iter().map(key).collect();
        json!({ "keys": keys }).to_string()
    };
    let both = keys(&[("ann", "sk-ann"), ("bob", "sk-bob")]);
    let without_bob = keys(&[("ann", "sk-ann")]);
    let rules = b"[rollout]\nmax_denials = 2\n";
    let setup = measured(Setup::demo()).policy("auth.json", both.as_bytes());
    let gateway = setup.policy("policies.toml", rules).start().await;
    let models = |gateway: &Gateway, key: &'static str| {
        let url = format!("{}/v1/models", gateway.origin);
        gateway.client.get(url).bearer_auth(key).send()
    };
    deploy(gateway.policies(), "auth.json", without_bob.as_bytes());
    gateway.generation(2).await;
    // Strangers were denied before, too.
    for _ in 0..10 {
        assert_eq!(models(&gateway, "sk-nobody").await.unwrap().status(), 401);
    }
    // One after the other, so that each is compared.
    let mut denied = 0;
    while gateway.live.current().number() == 2 {
        denied += u32::from(models(&gateway, "sk-bob").await.unwrap().status() == 401);
        tokio::task::yield_now().await;
    }
    assert!(denied > 2, "{denied}");
    assert_eq!(models(&gateway, "sk-bob").await.unwrap().status(), 200);
    let health = taken_back(&gateway, 3).await;
    let told = health["refused"][0]["problem"].to_string();
    assert!(
        told.contains("auth policy: a denial of authenticate for bob: denied 401 invalid_api_key, and before: caller bob"),
        "{told}"
    );
    assert_eq!(metric(&gateway, "codex_policy_taken_back_total").await, "1");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_during_a_probation_goes_back_to_what_was_kept() {
    let gateway = Setup::demo().start().await;
    let kept = generation(&gateway, 1).await["digest"].clone();
    deploy_every(gateway.policies(), "auth", &json!({}));
    generation(&gateway, 2).await;
    // The faulty policies were not hit yet, and something else is changed.
    deploy(gateway.policies(), "model.json", br#"{"owned_by": "me"}"#);
    generation(&gateway, 3).await;
    assert_eq!(hostile(&gateway).await, 503);
    let back = taken_back(&gateway, 4).await;
    assert_eq!(
        (&back["digest"], &back["by"]),
        (&kept, &json!("taken-back"))
    );
    assert_eq!(hostile(&gateway).await, 200);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_that_are_accepted_on_probation_are_kept() {
    let gateway = Setup::demo().start().await;
    deploy_every(gateway.policies(), "auth", &json!({}));
    let on = generation(&gateway, 2).await;
    let digest = on["digest"].as_str().unwrap();
    let accept = format!("[rollout]\naccept = [\"{digest}\"]\n");
    deploy(gateway.policies(), "policies.toml", accept.as_bytes());
    let is_kept = |gateway: &Gateway| gateway.live.on_probation_until().is_none();
    gateway.until(is_kept, "end of the probation").await;
    for _ in 0..20 {
        assert_eq!(hostile(&gateway).await, 503);
    }
    deploy(gateway.policies(), "model.json", br#"{"owned_by": "me"}"#);
    assert_eq!(generation(&gateway, 3).await["by"], "folder");
    gateway.stop().await;
}

/// The lists of the last good files, as text.
fn pointers(place: &Place) -> Vec<(std::path::PathBuf, String)> {
    let entries = std::fs::read_dir(place.state().join("policies")).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let paths = paths.filter(|path| path.extension().is_some_and(|kind| kind == "json"));
    paths
        .map(|path| (path.clone(), std::fs::read_to_string(path).unwrap()))
        .collect()
}

/// `kill -9` after the line of the history, and before the copy of the files that serve again.
#[tokio::test(flavor = "multi_thread")]
async fn a_kill_within_a_take_back_leaves_a_start_that_serves_what_was_kept() {
    let place = Place::default();
    place.publish("model.json", r#"{"owned_by": "me"}"#);
    let gateway = place.start().await;
    let kept = generation(&gateway, 1).await["digest"].clone();
    let before = pointers(&place);
    deploy_every(place.policies(), "auth", &json!({}));
    generation(&gateway, 2).await;
    gateway
        .until(|_| pointers(&place) != before, "copy of the files")
        .await;
    let during = pointers(&place);
    assert_eq!(hostile(&gateway).await, 503);
    taken_back(&gateway, 3).await;
    gateway.stop().await;
    assert_ne!(pointers(&place), during, "what serves again was copied");
    for (path, text) in during {
        std::fs::write(path, text).unwrap();
    }
    let gateway = place.start().await;
    let health = gateway.health().await;
    assert_eq!(
        (&health["digest"], &health["generation"]),
        (&kept, &json!(3)),
        "{health}"
    );
    let told = health["refused"][0]["problem"].as_str().unwrap();
    assert!(told.contains("were taken back"), "{told}");
    assert_eq!(hostile(&gateway).await, 200);
    gateway.stop().await;
}

/// While a promotion waits for the history, what its candidate was made for is taken back.
#[tokio::test(flavor = "multi_thread")]
async fn a_promotion_replaces_only_what_its_candidate_was_made_for() {
    let place = Place::default();
    let gateway = place.start().await;
    let kept = gateway.live.current().digest();
    deploy_every(place.policies(), "auth", &json!({}));
    generation(&gateway, 2).await;
    let mut files: [SlotFiles; Slot::COUNT] = Default::default();
    files[Slot::Model as usize].settings = Some(br#"{"owned_by": "me"}"#.as_slice().into());
    let candidate = gateway.live.offer(files, None, "ops").await.unwrap();
    let history = std::fs::read_dir(place.state().join("policies")).unwrap();
    let history = history.map(|entry| entry.unwrap().path());
    let mut history = history.filter(|path| path.extension().is_some_and(|end| end == "lock"));
    let lock = std::fs::File::create(history.next().unwrap()).unwrap();
    lock.lock().unwrap();
    let (live, digest) = (Arc::clone(&gateway.live), candidate.digest.to_string());
    let promotion = tokio::spawn(async move { live.promote(&digest, "ops").await.map(|_| ()) });
    assert_eq!(hostile(&gateway).await, 503);
    let is_over = |gateway: &Gateway| gateway.live.taken_back() == 1 || promotion.is_finished();
    gateway.until(is_over, "take-back or promotion").await;
    drop(lock);
    match promotion.await.unwrap() {
        Err(error) => {
            assert_eq!(error, Unsteered::Stale);
            assert_eq!(gateway.live.current().digest(), kept);
            assert_eq!(gateway.live.pinned(), None);
            // The history ends with what serves, and a restart agrees.
            let number = gateway.live.current().number();
            gateway.stop().await;
            let gateway = place.start().await;
            let serving = gateway.live.current();
            assert_eq!(serving.digest(), kept);
            assert!(serving.number() >= number);
            gateway.stop().await;
        }
        // On a very busy machine it does not wait that long: then nothing was taken back.
        Ok(()) => {
            assert_eq!(gateway.live.current().digest(), candidate.digest);
            assert_eq!(gateway.live.taken_back(), 0);
            gateway.stop().await;
        }
    }
}
