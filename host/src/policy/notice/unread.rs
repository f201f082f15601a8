//! Files that look like ours, and that no slot reads: somebody believes that what is in them holds.

use super::super::Slot;
use super::super::given::Files;
use super::super::manifest::MANIFEST;
use super::Notice;

/// Endings of text that people write settings in, by mistake or by the way of an editor.
const TEXTS: [&str; 10] = [
    "", "txt", "toml", "yaml", "yml", "jsn", "json5", "jsonc", "conf", "wat",
];

/// What to do about each of the paths that is not read. They are relative to the folder.
pub(super) fn find(paths: &[String], files: &[Files; 4]) -> Vec<Notice> {
    let notice = |path: &String| {
        let what = match path.rsplit_once('/') {
            Some((_, name)) => below(name)?,
            None => beside(path, files)?,
        };
        Some(Notice {
            file: path.clone(),
            what,
        })
    };
    paths.iter().filter_map(notice).collect()
}

/// In the folder itself.
fn beside(name: &str, files: &[Files; 4]) -> Option<String> {
    let is_read = |file: &Option<String>| file.as_deref() == Some(name);
    let is_used = |files: &Files| is_read(&files.component) || is_read(&files.settings);
    if name == MANIFEST || name.starts_with('.') || files.iter().any(is_used) {
        return None;
    }
    for slot in Slot::ALL {
        let Files {
            component,
            settings,
        } = &files[slot as usize];
        let by_name = [
            ("wasm", "component", component),
            ("json", "settings", settings),
        ];
        for (extension, member, instead) in by_name {
            if name == format!("{slot}.{extension}") {
                // Without another one the slot reads it, or refuses to.
                let instead = instead.as_ref()?;
                return Some(format!(
                    "no slot reads it: {MANIFEST} names `{instead}` as the `{member}` of [{slot}]"
                ));
            }
        }
    }
    match Likeness::of(name)? {
        Likeness::Manifest => Some(format!(
            "nobody reads it; rename it to {MANIFEST}, and write it as TOML"
        )),
        Likeness::File(slot, extension) => Some(format!(
            "no slot reads it; rename it to {slot}.{extension}, or name it under [{slot}] in {MANIFEST}"
        )),
        Likeness::Text(slot) => Some(format!(
            "no slot reads it; settings are JSON, in {slot}.json"
        )),
        Likeness::Unknown(extension) => {
            let names = Slot::ALL.map(|slot| format!("{slot}.{extension}"));
            let names = names.join(", ");
            Some(format!(
                "no slot reads it; name it in {MANIFEST}, or call it one of {names}"
            ))
        }
    }
}

/// In a folder in it.
fn below(name: &str) -> Option<String> {
    let is_ours = name == MANIFEST
        || Slot::ALL.iter().any(|slot| {
            ["wasm", "json"]
                .iter()
                .any(|extension| name == format!("{slot}.{extension}"))
        });
    is_ours.then(|| "folders in POLICY_DIR are not read; move it one up".to_owned())
}

/// What a name that is not read looks like.
#[derive(Debug, PartialEq, Eq)]
enum Likeness {
    Manifest,
    File(Slot, &'static str),
    /// A slot's, in another format.
    Text(Slot),
    Unknown(&'static str),
}

impl Likeness {
    fn of(name: &str) -> Option<Self> {
        let lower = name.to_ascii_lowercase();
        let (stem, ending) = lower.split_once('.').unwrap_or((&lower, ""));
        let last = ending.rsplit('.').next().unwrap_or_default();
        let plain = stem.replace(['_', ' '], "-");
        if ["policy", "policies"].contains(&plain.as_str()) && TEXTS.contains(&last) {
            return Some(Self::Manifest);
        }
        let extension = ["wasm", "json"].into_iter().find(|known| *known == last);
        match extension {
            // Schemas may lie beside the settings.
            Some("json") if lower.ends_with(".schema.json") => None,
            Some(extension) => {
                let whole = lower.replace(['_', ' ', '.'], "-");
                let meant = Slot::ALL
                    .into_iter()
                    .find(|slot| whole.contains(slot.name()));
                Some(meant.map_or(Self::Unknown(extension), |slot| Self::File(slot, extension)))
            }
            None => {
                let slot = Slot::ALL.into_iter().find(|slot| slot.name() == plain)?;
                TEXTS.contains(&last).then_some(Self::Text(slot))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_that_looks_like_ours_is_told_what_to_do() {
        for (name, words) in [
            ("auth.JSON", "rename it to auth.json"),
            ("Auth.json", "rename it to auth.json"),
            ("open_auth.wasm", "rename it to auth.wasm"),
            ("rate_limit.json", "rename it to rate-limit.json"),
            ("rate-limit.json.txt", "in rate-limit.json"),
            ("rate-limit", "in rate-limit.json"),
            ("rate-limit.toml", "in rate-limit.json"),
            ("rate_limit.yaml", "in rate-limit.json"),
            ("rate-limit.jsn", "in rate-limit.json"),
            ("policy.toml", "rename it to policies.toml"),
            ("Policies.toml", "rename it to policies.toml"),
            ("policies.yaml", "rename it to policies.toml"),
            ("callers.json", "call it one of auth.json, "),
            ("old/auth.json", "move it one up"),
            ("old/policies.toml", "move it one up"),
        ] {
            let found = find(&[name.to_owned()], &Default::default());
            assert!(
                found.len() == 1 && found[0].what.contains(words),
                "{name}: {found:?}"
            );
        }
    }

    #[test]
    fn other_names_draw_no_word() {
        for name in [
            "README.md",
            "auth.part",
            "auth.json~",
            "auth.json.bak",
            "auth.schema.json",
            "auth.rs",
            "policies.toml",
            "auth.json",
            "notes/README.md",
            "notes/callers.json",
        ] {
            let found = find(&[name.to_owned()], &Default::default());
            assert!(found.is_empty(), "{found:?}");
        }
    }

    #[test]
    fn a_usual_name_beside_the_one_that_is_named_says_what_is_true() {
        let mut files = <[Files; 4]>::default();
        files[0].settings = Some("callers.json".to_owned());
        let found = find(&["auth.json", "callers.json"].map(str::to_owned), &files);
        assert_eq!(found.len(), 1);
        let said =
            "no slot reads it: policies.toml names `callers.json` as the `settings` of [auth]";
        assert_eq!(found[0].what, said);
    }
}
