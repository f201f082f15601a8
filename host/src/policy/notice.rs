//! What is not wrong with the operator's files, but hardly meant: files that no slot reads, rules that never hold.

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

/// Notices of one look at the files; further ones are counted.
const MOST: usize = 32;

/// Something worth a word to the operator: in the log, in `/healthz` and by `codex-gateway config`.
/// The words of files are in it: they are cut and escaped wherever it is shown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {}", self.file(), self.what())]
pub struct Notice {
    pub(super) file: String,
    pub(super) what: String,
}

impl Notice {
    /// The file's name, or what stands in for it.
    #[must_use]
    pub fn file(&self) -> String {
        text_within(NAME, self.file.clone())
    }

    /// What is to be known of it, and done about it.
    #[must_use]
    pub fn what(&self) -> String {
        text_within(LINE, self.what.clone())
    }
}

/// Looks at the names of the folder's files, and at the settings of the built-in policies: those of others are theirs.
pub(super) fn find(
    names: &[String],
    files: &[Files; 4],
    candidates: &[Option<Candidate>; 4],
    facts: &Facts,
) -> Vec<Notice> {
    let mut notices = unread::find(names, files);
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
        let effect = match candidate.slot {
            Slot::Auth => locks_out(settings, SystemTime::now()),
            Slot::Model => hides_all(settings),
            Slot::RateLimit | Slot::ToolStop => None,
        };
        effect.into_iter().map(str::to_owned).for_each(&mut note);
        if candidate.slot == Slot::RateLimit {
            uncounted(settings, facts).into_iter().for_each(&mut note);
        }
        for (place, entry) in entries(candidate.slot, settings) {
            known.unknown(&place, entry).into_iter().for_each(&mut note);
        }
    }
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

/// Whether these settings of the auth policy let nobody in who has a key.
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

/// Whether these settings of the model policy let nobody use any model.
fn hides_all(settings: &Value) -> Option<&'static str> {
    let access = settings["access"].as_array()?;
    let hides = |entry: &Value| entry["models"].as_array().is_some_and(Vec::is_empty);
    access
        .iter()
        .all(hides)
        .then_some("`access` names no model: nobody can use any; without it everybody can use all")
}

/// Endpoints that rules name, and that there are not.
fn uncounted(settings: &Value, facts: &Facts) -> Vec<String> {
    let is_there = |named: &str| {
        let counts = |endpoint: &&str| match (named.strip_suffix("/*"), endpoint.strip_suffix('*'))
        {
            (Some(folder), _) => endpoint
                .strip_prefix(folder)
                .is_some_and(|below| below.starts_with('/')),
            (None, Some(folder)) => named.starts_with(folder),
            (None, None) => named.trim_end_matches('/') == *endpoint,
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

/// The entries of a slot's settings that say whom or what they are about, each with where it is.
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

/// The names that there are, by the member that refers to them; a member that is left out may name anything.
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
        // Without a Codex to ask, what it offers is not known.
        if let Some(model) = model.filter(|_| !facts.models.is_empty()) {
            let offered = facts.models.iter().filter_map(|model| model["id"].as_str());
            let aliases = model["aliases"]
                .as_object()
                .into_iter()
                .flat_map(|map| map.keys());
            let family = FAMILIES
                .iter()
                .flat_map(|family| MEMBERS.map(|(member, _)| format!("{family}{member}")));
            let names = offered
                .chain(aliases.map(String::as_str))
                .chain(facts.codex_model.as_deref())
                .map(str::to_ascii_lowercase)
                .chain(family)
                .collect();
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
