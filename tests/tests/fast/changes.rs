//! Changes of the policy folder that take the steps of `policies.toml` before they serve, over restarts.

use std::path::PathBuf;
use std::time::Duration;

use codex_gateway_tests::gateway::{Gateway, KEY, Setup};
use codex_gateway_tests::operator::{get, keys, operated, post};
use codex_gateway_tests::place::Place;
use serde_json::{Value, json};

/// Each list of the models is a difference between policies of two owners.
const STRICT: &str = "[rollout.shadow]\nfor = \"1h\"\nmax_differ = 0\n";
const LONG: &str = "[rollout.shadow]\nfor = \"1h\"\n";
const SHORT: &str =
    "[rollout]\npromote = true\n[rollout.shadow]\nfor = \"1s\"\nmin_decisions = 1\n";

async fn start(place: &Place) -> Gateway {
    let text = |path: &std::path::Path| path.to_str().unwrap().to_owned();
    operated(Setup::demo())
        .var("POLICY_DIR", &text(place.policies()))
        .var("PROXY_STATE_DIR", &text(place.state()))
        .start()
        .await
}

fn owned(by: &str) -> String {
    json!({"owned_by": by}).to_string()
}

/// A gateway at which `one` serves, while changes take these steps.
async fn one_served(place: &Place, steps: &str) -> Gateway {
    place.publish("policies.toml", steps);
    place.publish("model.json", &owned("one"));
    let gateway = start(place).await;
    assert_eq!(owner(&gateway).await, "one", "nothing served before");
    gateway
}

async fn owner(gateway: &Gateway) -> String {
    let models = gateway.read("/v1/models").await;
    models["data"][0]["owned_by"].as_str().unwrap().to_owned()
}

/// The digest of the change that is at this stage; asks for the models until there is one.
async fn change_at(gateway: &Gateway, stage: &str) -> String {
    let reaches = async {
        loop {
            let candidates = gateway.live.candidates();
            let is_it = |found: &&_| {
                let found: &codex_gateway::policy::CandidateStatus = found;
                found.by == "folder" && found.stage == stage
            };
            if let Some(found) = candidates.iter().find(is_it) {
                return found.digest.to_string();
            }
            owner(gateway).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let found = tokio::time::timeout(Duration::from_secs(30), reaches).await;
    found.unwrap_or_else(|_| panic!("no change is {stage}: {:?}", gateway.live.candidates()))
}

/// The only refusal of the folder, when it is shown.
async fn refusal(gateway: &Gateway) -> String {
    let is_shown = |gateway: &Gateway| !gateway.live.refusals().is_empty();
    gateway.until(is_shown, "refusal").await;
    gateway.live.refusals()[0].to_string()
}

/// A file of the list of the generations that served, or a copy of one of their files.
fn kept(place: &Place, is_it: impl Fn(&str, &[u8]) -> bool) -> PathBuf {
    let folder = place.state().join("policies");
    let entries = [folder.join("blobs"), folder].map(|folder| std::fs::read_dir(folder).unwrap());
    let paths = entries
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().path());
    let mut files = paths.filter(|path| path.is_file());
    let found = files.find(|path| {
        let name = path.file_name().unwrap().to_str().unwrap();
        is_it(name, &std::fs::read(path).unwrap())
    });
    found.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_the_folder_serves_once_it_has_passed_its_steps() {
    let place = Place::default();
    let gateway = one_served(&place, SHORT).await;
    place.publish("model.json", &owned("two"));
    let digest = change_at(&gateway, "shadow").await;
    let (_, told) = get(&gateway, "status").await;
    let waits = &told["candidates"][0];
    assert_eq!(
        (&waits["by"], &waits["digest"]),
        (&json!("folder"), &json!(digest))
    );
    assert_eq!(told["refused"], json!([]));
    while owner(&gateway).await != "two" {}
    let serving = gateway.live.current();
    assert_eq!((serving.number(), serving.door().name()), (2, "folder"));
    assert_eq!(serving.digest().to_string(), digest);
    assert_eq!(gateway.live.pinned(), None);
    assert!(gateway.live.on_probation_until().is_some());
    gateway.stop().await;
    // It has served: a restart takes no steps.
    let gateway = start(&place).await;
    assert_eq!(owner(&gateway).await, "two");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_takes_the_steps_of_a_change_anew() {
    let place = Place::default();
    let gateway = one_served(&place, LONG).await;
    place.publish("model.json", &owned("two"));
    change_at(&gateway, "shadow").await;
    gateway.stop().await;
    let gateway = start(&place).await;
    assert_eq!(owner(&gateway).await, "one");
    assert_eq!(gateway.live.current().number(), 1);
    change_at(&gateway, "shadow").await;
    // Other rules are another trial.
    place.publish("policies.toml", SHORT);
    while owner(&gateway).await != "two" {}
    assert_eq!(gateway.live.current().door().name(), "folder");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_failed_stays_refused_after_a_restart_until_it_is_promoted() {
    let place = Place::default();
    let gateway = one_served(&place, STRICT).await;
    place.publish("model.json", &owned("two"));
    let digest = change_at(&gateway, "failed").await;
    let told = refusal(&gateway).await;
    assert!(
        told.contains("did not pass") && told.contains(&digest[..12]),
        "{told}"
    );
    gateway.stop().await;

    let gateway = start(&place).await;
    assert_eq!(owner(&gateway).await, "one");
    let again = refusal(&gateway).await;
    assert_eq!(again, told);
    assert_eq!(change_at(&gateway, "failed").await, digest);
    let (status, told) = post(
        &gateway,
        &format!("candidates/{digest}/promote"),
        Value::Null,
    )
    .await;
    assert_eq!((status, &told["pinned"]), (200, &Value::Null), "{told}");
    assert_eq!(owner(&gateway).await, "two");
    let is_mended = |gateway: &Gateway| gateway.live.refusals().is_empty();
    gateway.until(is_mended, "mended folder").await;
    gateway.stop().await;

    // The promotion was consent, also for what comes.
    let gateway = start(&place).await;
    assert_eq!(owner(&gateway).await, "two");
    place.publish("model.json", &owned("one"));
    change_at(&gateway, "failed").await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_was_dropped_stays_refused_until_it_is_accepted() {
    let place = Place::default();
    let gateway = one_served(&place, LONG).await;
    place.publish("model.json", &owned("two"));
    let digest = change_at(&gateway, "shadow").await;
    gateway.live.discard(&digest, "ops").await.unwrap();
    let told = refusal(&gateway).await;
    assert!(told.contains("ops dropped them"), "{told}");
    gateway.stop().await;

    let gateway = start(&place).await;
    assert_eq!(owner(&gateway).await, "one");
    assert_eq!(refusal(&gateway).await, told);
    assert!(gateway.live.candidates().is_empty());
    let accepted = format!("[rollout]\naccept = [\"{}\"]\n{LONG}", &digest[..12]);
    place.publish("policies.toml", &accepted);
    gateway.generation(2).await;
    assert_eq!(owner(&gateway).await, "two");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_waits_for_a_candidate_that_is_in_its_way() {
    let place = Place::default();
    let gateway = one_served(&place, LONG).await;
    let mut files: [codex_gateway::policy::SlotFiles; 4] = Default::default();
    files[codex_gateway::policy::Slot::Model as usize].settings =
        Some(owned("other").as_bytes().into());
    let other = gateway.live.offer(files, None, "ops").await.unwrap();
    place.publish("model.json", &owned("two"));
    let told = refusal(&gateway).await;
    assert!(told.contains("cannot begin yet"), "{told}");
    let other = other.digest.to_string();
    gateway.live.discard(&other, "ops").await.unwrap();
    change_at(&gateway, "shadow").await;
    let is_mended = |gateway: &Gateway| gateway.live.refusals().is_empty();
    gateway.until(is_mended, "mended folder").await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_passed_its_shadow_waits_with_its_canary_for_that_of_another() {
    const BOTH: &str = "[rollout.shadow]\nfor = \"1s\"\nmin_decisions = 1\n[rollout.canary]\ncallers = [\"zoe\"]\n";
    let place = Place::default();
    let gateway = one_served(&place, BOTH).await;
    let mut files: [codex_gateway::policy::SlotFiles; 4] = Default::default();
    files[codex_gateway::policy::Slot::Model as usize].settings =
        Some(owned("other").as_bytes().into());
    let own = Some(codex_gateway::policy::OwnRules::default());
    let other = gateway.live.offer(files, own, "ops").await.unwrap();
    let other = other.digest.to_string();
    let callers = json!({"callers": ["zed"]});
    let canary = format!("candidates/{other}/canary");
    let (status, told) = post(&gateway, &canary, callers).await;
    assert_eq!(status, 200, "{told}");

    let mut lives = gateway.live.lives();
    place.publish("model.json", &owned("two"));
    let digest = change_at(&gateway, "passed").await;
    let mut told = lives.recv().await.unwrap();
    while told.what != codex_gateway::policy::What::Waits {
        told = lives.recv().await.unwrap();
    }
    assert!(told.why.unwrap().contains(&other[..12]));
    let waits = |gateway: &Gateway| {
        let change = gateway.live.candidate(&digest).unwrap();
        change
            .why
            .is_some_and(|why| why.contains("another candidate"))
    };
    gateway.until(waits, "change that waits").await;
    gateway.live.end_canary(&other, "ops").unwrap();
    assert_eq!(change_at(&gateway, "canary").await, digest);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_what_was_kept_the_folder_serves_at_once_and_says_so() {
    let damages: [fn(&Place); 3] = [
        |place| {
            std::fs::write(
                kept(place, |name, _| {
                    name.starts_with("last-good-") && name.ends_with(".json")
                }),
                "{",
            )
            .unwrap()
        },
        |place| {
            std::fs::remove_file(kept(place, |name, _| {
                name.starts_with("last-good-") && name.ends_with(".json")
            }))
            .unwrap()
        },
        |place| {
            std::fs::write(
                kept(place, |_, bytes| bytes == owned("one").as_bytes()),
                "{}",
            )
            .unwrap()
        },
    ];
    for damage in damages {
        let place = Place::default();
        // Without a file of keys a start would not know whether one is gone.
        place.publish("auth.json", &keys(&[KEY]));
        one_served(&place, LONG).await.stop().await;
        damage(&place);
        place.publish("model.json", &owned("two"));
        let gateway = start(&place).await;
        assert_eq!(owner(&gateway).await, "two");
        let warnings = gateway.health().await["warnings"].to_string();
        assert!(warnings.contains("without the steps"), "{warnings}");
        gateway.stop().await;
    }
}
