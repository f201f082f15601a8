//! Tests which model a name leads to, for which callers, and the denials.

use serde_json::{Value, json};

use codex_policy::Policy;

use super::*;

fn anybody() -> Caller {
    Caller::new("anybody")
}

fn rules(settings: &Value) -> Rules {
    Rules::parse(&settings.to_string()).unwrap()
}

/// Codex runs gpt-6-sol, which supports low, medium and high; gpt-6-mini, which supports none to low; and others.
fn usual() -> Rules {
    rules(&json!({
        "aliases": {
            "Fast": {"model": "gpt-6-mini", "effort": "low"},
            "gpt-4o": "codex-5-high",
            "gpt-4o-mini": {"model": "codex-5-high", "effort": "low"},
            "other": {"model": "gpt-6-sol", "provider": "azure", "effort": "max"},
        },
        "host": {
            "environment": "prod",
            "codex_model": "gpt-6-sol",
            "models": [
                {"id": "gpt-6-mini", "efforts": ["low", "none", "minimal"]},
                {"id": "gpt-6-sol", "efforts": ["low", "medium", "high"]},
                {"id": "gpt-6-unknown"},
                {"id": "gpt-6-new", "efforts": ["high", "ultra"]},
            ],
        },
    }))
}

fn target(id: &str, model: &str, effort: Option<&str>) -> Target {
    let effort = effort.map(str::to_owned);
    Target {
        id: id.to_owned(),
        model: model.to_owned(),
        effort,
        provider: None,
    }
}

/// The target of a request of `caller`.
fn run(
    rules: &Rules,
    caller: &Caller,
    requested: Option<&str>,
    effort: Option<&str>,
) -> Result<Target, Denial> {
    rules.resolve(&Ask {
        caller: caller.clone(),
        requested: requested.map(str::to_owned),
        effort: effort.map(str::to_owned),
    })
}

fn resolve(requested: &str, effort: Option<&str>) -> Result<Target, Denial> {
    run(&usual(), &anybody(), Some(requested), effort)
}

/// The names that `caller` may use.
fn listed(rules: &Rules, caller: Option<&Caller>) -> Vec<String> {
    let cards = rules.catalog(caller).into_iter();
    cards.map(|card| card.id).collect()
}

/// The effort that a request for `requested` with `effort` runs with.
fn effort_of(requested: &str, effort: &str) -> Option<String> {
    resolve(requested, Some(effort)).unwrap().effort
}

#[test]
fn both_families_are_accepted_and_imply_efforts() {
    for family in ["codex-5", "codev-5"] {
        assert_eq!(resolve(family, None), Ok(target(family, "gpt-6-sol", None)));
        for word in ["low", "medium", "high"] {
            let name = format!("{family}-{word}");
            assert_eq!(
                resolve(&name, None),
                Ok(target(&name, "gpt-6-sol", Some(word)))
            );
        }
    }
}

#[test]
fn case_and_blanks_do_not_count_and_the_answer_is_in_lower_case() {
    let expected = Ok(target("codex-5-low", "gpt-6-sol", Some("low")));
    assert_eq!(resolve(" CODEX-5-Low\n", None), expected);
    assert_eq!(
        resolve("fAST", None),
        Ok(target("fast", "gpt-6-mini", Some("low")))
    );
}

#[test]
fn codex_models_are_accepted_by_their_own_names() {
    assert_eq!(
        resolve("GPT-6-mini", None),
        Ok(target("gpt-6-mini", "gpt-6-mini", None))
    );
}

#[test]
fn an_alias_may_lead_to_a_family_or_to_another_provider() {
    assert_eq!(
        resolve("gpt-4o", None),
        Ok(target("gpt-4o", "gpt-6-sol", Some("high")))
    );
    let mini = target("gpt-4o-mini", "gpt-6-sol", Some("low"));
    assert_eq!(resolve("gpt-4o-mini", None), Ok(mini));
    let other = resolve("other", None).unwrap();
    assert_eq!(other.provider.as_deref(), Some("azure"));
    // The efforts of Codex's own model do not limit another provider's model of the same name.
    assert_eq!(other.effort.as_deref(), Some("max"));
}

#[test]
fn the_operator_may_replace_a_built_in_name() {
    let rules = rules(&json!({
        "aliases": {"codex-5": "mine", "loop": "codex-5"},
        "host": {"codex_model": "gpt-5"},
    }));
    let model = |name| run(&rules, &anybody(), name, None).unwrap().model;
    assert_eq!(model(Some("codex-5")), "mine");
    assert_eq!(model(None), "mine");
    assert_eq!(model(Some("loop")), "gpt-5");
}

#[test]
fn a_request_without_a_model_gets_the_default_and_is_told_what_ran() {
    for nothing in [None, Some(""), Some(" ")] {
        let ran = run(&usual(), &anybody(), nothing, None);
        assert_eq!(
            ran,
            Ok(target("gpt-6-sol", "gpt-6-sol", None)),
            "{nothing:?}"
        );
    }
    let with_default = |default: &str| {
        rules(&json!({
            "default": default,
            "aliases": {"fast": {"model": "gpt-6-mini", "effort": "low"}},
            "host": {"codex_model": "gpt-5"},
        }))
    };
    let ran = run(&with_default(" FAST "), &anybody(), None, None);
    assert_eq!(ran, Ok(target("gpt-6-mini", "gpt-6-mini", Some("low"))));
    let ran = run(&with_default("Gpt-7"), &anybody(), None, None);
    assert_eq!(ran, Ok(target("Gpt-7", "Gpt-7", None)));
}

#[test]
fn the_first_model_codex_offers_stands_in_for_a_missing_codex_model() {
    let rules =
        rules(&json!({"host": {"codex_model": null, "models": [{"id": "a"}, {"id": "b"}]}}));
    assert_eq!(
        run(&rules, &anybody(), Some("codex-5"), None)
            .unwrap()
            .model,
        "a"
    );
}

#[test]
fn without_any_model_the_service_is_unavailable() {
    let denial = run(&rules(&json!({})), &anybody(), None, None).unwrap_err();
    assert_eq!(
        (denial.status, denial.kind.as_str(), denial.code.as_str()),
        (503, "server_error", "no_model")
    );
}

#[test]
fn an_unknown_model_is_404_in_openai_words() {
    let denial = resolve(" GPT-99 ", None).unwrap_err();
    let expected = Denial {
        status: 404,
        kind: "invalid_request_error".to_owned(),
        code: "model_not_found".to_owned(),
        message: "The model GPT-99 does not exist or you do not have access to it. GET /v1/models lists those you have."
            .to_owned(),
        param: Some("model".to_owned()),
        headers: Vec::new(),
    };
    assert_eq!(denial, expected);
    let message = resolve(&"é".repeat(5000), None).unwrap_err().message;
    assert_eq!(message.matches('é').count(), 100);
}

#[test]
fn the_request_has_the_last_word_on_effort() {
    assert_eq!(effort_of("codex-5-low", " HIGH ").as_deref(), Some("high"));
    assert_eq!(effort_of("codex-5-low", "  ").as_deref(), Some("low"));
    assert_eq!(effort_of("gpt-6-unknown", "max").as_deref(), Some("max"));
    assert_eq!(effort_of("gpt-6-new", "Ultra").as_deref(), Some("ultra"));
}

#[test]
fn a_word_that_is_no_effort_is_refused_with_the_right_ones() {
    let denial = resolve("codex-5", Some("Bogus")).unwrap_err();
    let expected = Denial {
        status: 400,
        kind: "invalid_request_error".to_owned(),
        code: "invalid_value".to_owned(),
        message: "Invalid value: 'Bogus'. Supported values are: 'low', 'medium', 'high'."
            .to_owned(),
        param: Some("reasoning_effort".to_owned()),
        headers: Vec::new(),
    };
    assert_eq!(denial, expected);
    // An effort that only another model supports is invalid for this one.
    assert_eq!(
        resolve("codex-5", Some("ultra")).unwrap_err().code,
        "invalid_value"
    );
    let message = resolve("gpt-6-unknown", Some("x")).unwrap_err().message;
    assert!(
        message.ends_with("'none', 'minimal', 'low', 'medium', 'high', 'xhigh', 'max'."),
        "{message}"
    );
}

#[test]
fn an_effort_the_model_does_not_take_is_refused() {
    let denial = resolve("codex-5", Some("xhigh")).unwrap_err();
    assert_eq!(
        (denial.status, denial.code.as_str(), denial.param.as_deref()),
        (400, "unsupported_value", Some("reasoning_effort"))
    );
    assert_eq!(
        denial.message,
        "Unsupported value: 'xhigh' is not supported with this model. Supported values are: 'low', 'medium', 'high'."
    );
}

#[test]
fn asking_for_the_least_effort_gets_the_least_there_is() {
    assert_eq!(effort_of("codex-5", "minimal").as_deref(), Some("low"));
    assert_eq!(
        effort_of("gpt-6-mini", "minimal").as_deref(),
        Some("minimal")
    );
}

#[test]
fn no_reasoning_is_never_replaced_by_some() {
    for model in ["codex-5", "gpt-6-mini"] {
        assert_eq!(effort_of(model, "None").as_deref(), Some("none"));
    }
}

#[test]
fn an_alias_runs_with_the_nearest_effort_there_is() {
    assert_eq!(
        resolve("codex-5-minimal", None),
        Ok(target("codex-5-minimal", "gpt-6-sol", Some("low")))
    );
    let alias = |effort: &str| {
        let models = json!([{"id": "m", "efforts": ["high", "low"]}]);
        let alias = json!({"model": "M", "effort": effort});
        let rules = rules(&json!({"aliases": {"x": alias}, "host": {"models": models}}));
        run(&rules, &anybody(), Some("x"), None).unwrap().effort
    };
    assert_eq!(alias("max").as_deref(), Some("high"));
    // Of two efforts equally near, the weaker is chosen.
    assert_eq!(alias("medium").as_deref(), Some("low"));
}

/// Staff may use all models, CI the weak ones, every other caller the fast one.
fn restricted() -> Rules {
    rules(&json!({
        "aliases": {"Fast": "gpt-6-mini", "smart": "gpt-6-sol"},
        "access": [
            {"groups": ["staff"], "models": ["*"]},
            {"callers": ["ci-*"], "tenants": ["build"], "models": ["CODEX-5-low", "gpt-6-m*"]},
            {"models": ["fast"]},
        ],
        "host": {"environment": "dev", "codex_model": "gpt-6-sol", "models": [{"id": "gpt-6-sol"}, {"id": "GPT-6-mini"}]},
    }))
}

#[test]
fn a_caller_sees_what_it_may_use_and_no_more() {
    let rules = restricted();
    let anna = Caller {
        groups: vec!["staff".to_owned()],
        ..Caller::new("anna")
    };
    assert_eq!(listed(&rules, Some(&anna)), rules.listed);
    let of_build = Caller {
        tenant: Some("build".to_owned()),
        ..anybody()
    };
    for caller in [Caller::new("ci-7"), of_build] {
        let expected = ["codev-5-low", "fast", "GPT-6-mini"];
        assert_eq!(listed(&rules, Some(&caller)), expected);
    }
    assert_eq!(listed(&rules, Some(&anybody())), ["fast"]);
    assert_eq!(listed(&rules, None), ["fast"]);
}

#[test]
fn what_a_caller_may_not_use_does_not_exist_for_it() {
    let rules = restricted();
    let ask = |name| run(&rules, &Caller::new("ci-7"), name, None);
    // Both spellings of a family mean the same models.
    for name in ["codex-5-low", "codev-5-LOW", "Fast", "gpt-6-mini"] {
        assert!(ask(Some(name)).is_ok(), "{name}");
    }
    let unknown = ask(Some("gpt-99")).unwrap_err();
    for name in ["codex-5", "codex-5-high", "smart", "gpt-6-sol"] {
        let denial = ask(Some(name)).unwrap_err();
        assert_eq!(
            denial.message,
            unknown.message.replace("gpt-99", name),
            "{name}"
        );
        assert_eq!(
            (denial.status, denial.code.as_str()),
            (404, "model_not_found")
        );
    }
    let denial = ask(None).unwrap_err();
    assert!(denial.message.contains("codev-5 "), "{}", denial.message);
}

#[test]
fn a_list_that_allows_nobody_anything_does_that() {
    let rules = rules(&json!({"access": [], "host": {"codex_model": "gpt-5"}}));
    assert_eq!(rules.catalog(Some(&anybody())), []);
    assert!(run(&rules, &anybody(), Some("codex-5"), None).is_err());
}
