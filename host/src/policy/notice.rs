//! Warnings about the operator's files: files that no slot reads, rules that never apply.

mod unread;

use std::time::{SystemTime, UNIX_EPOCH};

use codex_policy_settings::models::{FAMILIES, MEMBERS};
use codex_policy_settings::who::Pattern;
use serde_json::Value;

use super::Slot;
use super::candidate::Candidate;
use super::facts::Facts;
use super::given::{BUILT_IN, ENVIRONMENT, Files};
use super::words::{LINE, NAME, text_within};
use crate::spelling::nearest;

/// The most notices of one kind of one look at the files; the last notice gives the number of further ones.
const MOST: usize = 32;

/// A warning for the operator: in the log, in `/healthz` and in the output of `codex-gateway config`. It contains text of files,
/// which is cut and escaped wherever it is shown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {}", self.file(), self.what())]
pub struct Notice {
    pub(super) file: String,
    pub(super) what: String,
}

impl Notice {
    /// A warning about a file, or what stands in for it.
    #[must_use]
    pub fn of(file: &str, what: String) -> Self {
        let file = file.to_owned();
        Self { file, what }
    }

    /// The file's name, or the word that stands in for it, cut and escaped.
    #[must_use]
    pub fn file(&self) -> String {
        text_within(NAME, self.file.clone())
    }

    /// The warning, and its remedy where there is one.
    #[must_use]
    pub fn what(&self) -> String {
        text_within(LINE, self.what.clone())
    }
}

/// The notices of one look at the folder.
#[derive(Debug, Clone, Default)]
pub(super) struct Notices {
    /// About files in the folder that no slot reads.
    pub(super) unread: Vec<Notice>,
    /// About the settings.
    pub(super) settings: Vec<Notice>,
}

impl Notices {
    /// Cuts each kind to a number that a person would read.
    pub(super) fn new(unread: Vec<Notice>, settings: Vec<Notice>) -> Self {
        Self {
            unread: bounded(unread),
            settings: bounded(settings),
        }
    }

    pub(super) fn all(self) -> Vec<Notice> {
        [self.unread, self.settings].concat()
    }
}

fn bounded(mut notices: Vec<Notice>) -> Vec<Notice> {
    if notices.len() > MOST {
        let more = notices.len() - MOST;
        notices.truncate(MOST);
        notices.push(Notice {
            file: "POLICY_DIR".to_owned(),
            what: format!("{more} more like these"),
        });
    }
    notices
}

/// Checks the paths in the folder against the names under which slots read their files.
pub(super) fn of_files(paths: &[String], files: &[Files; Slot::COUNT]) -> Vec<Notice> {
    unread::find(paths, files)
}

/// Checks the settings of the built-in policies: the settings of other policies have meanings that the host does not know.
pub(super) fn of_settings(
    candidates: &[Option<Candidate>; Slot::COUNT],
    facts: &Facts,
) -> Vec<Notice> {
    let mut notices = Vec::new();
    let settings = candidates.each_ref().map(|candidate| {
        let candidate = candidate.as_ref()?;
        let settings: Value = serde_json::from_str(&candidate.settings).unwrap_or_default();
        (candidate.file == BUILT_IN).then_some((candidate, settings))
    });
    let of = |slot: Slot| Some(&settings[slot as usize].as_ref()?.1);
    let known = Known::of(of(Slot::Auth), of(Slot::Model), facts);
    for (candidate, settings) in settings.iter().flatten() {
        let file = &candidate.settings_file;
        if file == ENVIRONMENT {
            continue;
        }
        let mut note = |what| {
            notices.push(Notice {
                file: file.clone(),
                what,
            });
        };
        match candidate.slot {
            Slot::Auth => unused(settings, facts).into_iter().for_each(&mut note),
            Slot::Model => unlisted(settings, facts).into_iter().for_each(&mut note),
            Slot::RateLimit => uncounted(settings, facts).into_iter().for_each(&mut note),
            Slot::ToolStop => {}
        }
        let effect = match candidate.slot {
            Slot::Auth => locks_out(settings, SystemTime::now()),
            Slot::Model => hides_all(settings),
            Slot::RateLimit | Slot::ToolStop => None,
        };
        effect.into_iter().map(str::to_owned).for_each(&mut note);
        for (place, entry) in entries(candidate.slot, settings) {
            known.unknown(&place, entry).into_iter().for_each(&mut note);
        }
    }
    notices
}

/// Whether these settings of the auth policy leave no key that is valid.
fn locks_out(settings: &Value, now: SystemTime) -> Option<&'static str> {
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let keys = settings["keys"].as_array().map_or(&[][..], Vec::as_slice);
    let counts = |key: &&Value| {
        let is_disabled = key["disabled"].as_bool() == Some(true);
        let is_over = key["expires_at"].as_u64().is_some_and(|at| at <= now);
        !is_disabled && !is_over
    };
    if keys.is_empty() {
        return Some(
            "it has no `keys`: nobody can call but where `anonymous` lets them; `codex-gateway key new` makes one",
        );
    }
    keys.iter().find(counts).is_none().then_some(
        "all its `keys` are disabled or have expired: nobody can call but where `anonymous` lets them",
    )
}

/// Whether these settings of the model policy let no caller use any model.
fn hides_all(settings: &Value) -> Option<&'static str> {
    let access = settings["access"].as_array()?;
    let hides = |entry: &Value| entry["models"].as_array().is_some_and(Vec::is_empty);
    access
        .iter()
        .all(hides)
        .then_some("`access` names no model: nobody can use any; without it everybody can use all")
}

/// `anonymous` paths that almost match one of the gateway's. Other unknown paths may belong to a service behind an edge proxy.
fn unused(settings: &Value, facts: &Facts) -> Vec<String> {
    let paths = settings["anonymous"].as_array().into_iter().flatten();
    let near = paths.filter_map(Value::as_str).filter_map(|path| {
        let endpoints = facts.endpoints.iter().map(String::as_str);
        let meant = nearest(path.trim_end_matches('/'), endpoints)?;
        Some(format!(
            "anonymous `{path}`: there is no such path; did you mean {meant}?"
        ))
    });
    near.collect()
}

/// Models that names refer to and that Codex does not list (any more). Requests to them get the provider's answer.
fn unlisted(settings: &Value, facts: &Facts) -> Vec<String> {
    // Without the models of a Codex child, the offered models are not known.
    if facts.models.is_empty() {
        return Vec::new();
    }
    let names = model_names(facts);
    let aliases = settings["aliases"].as_object();
    let is_alias = |name: &str| {
        let mut aliases = aliases.into_iter().flat_map(|map| map.keys());
        aliases.any(|alias| alias.eq_ignore_ascii_case(name))
    };
    let is_there = |name: &str| names.contains(&name.trim().to_ascii_lowercase());
    let mut missing = Vec::new();
    if let Some(default) = settings["default"].as_str()
        && !is_there(default)
        && !is_alias(default.trim())
    {
        missing.push(format!(
            "default `{default}`: Codex lists no such model; requests that name none get what its provider answers"
        ));
    }
    for (alias, target) in aliases.into_iter().flatten() {
        // Another provider has its own models.
        let named = match target["provider"].as_str() {
            Some(_) => None,
            None => target.as_str().or_else(|| target["model"].as_str()),
        };
        if let Some(model) = named.filter(|model| !is_there(model)) {
            missing.push(format!(
                "aliases.{alias} `{model}`: Codex lists no such model; requests to it get what its provider answers"
            ));
        }
    }
    missing
}

/// The models that Codex offers and the members of the families, in lower case.
fn model_names(facts: &Facts) -> Vec<String> {
    let offered = facts.models.iter().filter_map(|model| model["id"].as_str());
    let family = FAMILIES
        .iter()
        .flat_map(|family| MEMBERS.map(|(member, _)| format!("{family}{member}")));
    let offered = offered.chain(facts.codex_model.as_deref());
    offered.map(str::to_ascii_lowercase).chain(family).collect()
}

/// Endpoints that rules name and that do not exist.
fn uncounted(settings: &Value, facts: &Facts) -> Vec<String> {
    let is_there = |named: &str| {
        let counts =
            |endpoint: &String| match (named.strip_suffix("/*"), endpoint.strip_suffix('*')) {
                (Some(folder), _) => endpoint
                    .strip_prefix(folder)
                    .is_some_and(|below| below.starts_with('/')),
                (None, Some(folder)) => named.starts_with(folder),
                (None, None) => named.trim_end_matches('/') == endpoint,
            };
        facts.endpoints.iter().any(counts)
    };
    let rules = settings["rules"].as_array().into_iter().flatten();
    let named = rules.enumerate().flat_map(|(index, rule)| {
        let endpoints = rule["endpoints"].as_array().into_iter().flatten();
        endpoints.filter_map(move |endpoint| Some((index, endpoint.as_str()?)))
    });
    let missing = named.filter(|(_, endpoint)| !facts.endpoints.is_empty() && !is_there(endpoint));
    missing
        .map(|(index, endpoint)| {
            let there = facts.endpoints.join(", ");
            format!("rules[{index}].endpoints `{endpoint}`: requests to it are not counted; there are {there}")
        })
        .collect()
}

/// The entries of a slot's settings that name callers, groups, tenants or models, each with its place.
fn entries(slot: Slot, settings: &Value) -> Vec<(String, &Value)> {
    let list = |member: &'static str| {
        let items = settings[member].as_array().into_iter().flatten();
        items
            .enumerate()
            .map(move |(index, entry)| (format!("{member}[{index}]"), entry))
    };
    match slot {
        Slot::Auth => Vec::new(),
        Slot::Model => list("access").collect(),
        Slot::ToolStop => list("rules").collect(),
        Slot::RateLimit => list("rules")
            .flat_map(|(place, rule)| {
                ["only", "except"].map(|scope| (format!("{place}.{scope}"), &rule[scope]))
            })
            .collect(),
    }
}

/// The known names, by the member that refers to them; a member that is not listed may name anything.
struct Known(Vec<(&'static str, &'static str, Vec<String>)>);

impl Known {
    fn of(auth: Option<&Value>, model: Option<&Value>, facts: &Facts) -> Self {
        let mut known = Vec::new();
        if let Some(keys) = auth.and_then(|auth| auth["keys"].as_array()) {
            let texts = |member: &str| -> Vec<String> {
                let values = keys.iter().flat_map(|key| match &key[member] {
                    Value::Array(several) => several.iter().collect(),
                    one => vec![one],
                });
                values
                    .filter_map(|value| Some(value.as_str()?.to_owned()))
                    .collect()
            };
            let mut ids = texts("id");
            ids.push("anonymous".to_owned());
            known.push(("callers", "no key has this `id` in the auth settings", ids));
            known.push((
                "groups",
                "no key is in this group in the auth settings",
                texts("groups"),
            ));
            known.push((
                "tenants",
                "no key has this `tenant` in the auth settings",
                texts("tenant"),
            ));
        }
        // Without the models of a Codex child, the offered models are not known.
        if let Some(model) = model.filter(|_| !facts.models.is_empty()) {
            let aliases = model["aliases"].as_object().into_iter();
            let aliases = aliases.flat_map(|map| map.keys());
            let mut names = model_names(facts);
            names.extend(aliases.map(|alias| alias.to_ascii_lowercase()));
            names.extend(model["default"].as_str().map(str::to_ascii_lowercase));
            known.push(("models", "there is no such model", names));
        }
        Self(known)
    }

    fn unknown(&self, place: &str, entry: &Value) -> Vec<String> {
        let named = |member: &str| {
            let patterns = entry[member].as_array().into_iter().flatten();
            patterns
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        let unknown = |(member, why, names): &(&str, &str, Vec<String>)| {
            let missing = named(member).into_iter().filter(|name| {
                let pattern = match *member {
                    "models" => Pattern::new(name.as_str()).to_lower_case(),
                    _ => Pattern::new(name.as_str()),
                };
                !names.iter().any(|name| pattern.matches(name))
            });
            missing
                .map(|name| format!("{place}.{member} `{name}`: {why}"))
                .collect::<Vec<_>>()
        };
        self.0.iter().flat_map(unknown).collect()
    }
}

#[cfg(test)]
mod tests;
