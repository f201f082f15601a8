//! `codex-gateway policy matrix`: who may use which models, and what other policies would change.

use codex_gateway::secret::fingerprint;
use serde_json::{Value, json};

use super::Desk;

/// A folder of policies with three callers, of whom one is in a group, and aliases.
fn folder(desk: &Desk, name: &str, access: &Value) {
    let key = |id: &str, groups: &[&str]| json!({"id": id, "sha256": fingerprint(id.as_bytes()), "groups": groups});
    let keys = [key("alice", &["staff"]), key("bob", &[]), key("carol", &[])];
    desk.write(&format!("{name}/auth.json"), &json!({ "keys": keys }));
    let aliases = json!({"fast": "gpt-5", "smart": "gpt-6", "nano": "gpt-5"});
    desk.write(
        &format!("{name}/model.json"),
        &json!({"aliases": aliases, "access": access}),
    );
}

/// Each caller may use `fast`, and staff also the rest.
fn usual() -> Value {
    json!([{"models": ["fast"]}, {"groups": ["staff"], "models": ["smart", "nano"]}])
}

#[test]
fn one_generation_is_shown_as_it_decides() {
    let desk = Desk::new();
    folder(&desk, "one", &usual());
    let said = desk.line("matrix --policies one");
    assert_eq!(said.code, Some(0), "{}", said.all());
    for line in [
        "anonymous may use no model: denied 401 invalid_api_key\n",
        "bob and carol may not use nano and smart: denied 404 model_not_found\n",
        "bob and carol may use fast, which runs gpt-5\n",
        "alice may use fast and nano, each of which runs gpt-5\n",
        "alice may use smart, which runs gpt-6\n",
        "(4 callers, 3 models, 4 endpoints)\n",
    ] {
        assert!(said.out.contains(line), "{line}{}", said.all());
    }
    let key = fingerprint(b"alice");
    let told = desk.line("matrix --policies one --json");
    assert!(
        !told.out.contains(&key[..12]) && told.json()["lines"].is_array(),
        "{}",
        told.out
    );
}

#[test]
fn only_the_changes_of_a_candidate_are_shown() {
    let desk = Desk::new();
    folder(&desk, "one", &usual());
    let all = json!([{"groups": ["staff"], "models": ["fast", "nano"]}, {"callers": ["bob"], "models": ["nano", "fast"]}]);
    folder(&desk, "two", &all);
    let expected = "\
carol loses fast: denied 404 model_not_found
alice loses smart: denied 404 model_not_found
bob may now use nano
(4 callers, 3 models, 4 endpoints)
";
    for line in [
        "matrix --policies one --with two",
        "matrix --policies one --with two/model.json",
        "matrix --policies one --with model=two/model.json",
    ] {
        let said = desk.line(line);
        assert_eq!(
            (said.code, &*said.out),
            (Some(1), expected),
            "{line}: {}",
            said.all()
        );
    }
    let same = desk.line("matrix --policies one --with one/model.json");
    assert_eq!(same.code, Some(0), "{}", same.all());
    assert!(
        same.out.starts_with("nothing changes: 4 callers"),
        "{}",
        same.out
    );
    let some =
        desk.line("matrix --policies one --with two --callers bob,dave --models smart,nano --json");
    let lines = &some.json()["lines"];
    assert_eq!(lines.as_array().unwrap().len(), 1, "{lines}");
    assert_eq!(lines[0]["sentence"], "bob may now use nano", "{lines}");
    assert_eq!(lines[0]["meaning"], "gains");
}

#[test]
fn keys_endpoints_and_limits_count_too() {
    let desk = Desk::new();
    folder(&desk, "one", &Value::Null);
    let key = json!({"id": "bob", "sha256": fingerprint(b"bob"), "expires_at": 1_796_167_800});
    let auth = json!({"keys": [key], "anonymous": ["/v1/responses"]});
    desk.write("auth.json", &auth);
    let at = "--models fast --callers anonymous,bob --at";
    let early = desk.line(&format!(
        "matrix --policies one --with auth.json {at} 2026-12-01T23:29Z"
    ));
    let gains = "anonymous may now use fast at POST /v1/responses\n";
    assert!(early.out.starts_with(gains), "{}", early.all());
    let late = desk.line(&format!(
        "matrix --policies one --with auth.json {at} 2026-12-01T23:30Z"
    ));
    assert!(
        late.out
            .contains("bob loses fast: denied 401 invalid_api_key"),
        "{}",
        late.all()
    );

    // A request of one token that no bucket can hold is refused at once; one that is too many only later.
    let rule =
        json!({"name": "none", "unit": "requests", "limit": 1, "endpoints": ["/v1/messages"]});
    desk.write("rate-limit.json", &json!({"rules": [rule]}));
    let said = desk.line("matrix --policies one --with rate-limit.json --models fast");
    assert_eq!(said.code, Some(0), "{}", said.all());
}

#[test]
fn what_a_start_would_refuse_is_no_matrix() {
    let desk = Desk::new();
    folder(&desk, "one", &usual());
    desk.write("model.json", &json!({"aliasse": {}}));
    desk.write("other.json", &json!({}));
    for (line, words) in [
        (
            "matrix --policies one --with model.json",
            "expected settings as the policy's schema",
        ),
        ("matrix --policies nowhere", "nowhere: expected a folder"),
        ("matrix --policies one --with other.json", "SLOT=FILE"),
        (
            "matrix --policies one --with one --with other.json",
            "expected one folder, or files",
        ),
        (
            "matrix --policies one --endpoints v1",
            "--endpoints: expected a path",
        ),
        ("matrix --policies one --at noon", "--at: expected a time"),
    ] {
        let said = desk.line(line);
        assert_eq!(said.code, Some(78), "{line}: {}", said.all());
        assert!(said.err.contains(words), "{line}: {}", said.err);
    }
}
