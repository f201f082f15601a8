//! The model policy `my-policy`: it offers a list of models, the first of which is the default.

use codex_policy::model::{Ask, Card, Model, Target};
use codex_policy::settings::Ignored;
use codex_policy::{Caller, Denial, Need, Policy};
use serde::Deserialize;

/// The settings as they are written; `settings.schema.json` describes the members.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Codex's names of the models, the default first.
    models: Vec<String>,
    /// The gateway's own member: facts that this policy does not read.
    #[serde(rename = "host")]
    _host: Ignored,
}

/// The checked settings, ready for decisions.
#[derive(Debug)]
pub struct MyPolicy {
    models: Vec<String>,
}

impl Policy for MyPolicy {
    const NAME: &'static str = "my-policy";
    const SCHEMA: &'static str = include_str!("../settings.schema.json");
    type Settings = Settings;

    fn configure(settings: Settings) -> Result<Self, String> {
        if settings.models.iter().any(String::is_empty) {
            return Err("models: a name is empty, leave it out".to_owned());
        }
        Ok(Self {
            models: settings.models,
        })
    }

    fn needs(&self) -> Vec<Need> {
        vec![Need::Model, Need::Effort]
    }
}

impl Model for MyPolicy {
    fn catalog(&self, _caller: Option<&Caller>) -> Vec<Card> {
        let card = |id: &String| Card {
            id: id.clone(),
            owned_by: "codex".to_owned(),
            created: 0,
        };
        self.models.iter().map(card).collect()
    }

    fn resolve(&self, ask: &Ask) -> Result<Target, Denial> {
        let found = match &ask.requested {
            Some(name) => self.models.iter().find(|model| *model == name),
            None => self.models.first(),
        };
        let model = found.ok_or_else(|| {
            Denial::model_not_found("There is no such model. GET /v1/models lists those you have.")
        })?;
        Ok(Target {
            id: model.clone(),
            model: model.clone(),
            effort: ask.effort.clone(),
            provider: None,
        })
    }
}

codex_policy::export!(model: MyPolicy);

#[cfg(test)]
mod tests {
    use codex_policy::harness::Harness;
    use serde_json::json;

    use super::*;

    fn resolve(requested: Option<&str>) -> Result<Target, Denial> {
        let policy = Harness::<MyPolicy>::configure(&json!({"models": ["gpt-5", "gpt-5-mini"]}));
        policy.unwrap().resolve(&Ask {
            requested: requested.map(str::to_owned),
            ..Ask::default()
        })
    }

    #[test]
    fn the_first_model_is_the_default() {
        assert_eq!(resolve(None).unwrap().model, "gpt-5");
        assert_eq!(resolve(Some("gpt-5-mini")).unwrap().model, "gpt-5-mini");
    }

    #[test]
    fn another_model_does_not_exist() {
        assert_eq!(resolve(Some("gpt-4")).unwrap_err().status, 404);
    }
}
