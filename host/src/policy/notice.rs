//! What is not wrong with the operator's files, but hardly meant: files that no slot reads, names that nobody has.

use codex_policy_settings::models::{FAMILIES, MEMBERS};
use codex_policy_settings::who::Pattern;
use serde_json::Value;

use super::Slot;
use super::component::Candidate;
use super::given::{BUILT_IN, ENVIRONMENT, Files};
use super::manifest::MANIFEST;
use super::source::Facts;

/// Notices of one look at the files; further ones are counted.
const MOST: usize = 32;

/// Something worth a word to the operator: in the log, in `/healthz` and by `codex-gateway config`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {what}")]
pub struct Notice {
    /// The file's name, or what stands in for it.
    pub file: String,
    /// What is to be known of it, and done about it.
    pub what: String,
}

/// Looks at the names of the folder's files, and at the settings of the built-in policies: those of others are theirs.
pub(super) fn find(
    names: &[String],
    files: &[Files; 4],
    candidates: &[Candidate; 4],
    facts: &Facts,
) -> Vec<Notice> {
    let mut notices: Vec<_> = names
        .iter()
        .filter_map(|name| unread(name, files))
        .collect();
    let settings = candidates.each_ref().map(|candidate| {
        let settings: Value = serde_json::from_str(&candidate.settings).unwrap_or_default();
        (candidate.file == BUILT_IN).then_some(settings)
    });
    let [auth, model, ..] = settings.each_ref().map(Option::as_ref);
    let known = Known::of(auth, model, facts);
    for (slot, settings) in Slot::ALL.into_iter().zip(&settings) {
        let file = &candidates[slot as usize].settings_file;
        let Some(settings) = settings.as_ref().filter(|_| file != ENVIRONMENT) else {
            continue;
        };
        if slot == Slot::Auth && settings["keys"].as_array().is_none_or(Vec::is_empty) {
            notices.push(Notice {
                file: file.clone(),
                what: "it has no `keys`: nobody can call but where `anonymous` lets them; \
                       `codex-gateway key new` makes one"
                    .to_owned(),
            });
        }
        for (place, entry) in entries(slot, settings) {
            let unknown = known.unknown(&place, entry);
            notices.extend(unknown.into_iter().map(|what| Notice {
                file: file.clone(),
                what,
            }));
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

/// A file that looks like one of ours and that no slot reads.
fn unread(name: &str, files: &[Files; 4]) -> Option<Notice> {
    let stem = name
        .strip_suffix(".wasm")
        .or_else(|| name.strip_suffix(".json"))?;
    let is_read = |file: &Option<String>| file.as_deref() == Some(name);
    let is_used = |files: &Files| is_read(&files.component) || is_read(&files.settings);
    // Schemas may lie beside the settings; a name that begins with a dot is hidden on purpose.
    if name.starts_with('.') || stem.ends_with(".schema") || files.iter().any(is_used) {
        return None;
    }
    let extension = &name[stem.len()..];
    let plain = stem.to_ascii_lowercase().replace(['_', ' ', '.'], "-");
    let meant = Slot::ALL
        .into_iter()
        .find(|slot| plain.contains(slot.name()));
    let what = match meant {
        Some(slot) => format!(
            "no slot reads it; rename it to {slot}{extension}, or name it under [{slot}] in {MANIFEST}"
        ),
        None => {
            let names = Slot::ALL
                .map(|slot| format!("{slot}{extension}"))
                .join(", ");
            format!("no slot reads it; name it in {MANIFEST}, or call it one of {names}")
        }
    };
    Some(Notice {
        file: name.to_owned(),
        what,
    })
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
