//! Decides which model and effort a request runs with, and which models are listed.

use std::collections::BTreeMap;

use crate::effort;

/// Longest piece of a client's text that an answer repeats, in characters.
const QUOTED: usize = 100;

/// Where a name leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// What Codex is asked to run; absent if the host named no model.
    pub model: Option<String>,
    /// Unless the request says otherwise.
    pub effort: Option<String>,
    /// Absent: Codex's own default.
    pub provider: Option<String>,
}

/// What a request runs with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// What the answer calls the model.
    pub id: String,
    /// What Codex is asked to run.
    pub model: String,
    /// Absent: the model's own default.
    pub effort: Option<String>,
    /// Absent: Codex's own default.
    pub provider: Option<String>,
}

/// A refusal, in the words of the contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// An HTTP status.
    pub status: u16,
    /// OpenAI's `error.type`.
    pub kind: &'static str,
    /// OpenAI's `error.code`.
    pub code: &'static str,
    /// What is wrong, for the person who reads it.
    pub message: String,
    /// The request field that is to blame.
    pub param: Option<&'static str>,
}

/// The settings, checked and ready to be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// Every accepted name, in lower case.
    pub routes: BTreeMap<String, Route>,
    /// For a request that names no model.
    pub default: Route,
    /// The names to list, in their order; the same for every caller.
    pub listed: Vec<String>,
    /// The owner to list them with.
    pub owned_by: String,
    /// What the host knows of its models' efforts.
    pub efforts: effort::Support,
}

impl Rules {
    /// What a request for the model `requested` with the effort `effort` runs with, both as the client wrote them.
    ///
    /// # Errors
    /// If there is no such model, or it does not take that effort.
    pub fn resolve(&self, requested: Option<&str>, effort: Option<&str>) -> Result<Target, Denial> {
        let name = requested.map(str::trim).filter(|name| !name.is_empty());
        let id = name.map(str::to_ascii_lowercase);
        let route = match &id {
            Some(id) => self
                .routes
                .get(id)
                .ok_or_else(|| unknown(name.unwrap_or(id)))?,
            None => &self.default,
        };
        let model = route.model.clone().ok_or_else(no_model)?;
        let asked = effort.map(str::trim).filter(|word| !word.is_empty());
        let effort = match asked {
            Some(word) => Some(effort::choose(word, self.efforts.of(route))?),
            None => route.effort.clone(),
        };
        Ok(Target {
            id: id.unwrap_or_else(|| model.clone()),
            model,
            effort,
            provider: route.provider.clone(),
        })
    }
}

/// The beginning of what a client wrote, short enough to repeat.
pub(crate) fn quote(text: &str) -> String {
    text.chars().take(QUOTED).collect()
}

fn unknown(name: &str) -> Denial {
    Denial {
        status: 404,
        kind: "invalid_request_error",
        code: "model_not_found",
        message: format!(
            "The model {} does not exist or you do not have access to it.",
            quote(name)
        ),
        param: Some("model"),
    }
}

fn no_model() -> Denial {
    Denial {
        status: 503,
        kind: "server_error",
        code: "no_model",
        message: "No model is available: Codex offers none and CODEX_MODEL is not set.".to_owned(),
        param: None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::settings::Settings;

    fn rules(settings: &Value) -> Rules {
        Settings::parse(&settings.to_string()).unwrap()
    }

    /// Codex runs gpt-6-sol, which takes low, medium and high; gpt-6-mini, which takes none to low; and more.
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

    fn resolve(requested: &str, effort: Option<&str>) -> Result<Target, Denial> {
        usual().resolve(Some(requested), effort)
    }

    /// The effort that is run when `requested` is asked with `effort`.
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
        // What Codex says of its own model of that name does not bind another provider's.
        assert_eq!(other.effort.as_deref(), Some("max"));
    }

    #[test]
    fn the_operator_may_replace_a_built_in_name() {
        let rules = rules(&json!({
            "aliases": {"codex-5": "mine", "loop": "codex-5"},
            "host": {"codex_model": "gpt-5"},
        }));
        let model = |name| rules.resolve(name, None).unwrap().model;
        assert_eq!(model(Some("codex-5")), "mine");
        assert_eq!(model(None), "mine");
        assert_eq!(model(Some("loop")), "gpt-5");
    }

    #[test]
    fn a_request_without_a_model_gets_the_default_and_is_told_what_ran() {
        for nothing in [None, Some(""), Some(" ")] {
            let ran = usual().resolve(nothing, None);
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
        let ran = with_default(" FAST ").resolve(None, None);
        assert_eq!(ran, Ok(target("gpt-6-mini", "gpt-6-mini", Some("low"))));
        let ran = with_default("Gpt-7").resolve(None, None);
        assert_eq!(ran, Ok(target("Gpt-7", "Gpt-7", None)));
    }

    #[test]
    fn the_first_model_codex_offers_stands_in_for_a_missing_codex_model() {
        let rules =
            rules(&json!({"host": {"codex_model": null, "models": [{"id": "a"}, {"id": "b"}]}}));
        assert_eq!(rules.resolve(Some("codex-5"), None).unwrap().model, "a");
    }

    #[test]
    fn without_any_model_the_service_is_unavailable() {
        let denial = rules(&json!({})).resolve(None, None).unwrap_err();
        assert_eq!(
            (denial.status, denial.kind, denial.code),
            (503, "server_error", "no_model")
        );
    }

    #[test]
    fn an_unknown_model_is_404_in_openai_words() {
        let denial = resolve(" GPT-99 ", None).unwrap_err();
        let expected = Denial {
            status: 404,
            kind: "invalid_request_error",
            code: "model_not_found",
            message: "The model GPT-99 does not exist or you do not have access to it.".to_owned(),
            param: Some("model"),
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
            kind: "invalid_request_error",
            code: "invalid_value",
            message: "Invalid value: 'Bogus'. Supported values are: 'low', 'medium', 'high'."
                .to_owned(),
            param: Some("reasoning_effort"),
        };
        assert_eq!(denial, expected);
        // Another model's own word is none of this one's.
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
            (denial.status, denial.code, denial.param),
            (400, "unsupported_value", Some("reasoning_effort"))
        );
        assert_eq!(
            denial.message,
            "Unsupported value: 'xhigh' is not supported with this model. Supported values are: 'low', 'medium', 'high'."
        );
    }

    #[test]
    fn asking_for_the_least_effort_gets_the_least_there_is() {
        for word in ["none", "minimal"] {
            assert_eq!(effort_of("codex-5", word).as_deref(), Some("low"));
            assert_eq!(effort_of("gpt-6-mini", word).as_deref(), Some(word));
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
            rules.resolve(Some("x"), None).unwrap().effort
        };
        assert_eq!(alias("max").as_deref(), Some("high"));
        // Of two that are as near, the weaker.
        assert_eq!(alias("medium").as_deref(), Some("low"));
    }
}
