//! Tests which settings are accepted, and the errors for the others.

use codex_policy::schema::agree;
use serde_json::{Value, json};

use super::*;

#[test]
fn nothing_is_required() {
    let off = Rules {
        rules: Vec::new(),
        usual: USUAL,
    };
    for text in ["{}", r#"{"host": {"environment": "dev", "later": 1}}"#] {
        assert_eq!(Rules::parse(text), Ok(off.clone()));
    }
}

/// The host writes these settings for an environment that sets none of the policy's variables.
#[test]
fn the_environments_settings_are_the_defaults() {
    let text = r#"{"mode": "off", "grace_ms": 300, "max_calls": 0, "suppress_tail": false, "dedup": false}"#;
    assert!(Rules::parse(text).is_ok());
    assert_eq!(Rules::parse(text), Rules::parse("{}"));
}

#[test]
fn every_member_is_read() {
    let text = r#"{"mode": "burst", "grace_ms": 20, "max_calls": 3, "suppress_tail": true, "dedup": true}"#;
    let usual = Treatment {
        mode: Mode::Burst,
        grace_ms: 20,
        max_calls: 3,
        suppress_tail: true,
        dedup: true,
    };
    let rules = Vec::new();
    assert_eq!(Rules::parse(text), Ok(Rules { rules, usual }));
    let first = Rules::parse(r#"{"mode": "first"}"#).unwrap();
    assert_eq!(first.usual.mode, Mode::First);
}

#[test]
fn what_a_rule_does_not_say_is_as_for_all_others() {
    let settings = json!({
        "mode": "burst",
        "dedup": true,
        "rules": [
            {"groups": ["obsidian"], "models": ["Codex-5*"], "grace_ms": 1000},
            {"callers": ["ci"], "mode": "off", "dedup": false},
        ],
    });
    let rules = Rules::parse(&settings.to_string()).unwrap();
    let usual = Treatment {
        mode: Mode::Burst,
        dedup: true,
        ..USUAL
    };
    let treatments: Vec<_> = rules.rules.iter().map(|rule| rule.treatment).collect();
    let slower = Treatment {
        grace_ms: 1000,
        ..usual
    };
    assert_eq!((rules.usual, treatments), (usual, vec![slower, USUAL]));
    assert_eq!(rules.rules[0].models, [Pattern::new("codex-5*")]);
}

#[test]
fn the_faulty_member_is_named() {
    for (settings, expected) in [
        (
            json!({"mode": "last"}),
            "mode: unknown variant `last`, expected one of `off`, `first`, `burst`",
        ),
        (json!({"mode": true}), "mode: invalid type"),
        (
            json!({"grace_ms": 60_001}),
            "grace_ms: give milliseconds up to 60000",
        ),
        (
            json!({"grace_ms": -1}),
            "grace_ms: invalid value: integer `-1`",
        ),
        (json!({"max_calls": "3"}), "max_calls: invalid type"),
        (json!({"max_call": 3}), "max_call: unknown field"),
        (json!({"suppress_tail": 1}), "suppress_tail: invalid type"),
        (json!({"dedup": "yes"}), "dedup: invalid type"),
        (
            json!({"rules": [{}, {"grace_ms": 60_001}]}),
            "rules[1].grace_ms: give milliseconds up to 60000",
        ),
        (
            json!({"rules": [{"models": [""]}]}),
            "rules[0].models: a name is empty",
        ),
        (
            json!({"rules": [{"caller": "x"}]}),
            "rules[0].caller: unknown field",
        ),
    ] {
        let error = Rules::parse(&settings.to_string()).unwrap_err();
        assert!(
            error.starts_with(expected) && !error.contains("; "),
            "{error}"
        );
    }
    let several = r#"{"mode": 1, "grace_ms": "1", "max": 1}"#;
    let error = Rules::parse(several).unwrap_err();
    assert_eq!(error.split("; ").count(), 3, "{error}");
}

#[test]
fn the_schema_names_the_accepted_members_and_tells_the_true_defaults() {
    let schema: Value = serde_json::from_str(include_str!("../../settings.schema.json")).unwrap();
    agree::<Settings>(&schema).unwrap();
    let rule = schema.pointer("/properties/rules/items").unwrap();
    agree::<RuleSettings>(rule).unwrap();

    let members = schema["properties"].as_object().unwrap();
    let defaults = members.iter().filter(|(name, _)| *name != "host");
    let defaults = defaults.map(|(name, member)| (name.clone(), member["default"].clone()));
    let written = Value::Object(defaults.collect());
    assert_eq!(Rules::parse(&written.to_string()), Rules::parse("{}"));
    assert_eq!(members["grace_ms"]["maximum"], LONGEST_GRACE_MS);
}
