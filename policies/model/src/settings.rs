//! Parses and checks the operator's settings of the model policy, with the facts the host adds.

use std::collections::BTreeMap;

use codex_policy::settings::Host;
use codex_policy::{Need, Policy, applying};
use codex_policy_settings::who::{Pattern, Who, mistake};
use serde::Deserialize;

use crate::decide::{Access, Rules};
use crate::effort::{KNOWN, Support, normalise};
use crate::routes::build;

/// The settings as they are written; `settings.schema.json` describes the members.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    default: Option<String>,
    aliases: BTreeMap<String, AliasSettings>,
    access: Option<Vec<AccessSettings>>,
    owned_by: String,
    host: Host,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            default: None,
            aliases: BTreeMap::new(),
            access: None,
            owned_by: "codex".to_owned(),
            host: Host::default(),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "expected a model's id, or an object of model, effort and provider"
)]
enum AliasSettings {
    Model(String),
    Full(Alias),
}

/// A name that the operator gave to a model.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Alias {
    /// Codex's name of the model, or a member of a built-in family.
    pub model: String,
    /// The effort, unless the request names one.
    pub effort: Option<String>,
    /// The provider; absent: Codex's own default.
    pub provider: Option<String>,
}

/// The models that some callers may use.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct AccessSettings {
    callers: Vec<Pattern>,
    groups: Vec<Pattern>,
    tenants: Vec<Pattern>,
    models: Vec<Pattern>,
}

/// The model behind the built-in families.
pub(crate) fn base_model(host: &Host) -> Option<&str> {
    let first = || host.models.first().map(|model| model.id.as_str());
    host.codex_model.as_deref().or_else(first)
}

/// The efforts of the host's models, as far as they are known.
pub(crate) fn support(host: &Host) -> Support {
    let mut support = Support::default();
    for model in &host.models {
        support.insert(&model.id, &model.efforts);
    }
    support
}

impl Policy for Rules {
    const NAME: &'static str = "codex-model";
    const SCHEMA: &'static str = include_str!("../settings.schema.json");
    type Settings = Settings;

    fn configure(settings: Settings) -> Result<Self, String> {
        let mut mistakes = Vec::new();
        let support = support(&settings.host);
        let aliases = check_aliases(settings.aliases, &support, &mut mistakes);
        if settings.owned_by.trim().is_empty() {
            mistakes.push("owned_by: name an owner, or leave it out".to_owned());
        }
        let access = settings
            .access
            .map(|list| check_access(list, &mut mistakes));
        let default = settings.default.as_deref().map(str::trim);
        match build(&settings.host, &aliases, default, settings.owned_by) {
            Ok(rules) if mistakes.is_empty() => Ok(Self { access, ..rules }),
            built => {
                mistakes.extend(built.err());
                Err(mistakes.join("; "))
            }
        }
    }

    fn needs(&self) -> Vec<Need> {
        let access = self.access.as_deref().unwrap_or_default();
        let callers = access.iter().any(|entry| entry.who.names_callers());
        let groups = access.iter().any(|entry| entry.who.names_groups());
        applying([
            (true, Need::Model),
            (true, Need::Effort),
            (callers, Need::Caller),
            (groups, Need::Groups),
        ])
    }
}

/// The aliases, by name in lower case.
fn check_aliases(
    settings: BTreeMap<String, AliasSettings>,
    support: &Support,
    mistakes: &mut Vec<String>,
) -> BTreeMap<String, Alias> {
    let mut aliases = BTreeMap::new();
    for (name, alias) in settings {
        let mut complain = |text: String| mistakes.push(format!("aliases.{name}{text}"));
        let mut alias = match alias {
            AliasSettings::Full(alias) => alias,
            AliasSettings::Model(model) => Alias {
                model,
                ..Alias::default()
            },
        };
        alias.model = alias.model.trim().to_owned();
        alias.effort = alias.effort.as_deref().map(normalise);
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
            complain(": a name is printable ASCII without blanks".to_owned());
        }
        if alias.model.is_empty() {
            complain(".model: name the model Codex shall run".to_owned());
        }
        if alias
            .effort
            .as_ref()
            .is_some_and(|word| !support.knows(word))
        {
            complain(format!(".effort: choose one of {}", KNOWN.join(", ")));
        }
        if alias
            .provider
            .as_ref()
            .is_some_and(|provider| provider.trim().is_empty())
        {
            complain(".provider: name one of Codex's providers, or leave it out".to_owned());
        }
        if aliases.insert(name.to_ascii_lowercase(), alias).is_some() {
            complain(": there is another of this name, case does not count".to_owned());
        }
    }
    aliases
}

fn check_access(settings: Vec<AccessSettings>, mistakes: &mut Vec<String>) -> Vec<Access> {
    let mut access = Vec::with_capacity(settings.len());
    for (index, entry) in settings.into_iter().enumerate() {
        let mut complain = |text: String| mistakes.push(format!("access[{index}].{text}"));
        let lists = [
            ("callers", &entry.callers),
            ("groups", &entry.groups),
            ("tenants", &entry.tenants),
            ("models", &entry.models),
        ];
        for (name, list) in lists {
            if let Some(what) = mistake(list) {
                complain(format!("{name}: {what}"));
            }
        }
        if entry.models.is_empty() {
            complain("models: name what these callers may use".to_owned());
        }
        access.push(Access {
            who: Who::new(entry.callers, entry.groups, entry.tenants),
            models: entry.models.iter().map(Pattern::to_lower_case).collect(),
        });
    }
    access
}

#[cfg(test)]
mod tests;
