//! Tests which settings are accepted, and the errors for the others.

use codex_policy::schema::agree;
use codex_policy_settings::who::Pattern;
use serde_json::{Value, json};

use super::*;

/// The error for a rule that is correct except for these members.
fn mistake(change: Value) -> String {
    let mut rule = json!({"name": "r", "unit": "requests", "limit": 9});
    for (name, value) in change.as_object().unwrap() {
        rule[name] = value.clone();
    }
    let error = Rules::parse(&json!({ "rules": [rule] }).to_string()).unwrap_err();
    assert!(!error.contains('\n'), "{error}");
    error
}

#[test]
fn nothing_is_required() {
    for text in [
        "{}",
        r#"{"rules": [], "host": {"environment": "dev", "later": 1}}"#,
    ] {
        assert_eq!(Rules::parse(text), Ok(Rules::default()));
    }
}

#[test]
fn every_member_is_read() {
    let rules = Rules::parse(
        &json!({"rules": [
            {"name": "a", "unit": "tokens", "limit": 7, "window_ms": 9, "per": ["tenant", "model"],
             "only": {"groups": ["staff"]}, "except": {"callers": ["ann"]}, "streaming_only": true, "endpoints": ["/x/", "/y/*"]},
            {"name": "b", "unit": "requests", "limit": 8},
            {"name": "c", "unit": "concurrent", "limit": 4, "per": "all"},
        ]})
        .to_string(),
    );
    let generating: Vec<_> = GENERATING.map(str::to_owned).into();
    let first = Rule {
        name: "a".to_owned(),
        unit: Unit::Tokens,
        limit: 7,
        window_ms: 9,
        per: vec![Per::Tenant, Per::Model],
        only: Scope {
            groups: vec![Pattern::new("staff")],
            ..Scope::default()
        },
        except: Scope {
            callers: vec![Pattern::new("ann")],
            ..Scope::default()
        },
        streaming_only: true,
        endpoints: vec!["/x".to_owned(), "/y/*".to_owned()],
    };
    let second = Rule {
        name: "b".to_owned(),
        unit: Unit::Requests,
        limit: 8,
        window_ms: 60_000,
        per: vec![Per::Caller],
        only: Scope::default(),
        except: Scope::default(),
        streaming_only: false,
        endpoints: generating,
    };
    let third = Rule {
        name: "c".to_owned(),
        unit: Unit::Concurrent,
        limit: 4,
        window_ms: 0,
        per: vec![Per::All],
        ..second.clone()
    };
    assert_eq!(rules, Ok(Rules(vec![first, second, third])));
}

#[test]
fn the_faulty_member_is_named() {
    for (change, place) in [
        (json!({"name": ""}), "name: name the rule"),
        (json!({"name": "a b"}), "name: name the rule"),
        (
            json!({"unit": null}),
            "unit: choose requests, tokens or concurrent",
        ),
        (
            json!({"unit": "seconds"}),
            "unit: unknown variant `seconds`, expected one of `requests`",
        ),
        (json!({"limit": null}), "limit: give a number from 1"),
        (json!({"limit": 0}), "limit: give a number from 1"),
        (
            json!({"limit": 1_000_000_001}),
            "limit: give a number from 1",
        ),
        (json!({"limit": -1}), "limit: invalid value"),
        (json!({"limit": "60"}), "limit: invalid type"),
        (json!({"window_ms": 0}), "window_ms: give a number"),
        (
            json!({"window_ms": 2_678_400_001_u64}),
            "window_ms: give a number",
        ),
        (
            json!({"unit": "concurrent", "window_ms": 1}),
            "window_ms: what is concurrent",
        ),
        (
            json!({"per": "user"}),
            "per: expected caller, tenant, address, model or all",
        ),
        (json!({"per": []}), "per: name different words"),
        (
            json!({"per": ["model", "model"]}),
            "per: name different words",
        ),
        (
            json!({"per": ["all", "model"]}),
            "per: name different words",
        ),
        (
            json!({"only": {"keys": ["x"]}}),
            "only.keys: unknown field `keys`, expected one of `callers`",
        ),
        (json!({"only": {"groups": [""]}}), "only: a name is empty"),
        (
            json!({"except": {"models": ["a", ""]}}),
            "except: a name is empty",
        ),
        (json!({"endpoints": []}), "endpoints: name at least one"),
        (
            json!({"endpoints": ["/v1/models", "v1"]}),
            "endpoints: name paths",
        ),
        (json!({"endpoints": ["/v1/*/x"]}), "endpoints: name paths"),
        (json!({"endpoints": ["/v1?x"]}), "endpoints: name paths"),
        (json!({"window": 1}), "window: unknown field"),
    ] {
        let error = mistake(change);
        let error = error.strip_prefix("rules[0].").unwrap_or(&error);
        assert!(error.starts_with(place) && !error.contains("; "), "{error}");
    }
}

#[test]
fn all_mistakes_are_told_at_once() {
    let text = r#"{"rules": [{"name": "a", "unit": "requests"}, {"name": "a", "limit": 1}]}"#;
    let error = Rules::parse(text).unwrap_err();
    for place in [
        "rules[0].limit",
        "rules[1].name: an earlier rule has the same",
        "rules[1].unit",
    ] {
        assert!(error.contains(place), "{error}");
    }
    let error = Rules::parse(r#"{"rules": [{"limit": "1"}, {"per": 1}], "ruels": 0}"#).unwrap_err();
    assert_eq!(error.split("; ").count(), 3, "{error}");
}

#[test]
fn the_schema_names_the_accepted_members_and_tells_the_true_defaults() {
    let schema: Value = serde_json::from_str(include_str!("../../settings.schema.json")).unwrap();
    agree::<Settings>(&schema).unwrap();
    let rule = schema.pointer("/properties/rules/items").unwrap();
    agree::<RuleSettings>(rule).unwrap();
    let rule = &rule["properties"];
    assert_eq!(rule["endpoints"]["default"], json!(GENERATING));
    assert_eq!(rule["window_ms"]["default"], MINUTE_MS);
    assert_eq!(rule["window_ms"]["maximum"], LONGEST_WINDOW_MS);
    assert_eq!(rule["limit"]["maximum"], LARGEST_LIMIT);
}
