//! `codex-gateway policy diff`: two policies over cases, over a recording, and a searched difference.

use codex_gateway::secret::fingerprint;
use codex_gateway_tests::gateway::{KEY, Setup};
use serde_json::{Value, json};

use super::Desk;

fn key(id: &str) -> Value {
    json!({"id": id, "sha256": fingerprint(format!("sk-{id}").as_bytes())})
}

fn keys(ids: &[&str]) -> Value {
    json!({"keys": ids.iter().map(|id| key(id)).collect::<Vec<_>>()})
}

/// Calls with these keys, as a case.
fn calls(secrets: &[&str]) -> Value {
    let calls = secrets.iter();
    let calls = calls.map(|secret| json!({"input": {"credential": secret}, "expect": {}}));
    json!({"slot": "auth", "calls": calls.collect::<Vec<_>>()})
}

#[test]
fn two_settings_of_a_policy_are_compared_over_the_cases_beside_them() {
    let desk = Desk::new();
    desk.write("old/auth.json", &keys(&["ann", "bob"]));
    desk.write("new/auth.json", &keys(&["ann"]));
    desk.write("new/same/auth.json", &keys(&["bob", "ann"]));
    desk.write(
        "old/cases/all.case.json",
        &calls(&["sk-ann", "sk-bob", "sk-eve"]),
    );
    desk.write(
        "old/cases/model.case.json",
        &json!({"slot": "model", "calls": [{"expect": {}}]}),
    );

    let said = desk.line("diff old/auth.json new/auth.json --json");
    assert_eq!(said.code, Some(1), "{}", said.all());
    let report = said.json();
    let counts = [&report["cases"]["decisions"], &report["cases"]["differ"]];
    assert_eq!(counts, [3, 1], "{report}");
    let group = &report["cases"]["differences"][0];
    for (member, expected) in [
        ("change", json!("refused")),
        ("from", json!("caller bob")),
        ("to", json!("denied 401 invalid_api_key")),
        ("caller", json!("bob")),
        ("examples", json!(["old/cases/all.case.json calls[1]"])),
    ] {
        assert_eq!(group[member], expected, "{group}");
    }
    let shown = desk.line("diff old/auth.json new/auth.json");
    for words in [
        "A: the built-in auth with old/auth.json\n",
        "3 calls of 1 cases: 1 differ",
        "caller bob",
    ] {
        assert!(shown.out.contains(words), "{}", shown.all());
    }

    let said = desk.line("diff old/auth.json new/same/auth.json");
    assert_eq!(said.code, Some(0), "{}", said.all());
    let twice = "diff every.wasm every.wasm --slot auth --cases old --json";
    assert_eq!(desk.line(twice).code, Some(0), "a component with itself");
}

#[test]
fn settings_beside_a_component_are_its_own_unless_they_are_given() {
    let desk = Desk::new();
    std::fs::create_dir(desk.path("a")).unwrap();
    std::fs::copy(desk.path("every.wasm"), desk.path("a/auth.wasm")).unwrap();
    desk.write("a/auth.json", &json!({"configure": "refuse"}));
    desk.write("fine.json", &json!({}));
    desk.write("all.case.json", &calls(&["sk-ann"]));
    let said = desk.line("diff a/auth.wasm a/auth.wasm --cases all.case.json");
    assert_eq!(said.code, Some(78), "{}", said.all());
    assert!(said.err.contains("a/auth.json"), "{}", said.err);
    let said = desk.line("diff a/auth.wasm a/auth.wasm --cases all.case.json --settings fine.json");
    assert_eq!(said.code, Some(0), "{}", said.all());
    let both = "diff a/auth.wasm a/auth.wasm --cases all.case.json --settings fine.json --settings a/auth.json";
    assert_eq!(desk.line(both).code, Some(78));
}

#[test]
fn buckets_and_memos_are_those_of_each_side() {
    let desk = Desk::new();
    let limit =
        |limit: u64| json!({"rules": [{"name": "burst", "unit": "requests", "limit": limit}]});
    desk.write("two.json", &limit(2));
    desk.write("three.json", &limit(3));
    let call = json!({"expect": {}});
    desk.write(
        "many.case.json",
        &json!({"slot": "rate-limit", "calls": [call, call, call, call]}),
    );
    let said =
        desk.line("diff two.json three.json --slot rate-limit --cases many.case.json --json");
    let differences = said.json()["cases"]["differences"].clone();
    let is_allowed = |group: &Value| group["change"] == "allowed" && group["count"] == 1;
    assert!(
        differences.as_array().unwrap().iter().any(is_allowed),
        "{differences}"
    );

    desk.write("on.json", &json!({"dedup": true}));
    desk.write("off.json", &json!({}));
    let turn = json!({"slot": "tool-stop", "calls": [call, call, call]});
    desk.write("turn.case.json", &turn);
    let said = desk.line("diff on.json off.json --slot tool-stop --cases turn.case.json --json");
    let report = &said.json()["cases"];
    // From the first reaction that differs on, each of them has a memo of its own.
    assert_eq!(
        [&report["decisions"], &report["differ"], &report["unknown"]],
        [2, 1, 1],
        "{report}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_is_decided_by_both() {
    let desk = Desk::new();
    let folder = desk.path("records");
    let gateway = Setup::demo()
        .var("POLICY_RECORD", folder.to_str().unwrap())
        .start()
        .await;
    for key in [KEY, "sk-bob", "sk-eve"] {
        let url = format!("{}/v1/models", gateway.origin);
        gateway
            .client
            .get(url)
            .bearer_auth(key)
            .send()
            .await
            .unwrap();
    }
    gateway.stop().await;
    desk.write("old.json", &keys(&["bob", "eve"]));
    desk.write("new.json", &keys(&["bob"]));
    let line = "diff old.json new.json --slot auth --recording records --json";
    let arguments: Vec<_> = line.split(' ').collect();
    let said = tokio::task::block_in_place(|| desk.policy(&arguments));
    assert_eq!(said.code, Some(1), "{}", said.all());
    let report = &said.json()["recording"];
    assert_eq!(report["differ"], 1, "{report}");
    assert_eq!(report["differences"][0]["from"], "caller eve", "{report}");
    // A search begins with the recorded questions.
    let said = tokio::task::block_in_place(|| {
        desk.policy(&[&arguments[..], &["--search", "10s"]].concat())
    });
    assert!(said.json()["search"]["found"].is_object(), "{}", said.all());
}

/// The case that a search found, and the output.
fn searched(desk: &Desk, line: &str) -> Value {
    let said = desk.line(&format!(
        "diff {line} --search 10m --inputs 20000 --seed 7 --json"
    ));
    let found = &said.json()["search"]["found"];
    assert_eq!(said.code, Some(1), "{}", said.all());
    assert!(found.is_object(), "{}", said.all());
    found["case"].clone()
}

#[test]
fn the_case_that_a_search_finds_passes_with_one_and_fails_with_the_other() {
    let desk = Desk::new();
    let rules = |grace: u64| json!({"rules": [{"callers": ["ann"], "models": ["gpt-*"], "mode": "burst", "grace_ms": grace}]});
    let access = |models: [&str; 1]| json!({"access": [{"groups": ["staff"], "models": models}]});
    let limit = |unit: &str, limit: u64| json!({"rules": [{"name": "a", "unit": unit, "limit": limit, "endpoints": ["/v1/x"], "only": {"tenants": ["acme"]}}]});
    let expiring = |at: u64| {
        let mut key = key("ann");
        key["expires_at"] = json!(at);
        json!({"keys": [key]})
    };
    for (slot, from, to) in [
        ("auth", keys(&["ann", "bob"]), keys(&["ann"])),
        ("auth", expiring(1_796_167_800), expiring(1_796_167_801)),
        ("model", access(["codex-5-high"]), access(["codex-5-low"])),
        ("rate-limit", limit("concurrent", 2), limit("concurrent", 3)),
        ("tool-stop", rules(100), rules(200)),
    ] {
        desk.write("a.json", &from);
        desk.write("b.json", &to);
        let line = format!("a.json b.json --slot {slot}");
        let case = searched(&desk, &line);
        assert!(case["calls"].as_array().unwrap().len() <= 3, "{case:#}");
        assert_eq!(searched(&desk, &line), case, "the same seed, the same case");
        desk.write("found.case.json", &case);
        let passes = desk.line("test found.case.json");
        assert_eq!(passes.code, Some(0), "{case:#} {}", passes.all());
        let fails = desk.line("test found.case.json --settings b.json");
        assert_eq!(fails.code, Some(1), "{case:#} {}", fails.all());
    }
}

#[test]
fn a_search_ends_with_its_inputs_and_says_its_seed() {
    let desk = Desk::new();
    desk.write("a.json", &keys(&["ann", "bob"]));
    desk.write("b.json", &keys(&["bob", "ann"]));
    let said = desk.line("diff a.json b.json --slot auth --search 10m --inputs 300 --seed 5");
    assert_eq!(said.code, Some(0), "{}", said.all());
    let words = "search with --seed 5: ";
    assert!(
        said.out.contains(words) && said.out.contains("none is decided differently"),
        "{}",
        said.out
    );
}

#[test]
fn policies_that_cannot_be_compared_are_a_mistake() {
    let desk = Desk::new();
    desk.write("auth.json", &keys(&["ann"]));
    desk.write(
        "wrong.case.json",
        &json!({"slot": "auth", "calls": [{"input": {"methdo": 1}, "expect": {}}]}),
    );
    std::fs::create_dir(desk.path("empty")).unwrap();
    std::fs::copy(desk.path("auth.json"), desk.path("empty/auth.json")).unwrap();
    for (line, words) in [
        ("diff auth.json model", "expected two of one slot"),
        ("diff auth.json nowhere.json", "nowhere.json: "),
        (
            "diff auth.json auth.json",
            "wrong.case.json: calls[0].input: there is no member `methdo`",
        ),
        (
            "diff empty/auth.json empty/auth.json",
            "expected cases of the auth slot",
        ),
        ("diff every.wasm every.wasm", "it fits several slots"),
        (
            "diff empty/auth.json empty/auth.json --recording nowhere",
            "nowhere: ",
        ),
        (
            "diff empty/auth.json empty/auth.json --search soon",
            "--search",
        ),
    ] {
        let said = desk.line(line);
        let expected = if line.ends_with("soon") { 2 } else { 78 };
        assert_eq!(said.code, Some(expected), "{line}: {}", said.all());
        assert!(said.err.contains(words), "{line}: {}", said.err);
    }
}
