//! Tests which settings are accepted, and the errors for the others.

use codex_policy::auth::Auth;
use codex_policy::schema::agree;
use codex_policy::{Credential, Request};
use serde_json::{Value, json};

use super::*;

const SHA: &str = "AA11111111111111111111111111111111111111111111111111111111111111";

/// The error for a key with these members.
fn mistake(key: Value) -> String {
    Rules::parse(&json!({ "keys": [key] }).to_string()).unwrap_err()
}

#[test]
fn nothing_is_required() {
    for text in ["{}", r#"{"host": {"environment": "dev", "later": 1}}"#] {
        let rules = Rules::parse(text).unwrap();
        assert!(rules.keys.is_empty() && rules.anonymous.is_empty());
        assert_eq!(rules.realm, "api");
        assert!(!rules.cors);
    }
}

#[test]
fn the_host_says_whether_pages_may_call() {
    let rules = Rules::parse(r#"{"host": {"cors": true}}"#).unwrap();
    assert!(rules.cors);
}

#[test]
fn every_member_is_read() {
    let text = json!({
        "keys": [{
            "sha256": SHA, "id": "ann", "tenant": "acme", "groups": ["ops"],
            "disabled": true, "expires_at": 1_800_000_000,
        }],
        "anonymous": ["/v1/models/", "/"],
        "realm": "my api",
    });
    let rules = Rules::parse(&text.to_string()).unwrap();
    let caller = Caller {
        id: "ann".to_owned(),
        tenant: Some("acme".to_owned()),
        groups: vec!["ops".to_owned()],
    };
    let key = Key {
        caller,
        disabled: true,
        expires_at: Some(1_800_000_000),
    };
    assert_eq!(
        rules.keys,
        HashMap::from([(Fingerprint::parse(SHA).unwrap(), key)])
    );
    assert_eq!(rules.anonymous, ["/v1/models", ""]);
    assert_eq!(rules.realm, "my api");
}

#[test]
fn in_production_a_key_that_everybody_knows_is_refused() {
    for (name, sha256) in PUBLISHED {
        let settings = |environment: &str, disabled: bool| {
            let key = json!({"id": "ann", "sha256": sha256.to_uppercase(), "disabled": disabled});
            let host = json!({ "environment": environment });
            Rules::parse(&json!({"keys": [key], "host": host}).to_string())
        };
        let mistake = settings("prod", false).unwrap_err();
        assert!(
            mistake.starts_with("keys[0].sha256: everybody knows") && mistake.contains(name),
            "{mistake}"
        );
        assert!(settings("prod", true).is_ok());
        assert!(settings("dev", false).is_ok());
    }
}

/// The host writes these settings when `PROXY_API_KEY` is set, with the hash in lower case.
#[test]
fn the_environments_key_is_the_only_one_and_models_are_open() {
    let sha256 = SHA.to_lowercase();
    let text = json!({"keys": [{"sha256": sha256, "id": "default"}], "anonymous": ["/v1/models"]});
    let rules = Rules::parse(&text.to_string()).unwrap();
    let caller = |path: &str, fingerprint: Option<&str>| {
        let credential = fingerprint.map(|fingerprint| Credential {
            scheme: "Bearer".to_owned(),
            fingerprint: fingerprint.to_owned(),
            secret: None,
        });
        let request = Request {
            path: path.to_owned(),
            credential,
            now_ms: u64::MAX,
            ..Request::default()
        };
        let answer = rules.authenticate(&request);
        answer
            .map(|caller| caller.id)
            .map_err(|denial| denial.status)
    };
    let right = Some(sha256.as_str());
    assert_eq!(
        caller("/v1/chat/completions", right),
        Ok("default".to_owned())
    );
    assert_eq!(caller("/v1/chat/completions", None), Err(401));
    assert_eq!(caller("/v1/chat/completions", Some(NOTHING)), Err(401));
    assert_eq!(caller("/v1/models", None), Ok("anonymous".to_owned()));
    assert_eq!(caller("/v1/models", right), Ok("default".to_owned()));
}

/// The error is written to the log and to `/healthz`, so it must not contain a key.
#[test]
fn a_key_that_was_written_where_its_hash_belongs_is_not_repeated() {
    for settings in [
        json!({"keys": "sk-mine"}),
        json!({"keys": ["sk-mine"]}),
        json!({"keys": [{"sha256": "sk-mine", "id": "a"}]}),
        json!({"keys": {"sk-mine": "a"}}),
    ] {
        let error = Rules::parse(&settings.to_string()).unwrap_err();
        assert!(
            error.starts_with("keys") && !error.contains("sk-mine"),
            "{error}"
        );
    }
}

#[test]
fn a_caller_may_have_several_keys_but_a_key_one_caller() {
    let second = SHA.replace('A', "b");
    let keys = |other: &str| json!({ "keys": [{"sha256": SHA, "id": "ann"}, {"sha256": other, "id": "ann"}] });
    assert_eq!(
        Rules::parse(&keys(&second).to_string()).unwrap().keys.len(),
        2
    );
    let error = Rules::parse(&keys(&SHA.to_lowercase()).to_string()).unwrap_err();
    assert_eq!(
        error,
        "keys[1].sha256: an earlier key has the same, and a key has one owner"
    );
}

#[test]
fn the_faulty_member_is_named() {
    let at = |key: Value, place: &str| {
        let error = mistake(key);
        assert!(error.starts_with(place), "{error}");
        assert!(
            !error.contains("; keys") && !error.contains('\n'),
            "more than one: {error}"
        );
    };
    at(
        json!({"id": "a"}),
        "keys[0].sha256: expected 64 hexadecimal digits",
    );
    at(
        json!({"sha256": "xyz", "id": "a"}),
        "keys[0].sha256: expected 64 hexadecimal digits",
    );
    at(
        json!({"sha256": NOTHING, "id": "a"}),
        "keys[0].sha256: this is the SHA-256 of an empty key",
    );
    at(json!({"sha256": SHA}), "keys[0].id: name the caller");
    at(
        json!({"sha256": SHA, "id": "anonymous"}),
        "keys[0].id: \"anonymous\" is the name of",
    );
    at(json!({"sha256": SHA, "id": 7}), "keys[0].id: invalid type");
    at(
        json!({"sha256": SHA, "id": "a", "tennant": "x"}),
        "keys[0].tennant: unknown field",
    );
    at(
        json!({"sha256": SHA, "id": "a", "tenant": ""}),
        "keys[0].tenant: use printable ASCII",
    );
    at(
        json!({"sha256": SHA, "id": "a", "groups": ["x", 1]}),
        "keys[0].groups[1]: invalid type",
    );
    at(
        json!({"sha256": SHA, "id": "a", "groups": ["x,y"]}),
        "keys[0].groups[0]: use printable",
    );
    let milliseconds = json!({"sha256": SHA, "id": "a", "expires_at": 1_800_000_000_000_u64});
    at(milliseconds, "keys[0].expires_at: give seconds");
}

#[test]
fn names_that_could_break_out_of_a_header_are_refused() {
    for name in ["a\r\nx-admin: 1", "a\n", "a\0b", "\u{7f}", " a", "Jürgen"] {
        let error = mistake(json!({"sha256": SHA, "id": name, "tenant": name, "groups": [name]}));
        assert_eq!(
            error.matches("printable ASCII").count(),
            3,
            "{name:?}: {error}"
        );
    }
    for realm in ["", "a\"b", "a\\", "a\r\n"] {
        let error = Rules::parse(&json!({ "realm": realm }).to_string()).unwrap_err();
        assert!(error.starts_with("realm: use printable ASCII"), "{error}");
    }
}

#[test]
fn open_paths_must_be_plain() {
    for path in [
        "",
        "v1/models",
        "/v1/../x",
        "/v1?x",
        "/a b",
        "/a%2Fb",
        "https://x/",
    ] {
        let error = Rules::parse(&json!({ "anonymous": [path] }).to_string()).unwrap_err();
        assert!(
            error.starts_with("anonymous[0]: ") && error.contains("\"/v1/models\""),
            "{error}"
        );
    }
    assert!(Rules::parse(r#"{"anonymous": ["/.well-known"]}"#).is_ok());
}

#[test]
fn all_mistakes_are_told_at_once() {
    let text = json!({"keys": [{"sha256": "x"}, {"id": "a"}], "realm": "", "anonymous": ["x"]});
    let error = Rules::parse(&text.to_string()).unwrap_err();
    for place in [
        "keys[0].sha256",
        "keys[0].id",
        "keys[1].sha256",
        "realm",
        "anonymous[0]",
    ] {
        assert!(error.contains(place), "{place} in {error}");
    }
    let error = Rules::parse(r#"{"keys": {"sha256": 1}, "relm": 1, "realm": 2}"#).unwrap_err();
    assert_eq!(error.split("; ").count(), 3, "{error}");
    assert!(Rules::parse("{").unwrap_err().contains("EOF"));
}

#[test]
fn the_schema_names_the_accepted_members() {
    let schema: Value = serde_json::from_str(include_str!("../../settings.schema.json")).unwrap();
    agree::<Settings>(&schema).unwrap();
    let key = schema.pointer("/properties/keys/items").unwrap();
    agree::<KeySettings>(key).unwrap();
}
