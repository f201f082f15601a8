//! Settings that leave no caller access, and limits that never apply.

use std::time::Duration;

use serde_json::json;

use super::*;

#[test]
fn keys_that_can_never_match_any_more_lock_everybody_out() {
    let now = UNIX_EPOCH + Duration::from_secs(1_000);
    for (settings, words) in [
        (json!({}), Some("has no `keys`")),
        (json!({"keys": []}), Some("has no `keys`")),
        (
            json!({"keys": [{"disabled": true}, {"expires_at": 1_000}]}),
            Some("disabled or have expired"),
        ),
        (
            json!({"keys": [{"disabled": true}, {"expires_at": 1_001}]}),
            None,
        ),
        (json!({"keys": [{"id": "a"}]}), None),
    ] {
        let said = locks_out(&settings, now);
        assert_eq!(said.is_some(), words.is_some(), "{settings}");
        assert!(
            said.unwrap_or_default().contains(words.unwrap_or_default()),
            "{settings}"
        );
    }
}

#[test]
fn access_without_a_model_hides_them_all() {
    for (settings, hides) in [
        (json!({"access": []}), true),
        (json!({"access": [{"models": []}]}), true),
        (
            json!({"access": [{"models": []}, {"models": ["x"]}]}),
            false,
        ),
        (json!({"access": null}), false),
        (json!({}), false),
    ] {
        assert_eq!(hides_all(&settings).is_some(), hides, "{settings}");
    }
}

fn endpoints() -> Vec<String> {
    let paths = ["/v1/chat/completions", "/v1/models", "/v1/models/*"];
    paths.map(str::to_owned).to_vec()
}

#[test]
fn a_limit_of_an_endpoint_that_there_is_not_is_told() {
    let facts = Facts {
        endpoints: endpoints(),
        ..Facts::default()
    };
    for (endpoint, told) in [
        ("/v1/chat/completions", false),
        ("/v1/models/", false),
        ("/v1/models/*", false),
        ("/v1/models/codex-5", false),
        ("/v1/*", false),
        ("/*", false),
        ("/v1/chat/completion", true),
        ("/v2/*", true),
    ] {
        let settings = json!({"rules": [{"endpoints": [endpoint]}]});
        assert_eq!(
            uncounted(&settings, &facts).len(),
            usize::from(told),
            "{endpoint}"
        );
        assert!(uncounted(&settings, &Facts::default()).is_empty());
    }
}

#[test]
fn an_anonymous_path_that_is_nearly_one_is_told() {
    let facts = Facts {
        endpoints: endpoints(),
        ..Facts::default()
    };
    for (path, told) in [
        ("/v1/models", false),
        ("/v1/models/", false),
        ("/v1/models/codex-5", false),
        ("/v1", false),
        ("/", false),
        ("/v1/model", true),
        ("/v1/chat/completion", true),
        ("/of/another/service", false),
    ] {
        let settings = json!({"anonymous": [path]});
        let found = unused(&settings, &facts);
        assert_eq!(found.len(), usize::from(told), "{path}: {found:?}");
        assert!(unused(&settings, &Facts::default()).is_empty());
    }
}

#[test]
fn a_name_that_leads_to_no_model_of_codex_is_told() {
    let facts = Facts {
        models: vec![json!({"id": "GPT-6"})],
        codex_model: Some("own".to_owned()),
        ..Facts::default()
    };
    let aliases = json!({
        "a": "gpt-6", "b": {"model": "codex-5-low"}, "c": "own", "d": {"model": "x", "provider": "p"}, "e": "gone",
    });
    for (default, told) in [
        (json!(null), 1),
        (json!("gpt-6"), 1),
        (json!("E"), 1),
        (json!("codev-5"), 1),
        (json!("gpt-5"), 2),
    ] {
        let settings = json!({"default": default, "aliases": aliases});
        let found = unlisted(&settings, &facts);
        assert_eq!(found.len(), told, "{default}: {found:?}");
        assert!(
            found
                .iter()
                .any(|what| what.starts_with("aliases.e `gone`: "))
        );
        assert!(unlisted(&settings, &Facts::default()).is_empty());
    }
}
