//! Builds the table of model names once, from the operator's settings and the host's list of models.

use core::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use codex_policy::settings::Host;
use codex_policy_settings::models::{FAMILIES, MEMBERS};
use codex_policy_settings::who::Pattern;

use crate::decide::{Route, Rules};
use crate::effort::{Support, nearest};
use crate::settings::{Alias, base_model, support};

/// Builds the rules from the host's models, the operator's aliases (by name in lower case) and the name of the default model.
///
/// # Errors
/// If the default is an empty name: one line with the names it could be.
pub fn build(
    host: &Host,
    aliases: &BTreeMap<String, Alias>,
    default: Option<&str>,
    owned_by: String,
) -> Result<Rules, String> {
    let efforts = support(host);
    let [production, development] = FAMILIES;
    let home = if host.environment == "dev" {
        development
    } else {
        production
    };
    let families = route_families(base_model(host), &efforts);
    let offered = host.models.iter().map(|model| &model.id);
    let mut models: Vec<_> = offered.chain(&host.codex_model).cloned().collect();

    // Later entries replace earlier ones, so the operator's aliases win.
    let mut routes: BTreeMap<_, _> = models
        .iter()
        .map(|id| (id.to_ascii_lowercase(), route(id)))
        .collect();
    routes.extend(families.clone());
    let (patterns, aliases): (BTreeMap<_, _>, BTreeMap<_, _>) =
        aliases.iter().partition(|(name, _)| name.contains('*'));
    for (name, alias) in &aliases {
        routes.insert((*name).clone(), route_alias(alias, &families, &efforts));
    }
    let mut patterns: Vec<_> = patterns
        .into_iter()
        .map(|(name, alias)| (Pattern::new(name), route_alias(alias, &families, &efforts)))
        .collect();
    patterns.sort_by_key(|(pattern, _)| Reverse(pattern.letters()));

    let default = default.unwrap_or(home);
    let key = default.to_ascii_lowercase();
    if default.is_empty() {
        let known = [home.to_owned()].into_iter();
        let known = distinct(known.chain(names(&aliases)).chain(models)).join(", ");
        return Err(format!(
            "default: there is no {default:?}, choose one of {known}"
        ));
    }
    // A default that Codex does not list is left to the provider: an update of Codex that drops a model must not stop the next
    // start. The default is listed only if Codex lists no models.
    let matching = route_of(&patterns, &key).cloned();
    if !routes.contains_key(&key) && matching.is_none() && host.models.is_empty() {
        models.push(default.to_owned());
    }
    let default_name = key.clone();
    let default = routes
        .entry(key)
        .or_insert_with(|| matching.unwrap_or_else(|| route(default)))
        .clone();

    let members = MEMBERS.iter().filter(|_| base_model(host).is_some());
    let members = members.map(|(suffix, _)| format!("{home}{suffix}"));
    let listed = distinct(members.chain(names(&aliases)).chain(models));
    Ok(Rules {
        routes,
        patterns,
        default,
        default_name,
        listed,
        access: None,
        owned_by,
        efforts,
    })
}

/// The route of the first pattern that matches a name in lower case.
pub(crate) fn route_of<'a>(patterns: &'a [(Pattern, Route)], name: &str) -> Option<&'a Route> {
    let mut patterns = patterns.iter();
    let (_, route) = patterns.find(|(pattern, _)| pattern.matches(name))?;
    Some(route)
}

fn names(aliases: &BTreeMap<&String, &Alias>) -> impl Iterator<Item = String> {
    aliases.keys().map(|name| (*name).clone())
}

fn route(model: &str) -> Route {
    Route {
        model: Some(model.to_owned()),
        effort: None,
        provider: None,
    }
}

fn route_families(base: Option<&str>, efforts: &Support) -> BTreeMap<String, Route> {
    let mut routes = BTreeMap::new();
    for family in FAMILIES {
        for (suffix, effort) in MEMBERS {
            let route = Route {
                model: base.map(str::to_owned),
                effort: effort.map(str::to_owned),
                provider: None,
            };
            routes.insert(format!("{family}{suffix}"), supported(route, efforts));
        }
    }
    routes
}

/// An alias leads to a model or to a member of a family, not to another alias, so that there are no loops.
fn route_alias(alias: &Alias, families: &BTreeMap<String, Route>, efforts: &Support) -> Route {
    let member = families.get(&alias.model.to_ascii_lowercase()).cloned();
    let target = member.unwrap_or_else(|| route(&alias.model));
    let route = Route {
        effort: alias.effort.clone().or(target.effort),
        provider: alias.provider.clone(),
        model: target.model,
    };
    supported(route, efforts)
}

/// The route with the nearest effort its model supports: a name must work even if its own effort does not exist.
fn supported(route: Route, efforts: &Support) -> Route {
    let effort = route
        .effort
        .as_ref()
        .map(|effort| nearest(effort, efforts.of(&route)));
    Route { effort, ..route }
}

/// Each name once, ignoring case, at its first position.
fn distinct(names: impl Iterator<Item = String>) -> Vec<String> {
    let mut seen = BTreeSet::new();
    names
        .filter(|name| seen.insert(name.to_ascii_lowercase()))
        .collect()
}

#[cfg(test)]
mod tests {
    use codex_policy::Policy;
    use codex_policy::model::{Ask, Model};
    use serde_json::{Value, json};

    use crate::decide::Rules;

    fn rules(settings: &Value) -> Rules {
        Rules::parse(&settings.to_string()).unwrap()
    }

    const FAMILY: [&str; 5] = [
        "codex-5",
        "codex-5-low",
        "codex-5-medium",
        "codex-5-high",
        "codex-5-minimal",
    ];

    #[test]
    fn the_family_of_the_environment_is_listed() {
        let listed = |environment: &str| {
            rules(&json!({"host": {"environment": environment, "codex_model": "codex-5"}})).listed
        };
        assert_eq!(listed("prod"), FAMILY);
        let development = FAMILY.map(|name| name.replace("codex", "codev"));
        assert_eq!(listed("dev")[..5], development);
    }

    #[test]
    fn a_pattern_names_every_model_that_fits_and_has_no_better_name() {
        let rules = rules(&json!({
            "aliases": {"claude-*": "codex-5", "Claude-Haiku-*": "codex-5-low", "claude-one": "gpt-6-mini"},
            "default": "claude-none",
            "host": {"codex_model": "gpt-5"},
        }));
        let resolve = |name: &str| {
            let ask = Ask {
                requested: Some(name.to_owned()),
                ..Ask::default()
            };
            rules
                .resolve(&ask)
                .map(|target| (target.id, target.model, target.effort))
        };
        let target = |id: &str, model: &str, effort: Option<&str>| {
            Ok((id.to_owned(), model.to_owned(), effort.map(str::to_owned)))
        };
        assert_eq!(
            resolve("claude-opus-9"),
            target("claude-opus-9", "gpt-5", None)
        );
        let haiku = target("claude-haiku-9", "gpt-5", Some("low"));
        assert_eq!(resolve("claude-HAIKU-9"), haiku);
        assert_eq!(
            resolve("claude-one"),
            target("claude-one", "gpt-6-mini", None)
        );
        assert_eq!(
            resolve(""),
            target("gpt-5", "gpt-5", None),
            "the default fits, too"
        );
        assert!(resolve("claud").is_err());
        assert!(
            !rules.listed.iter().any(|name| name.contains('*')),
            "{:?}",
            rules.listed
        );
    }

    #[test]
    fn the_family_comes_first_then_aliases_then_codex_models() {
        let rules = rules(&json!({
            "aliases": {"smart": "gpt-6-sol", "Fast": "gpt-6-mini", "codex-5-low": "gpt-6-mini", "gpt-6-nano": "gpt-6-mini"},
            "owned_by": "us",
            "host": {
                "codex_model": "gpt-5",
                "models": [{"id": "gpt-6-sol", "efforts": ["low"]}, {"id": "gpt-6-mini"}, {"id": "GPT-6-nano"}],
            },
        }));
        let mut expected = FAMILY.to_vec();
        expected.extend([
            "fast",
            "gpt-6-nano",
            "smart",
            "gpt-6-sol",
            "gpt-6-mini",
            "gpt-5",
        ]);
        assert_eq!(rules.listed, expected);
        assert_eq!(rules.owned_by, "us");
    }

    #[test]
    fn a_family_without_a_model_is_not_listed() {
        assert_eq!(
            rules(&json!({"aliases": {"fast": "gpt-6-mini"}})).listed,
            ["fast"]
        );
    }

    #[test]
    fn every_listed_model_runs() {
        let rules = rules(&json!({
            "default": "smart",
            "aliases": {"smart": "gpt-6-sol", "o1": {"model": "m", "provider": "p"}},
            "host": {"codex_model": "gpt-5", "models": [{"id": "GPT-6-sol", "efforts": ["low"]}]},
        }));
        assert_eq!(rules.listed.len(), 9);
        for id in &rules.listed {
            let ask = Ask {
                requested: Some(id.clone()),
                ..Ask::default()
            };
            assert!(rules.resolve(&ask).is_ok(), "{id}");
        }
    }
}
