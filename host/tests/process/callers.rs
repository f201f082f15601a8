//! `codex-gateway admin callers`, `caller` and `watch --decisions`, as a person reads them.

use super::folders::{Site, fingerprint};
use super::operators::{admin, on_socket};
use super::*;

/// Rules with which a caller may ask twice in 31 days.
fn rules() -> String {
    let rule = json!({"name": "few", "unit": "requests", "limit": 2, "window_ms": 2_678_400_000_u64, "per": ["caller", "model"]});
    json!({"rules": [rule]}).to_string()
}

#[test]
fn callers_are_shown_with_their_keys_buckets_usage_and_refusals() {
    const KEY: &str = "sk-of-bob";
    let folder = tempfile::tempdir().unwrap();
    let site = Site::new();
    let key =
        json!({"id": "bob & co", "tenant": "acme", "sha256": fingerprint(KEY), "expires_at": 1});
    let later = json!({"id": "bob & co", "tenant": "acme", "sha256": fingerprint("sk-later")});
    // The first key is expired, so that the second one is used.
    site.write("auth.json", &json!({"keys": [key, later]}).to_string());
    site.write("rate-limit.json", &rules());
    let vars = site.vars();
    let vars: Vec<_> = vars
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let (running, address) = on_socket(folder.path(), &vars);
    let vars = [("ADMIN_ADDR", address.as_str())];
    let done = |arguments: &[&str]| {
        let told = admin(arguments, &vars);
        assert_eq!((told.code, told.err.as_str()), (Some(0), ""));
        told.out
    };
    assert!(done(&["callers"]).starts_with("no caller was seen"));
    for expected in ["200", "200", "429"] {
        let mut answer = String::new();
        let mut connection = post_with(&running.address, "sk-later", STREAM);
        connection.read_to_string(&mut answer).unwrap();
        assert_eq!(answer.split(' ').nth(1), Some(expected), "{answer}");
    }
    let told = done(&["callers"]);
    let columns: Vec<_> = told.lines().next().unwrap().split("  ").collect();
    assert_eq!(columns[0], "CALLER");
    let line = told.lines().nth(1).unwrap();
    assert!(line.starts_with("bob & co  acme  "), "{told}");
    assert!(line.contains("429 rate_limited by few, "), "{told}");
    let told = done(&["caller", "bob & co"]);
    assert!(told.starts_with("bob & co of acme  seen "), "{told}");
    for words in [
        "3 requests, 1 denied, ",
        "REFUSED   ",
        "/v1/chat/completions: 429 rate_limited by few: Rate limit reached",
        "MODELS    codev-5, ",
        &format!("{}  expired ", &fingerprint(KEY)[..12]),
        &format!("{}  does not expire", &fingerprint("sk-later")[..12]),
        "few   bob & co, demo  requests     0      2  31 d 0 h  30 d ",
    ] {
        assert!(told.contains(words), "{words}:\n{told}");
    }
    let json: Value = serde_json::from_str(&done(&["caller", "bob & co", "--json"])).unwrap();
    assert_eq!(json["data"][0]["buckets"][0]["remaining"], 0);
    let told = admin(&["caller", "none"], &vars);
    assert_eq!(told.code, Some(1));
    assert!(
        told.err.contains("No caller 'none' was seen"),
        "{}",
        told.err
    );
}

#[test]
fn decisions_are_shown_as_they_are_made() {
    let folder = tempfile::tempdir().unwrap();
    let (running, address) = on_socket(folder.path(), &[]);
    let vars = [("ADMIN_ADDR", address.as_str())];
    let watch = [
        "admin",
        "watch",
        "--decisions",
        "--refused",
        "--slot",
        "auth",
    ];
    let mut watching = gateway(&vars).args(watch).spawn().unwrap();
    let mut lines = BufReader::new(watching.stdout.take().unwrap());
    let mut told = BufReader::new(watching.stderr.take().unwrap());
    let mut line = String::new();
    told.read_line(&mut line).unwrap();
    assert_eq!(line, "decisions from now on, until Ctrl-C\n");
    running.get("/v1/models", Some("sk-test"));
    running.get("/v1/models", Some("sk-stranger"));
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    let words = "Z  denied    auth authenticate  401 invalid_api_key  ";
    assert!(line.contains(words), "{line}");
    assert!(!line.contains("sk-stranger"), "{line}");
    watching.kill().unwrap();
    watching.wait().unwrap();
    let told = admin(&["watch", "--refused"], &vars);
    assert_eq!(told.code, Some(2), "{}", told.err);
    let told = admin(&["watch", "--decisions", "--slot", "auht"], &vars);
    assert!(
        told.err.contains("expected one of auth, model"),
        "{}",
        told.err
    );
}
