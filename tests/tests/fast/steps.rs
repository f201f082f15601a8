//! The steps that a candidate takes by itself, as its own `rollout.toml` or `policies.toml` says: shadow, canary, promotion.

use codex_gateway::policy::What;
use codex_gateway_tests::gateway::{Gateway, Setup};
use codex_gateway_tests::guests::EVERY;
use reqwest::Method;
use serde_json::{Value, json};

use crate::admin::{TOKEN, operated};
use codex_gateway_tests::operator::{self, answer, keys, upload};

/// A model policy whose models have another owner.
const RENAMED: &[u8] = br#"{"owned_by": "candidate"}"#;

fn setup() -> Setup {
    operated().policy("auth.json", keys(&["alice", "bob"]).as_bytes())
}

/// The candidate with these rules: the status, and the answer.
async fn offered(gateway: &Gateway, rules: &str) -> (u16, Value) {
    let files = [("model.json", RENAMED), ("rollout.toml", rules.as_bytes())];
    answer(upload(gateway, &files)).await
}

/// A chat request of a caller: its status, and the policies that decided.
async fn chat(gateway: &Gateway, key: &str) -> (u16, String) {
    operator::chat(gateway, key, "x-codex-policy").await
}

fn stage(gateway: &Gateway, digest: &str) -> &'static str {
    let status = gateway.live.candidate(digest);
    status.map_or("gone", |status| status.stage)
}

/// Sends requests of all callers until the candidate is at this stage, serves, or goes no further.
async fn chat_until(gateway: &Gateway, digest: &str, wanted: &str) {
    while ![wanted, "gone", "failed", "unseen"].contains(&stage(gateway, digest)) {
        for key in ["alice", "bob"] {
            assert_eq!(chat(gateway, key).await.0, 200);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_candidate_goes_all_its_steps_and_serves() {
    let gateway = setup().start().await;
    let mut lives = gateway.live.lives();
    let rules = "promote = true\nprobation = \"1h\"\n[shadow]\nfor = \"2s\"\nmin_decisions = 2\nmax_differ = 0\n\
                 [canary]\ncallers = [\"bob\"]\nfor = \"3s\"\n";
    let (status, told) = offered(&gateway, rules).await;
    assert_eq!((status, &told["stage"]), (201, &json!("shadow")), "{told}");
    let rollout = json!({
        "shadow": {"for": "2s", "min_decisions": 2, "max_differ": 0, "max_faults": 0},
        "canary": {"callers": ["bob"], "tenants": [], "percent": 0, "for": "3s", "min_requests": 1},
        "promote": true, "probation": "1h", "max_denials": null,
    });
    assert_eq!(told["rollout"], rollout);
    let digest = told["digest"].as_str().unwrap()[..12].to_owned();
    chat_until(&gateway, &digest, "canary").await;
    let told = gateway.operate(Method::GET, &format!("candidates/{digest}"), TOKEN);
    let (_, told) = answer(told).await;
    let is_told = told["canary_until"].is_string();
    assert_eq!(is_told, told["stage"] == "canary", "{told}");
    assert_eq!(chat(&gateway, "bob").await, (200, digest.clone()));
    let (_, policy) = chat(&gateway, "alice").await;
    assert!(policy != digest || gateway.live.current().number() == 2);
    gateway.generation(2).await;
    assert_eq!(chat(&gateway, "alice").await, (200, digest.clone()));
    let left = gateway.live.on_probation_until().unwrap();
    let left = left.duration_since(std::time::SystemTime::now()).unwrap();
    assert!(left > std::time::Duration::from_secs(3_000), "{left:?}");
    let mut seen = Vec::new();
    while seen.len() < 6 {
        let life = lives.recv().await.unwrap();
        assert_eq!(life.digest.short(), digest);
        seen.push((life.what, life.by));
    }
    let expected = [
        (What::Ready, "operator"),
        (What::Shadow, "operator"),
        (What::Passed, "shadow"),
        (What::Canary, "shadow"),
        (What::Passed, "canary"),
        (What::Promoted, "canary"),
    ];
    assert_eq!(seen, expected.map(|(what, by)| (what, by.to_owned())));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_candidate_goes_no_further_than_its_rules_and_its_end_say() {
    let gateway = setup().start().await;
    // Without requests of its callers not enough is seen.
    let rules = "promote = true\n[canary]\ntenants = [\"acme\"]\nfor = \"1s\"\n";
    let (_, told) = offered(&gateway, rules).await;
    assert_eq!(told["stage"], "canary", "{told}");
    let digest = told["digest"].as_str().unwrap().to_owned();
    let is_unseen = |gateway: &Gateway| stage(gateway, &digest) == "unseen";
    gateway.until(is_unseen, "end of the canary").await;
    let status = gateway.live.candidate(&digest).unwrap();
    assert_eq!(status.canary, None);
    let why = "0 requests decided (at least 1)";
    assert_eq!(status.why.as_deref(), Some(why));
    gateway.live.discard(&digest, "ops").await.unwrap();

    // Without `promote` it stays.
    let rules = "[canary]\npercent = 100\nfor = \"1s\"\n";
    let (_, told) = offered(&gateway, rules).await;
    assert_eq!(told["stage"], "canary", "{told}");
    chat_until(&gateway, &digest, "passed").await;
    assert_eq!(gateway.live.candidate(&digest).unwrap().canary, None);
    gateway.live.discard(&digest, "ops").await.unwrap();

    // An operator's act ends what it would do by itself.
    let rules = "promote = true\n[canary]\npercent = 100\nfor = \"1s\"\n";
    let (_, told) = offered(&gateway, rules).await;
    assert_eq!(told["stage"], "canary", "{told}");
    gateway.live.end_canary(&digest, "ops").unwrap();
    assert_eq!(stage(&gateway, &digest), "ready");
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    assert_eq!(stage(&gateway, &digest), "ready");
    assert_eq!(gateway.live.current().number(), 1);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_candidate_that_fails_in_its_canary_never_serves() {
    let gateway = setup().start().await;
    let fails = json!({"fails": "resolve"}).to_string();
    let rules = "promote = true\n[canary]\ncallers = [\"bob\"]\nfor = \"1s\"\n";
    let files: [(&str, &[u8]); 3] = [
        ("model.wasm", EVERY),
        ("model.json", fails.as_bytes()),
        ("rollout.toml", rules.as_bytes()),
    ];
    let (_, told) = answer(upload(&gateway, &files)).await;
    let digest = told["digest"].as_str().unwrap();
    assert_eq!(chat(&gateway, "bob").await.0, 503, "{told}");
    assert_eq!(stage(&gateway, digest), "failed");
    assert_eq!(chat(&gateway, "bob").await.0, 200);
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    assert_eq!(stage(&gateway, digest), "failed");
    assert_eq!(gateway.live.current().number(), 1);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_folders_rules_are_those_of_candidates_without_their_own() {
    let rules =
        "[rollout]\nprobation = \"2h\"\n[rollout.shadow]\nfor = \"1h\"\nmin_decisions = 7\n";
    let gateway = setup()
        .policy("policies.toml", rules.as_bytes())
        .start()
        .await;
    let (status, told) = answer(upload(&gateway, &[("model.json", RENAMED)])).await;
    assert_eq!((status, &told["stage"]), (201, &json!("shadow")), "{told}");
    assert_eq!(told["gate"]["min_decisions"], 7);
    assert_eq!(told["rollout"]["probation"], "2h");
    // There is one shadow at a time: another candidate that needs it is refused before it is prepared.
    let other = keys(&["alice"]);
    let (status, refused) = answer(upload(&gateway, &[("auth.json", other.as_bytes())])).await;
    assert_eq!(
        (status, &refused["error"]["code"]),
        (409, &json!("shadow_taken")),
        "{refused}"
    );
    assert_eq!(gateway.live.candidates().len(), 1);
    // Its own rules take their place, but for what they do not say about the probation.
    let files: [(&str, &[u8]); 2] = [("auth.json", other.as_bytes()), ("rollout.toml", b"")];
    let (status, told) = answer(upload(&gateway, &files)).await;
    assert_eq!((status, &told["stage"]), (201, &json!("ready")), "{told}");
    assert_eq!(
        (&told["rollout"]["shadow"], &told["rollout"]["probation"]),
        (&Value::Null, &json!("2h"))
    );
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rules_of_a_candidate_hold_for_its_probation() {
    let gateway = setup().start().await;
    let without_bob = keys(&["alice"]);
    let files = |rules: &'static str| {
        let files = [
            ("auth.json", without_bob.as_bytes()),
            ("rollout.toml", rules.as_bytes()),
        ];
        upload(&gateway, &files)
    };
    let promoted = async |rules| {
        let (_, told) = answer(files(rules)).await;
        let digest = told["digest"].as_str().unwrap().to_owned();
        gateway.live.promote(&digest, "ops").await.unwrap();
    };
    promoted("probation = \"0s\"").await;
    assert_eq!(gateway.live.on_probation_until(), None);
    gateway.live.roll_back(None, "ops").await.unwrap();
    // Denials count for this one.
    promoted("max_denials = 0").await;
    let number = gateway.live.current().number();
    while gateway.live.current().number() == number {
        chat(&gateway, "bob").await;
    }
    assert_eq!(gateway.live.taken_back(), 1);
    assert_eq!(chat(&gateway, "bob").await.0, 200);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_mistakes_of_a_candidates_rules_are_told_at_its_upload() {
    let gateway = setup().start().await;
    let rules = "promote = true\nkeep = 3\n[canary]\npercent = 200\n";
    let (status, told) = offered(&gateway, rules).await;
    let error = &told["error"];
    assert_eq!(
        (status, &error["code"], &error["param"]),
        (400, &json!("invalid_upload"), &json!("rollout.toml")),
        "{told}"
    );
    let message = error["message"].as_str().unwrap();
    for mistake in [
        "line 2, keep: expected one of shadow, canary,",
        "line 4, [canary] percent: expected a whole number from 0 to 100, found 200",
        "line 3, canary: expected a member `for`, since with `promote` it ends by itself, found none",
    ] {
        assert!(message.contains(mistake), "{mistake}: {message}");
    }
    assert!(gateway.live.candidates().is_empty());
    gateway.stop().await;
}
