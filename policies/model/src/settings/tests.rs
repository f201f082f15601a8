//! Tests which settings are accepted, and the errors for the others.

use codex_policy::schema::agree;
use serde_json::{Value, json};

use super::*;

fn mistake(settings: &Value) -> String {
    let error = Rules::parse(&settings.to_string()).unwrap_err();
    assert!(!error.contains('\n'), "{error}");
    error
}

#[test]
fn nothing_is_required_and_the_host_may_say_more_than_we_know() {
    let host = json!({"environment": "dev", "later": 1, "models": [{"id": "m", "later": 2}]});
    for settings in [json!({}), json!({ "host": host })] {
        let rules = Rules::parse(&settings.to_string()).unwrap();
        assert_eq!(rules.owned_by, "codex");
    }
}

#[test]
fn the_faulty_member_is_named() {
    let alias = |alias: Value| json!({"aliases": {"ok": "m", "bad": alias}});
    for (settings, place) in [
        (json!({"default": 1}), "default: invalid type"),
        (json!({"defalt": "x"}), "defalt: unknown field"),
        (
            json!({"default": " "}),
            "default: there is no \"\", choose one of codex-5",
        ),
        (json!({"owned_by": " "}), "owned_by: name an owner"),
        (json!({"aliases": ["m"]}), "aliases: invalid type"),
        (
            alias(json!(1)),
            "aliases.bad: expected a model's id, or an object of",
        ),
        (
            alias(json!({"modell": "m"})),
            "aliases.bad.modell: expected a model's id",
        ),
        (
            alias(json!({"model": "m", "effort": 3})),
            "aliases.bad.effort: expected a model's id",
        ),
        (alias(json!({})), "aliases.bad.model: name the model"),
        (alias(json!(" ")), "aliases.bad.model: name the model"),
        (
            alias(json!({"model": "m", "effort": "lo"})),
            "aliases.bad.effort: choose one of none, minimal, low",
        ),
        (
            alias(json!({"model": "m", "provider": ""})),
            "aliases.bad.provider: name one of",
        ),
        (
            json!({"aliases": {"a b": "m"}}),
            "aliases.a b: a name is printable ASCII",
        ),
        (
            json!({"aliases": {"": "m"}}),
            "aliases.: a name is printable ASCII",
        ),
        (
            json!({"aliases": {"Fast": "m", "fast": "n"}}),
            "aliases.fast: there is another",
        ),
        (
            json!({"host": {"models": [{"id": 1}]}}),
            "host.models[0].id: invalid type",
        ),
    ] {
        let error = mistake(&settings);
        assert!(error.starts_with(place) && !error.contains("; "), "{error}");
    }
}

#[test]
fn a_fault_in_access_is_named() {
    for (settings, place) in [
        (
            json!({"access": [{"models": ["*"]}, {"groups": ["x"]}]}),
            "access[1].models: name what",
        ),
        (
            json!({"access": [{"callers": [""], "models": ["*"]}]}),
            "access[0].callers: a name is empty",
        ),
        (
            json!({"access": [{"user": "x", "models": ["*"]}]}),
            "access[0].user: unknown field",
        ),
    ] {
        let error = mistake(&settings);
        assert!(error.starts_with(place) && !error.contains("; "), "{error}");
    }
}

#[test]
fn a_default_that_codex_lists_no_more_is_tried_and_not_listed() {
    let settings = json!({
        "default": "Gone", "aliases": {"fast": "m"}, "host": {"codex_model": "n", "models": [{"id": "m"}]},
    });
    let rules = Rules::parse(&settings.to_string()).unwrap();
    assert_eq!(rules.default.model.as_deref(), Some("Gone"));
    assert!(!rules.listed.iter().any(|id| id == "Gone"));
}

#[test]
fn an_effort_only_codex_knows_may_be_an_aliass() {
    let models = json!([{"id": "m", "efforts": ["Ultra"]}]);
    let aliases = json!({"x": {"model": "m", "effort": "ultra"}});
    let settings = json!({"aliases": aliases, "host": {"models": models}});
    assert!(Rules::parse(&settings.to_string()).is_ok());
}

#[test]
fn all_mistakes_are_told_at_once() {
    let error = mistake(&json!({
        "aliases": {"a": "", "b c": "m"}, "owned_by": "", "access": [{"callers": [""], "models": ["*"]}],
        "host": {"models": [{"id": "m"}]},
    }));
    assert_eq!(
        error.split("; ").filter(|part| part.contains(": ")).count(),
        4,
        "{error}"
    );
}

#[test]
fn the_schema_names_the_accepted_members() {
    let schema: Value = serde_json::from_str(include_str!("../../settings.schema.json")).unwrap();
    agree::<Settings>(&schema).unwrap();
    let alias = schema.pointer("/properties/aliases/additionalProperties/anyOf/1");
    agree::<Alias>(alias.unwrap()).unwrap();
    let access = schema.pointer("/properties/access/items");
    agree::<AccessSettings>(access.unwrap()).unwrap();
}
