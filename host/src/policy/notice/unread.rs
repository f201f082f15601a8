//! Files that look like a slot's file and that no slot reads, although their author probably expects them to apply.

use super::super::Slot;
use super::super::given::Files;
use super::super::manifest::MANIFEST;
use super::Notice;
use crate::spelling::{near_short, nearest};

/// Extensions of text files that people use for settings by mistake, or that an editor adds.
const TEXTS: [&str; 9] = [
    "", "txt", "toml", "yaml", "yml", "jsn", "json5", "jsonc", "conf",
];
/// Extensions of the files that slots read.
const READ: [&str; 2] = ["wasm", "json"];
/// The counters file, which the gateway keeps in `PROXY_STATE_DIR`; that may be the same folder.
const OURS: &str = "counters.json";

/// A notice with a remedy for each path that looks like a slot's file and is not read. Paths are relative to the folder.
pub(super) fn find(paths: &[String], files: &[Files; Slot::COUNT]) -> Vec<Notice> {
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

/// The remedy for a file in the folder itself.
fn beside(name: &str, files: &[Files; Slot::COUNT]) -> Option<String> {
    let is_read = |file: &Option<String>| file.as_deref() == Some(name);
    let is_used = |files: &Files| is_read(&files.component) || is_read(&files.settings);
    if [MANIFEST, OURS].contains(&name) || name.starts_with('.') || files.iter().any(is_used) {
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
                // If the manifest names no other file, the slot reads this one, or refuses it.
                let instead = instead.as_ref()?;
                return Some(format!(
                    "no slot reads it: {MANIFEST} names `{instead}` as the `{member}` of [{slot}]"
                ));
            }
        }
    }
    Some(match Likeness::of(name)? {
        Likeness::Manifest => {
            format!("nobody reads it; rename it to {MANIFEST}, and write it as TOML")
        }
        Likeness::File(slot, extension) => format!(
            "no slot reads it; rename it to {slot}.{extension}, or name it under [{slot}] in {MANIFEST}"
        ),
        Likeness::Text(slot) => {
            format!("no slot reads it; settings are JSON, in {slot}.json")
        }
        Likeness::Wat(slot) => format!(
            "no slot reads it; components are binary: `wasm-tools parse` makes {slot}.wasm of it"
        ),
        Likeness::Unknown(extension) => {
            let names = Slot::ALL.map(|slot| format!("{slot}.{extension}"));
            let names = names.join(", ");
            format!("no slot reads it; name it in {MANIFEST}, or call it one of {names}")
        }
    })
}

/// The remedy for a file in a subfolder: only if its name clearly is that of a slot or the manifest.
fn below(name: &str) -> Option<String> {
    let is_ours = match Likeness::of(name)? {
        Likeness::Manifest => true,
        Likeness::File(slot, _) => slot_of(&plain(stem(name).0)) == Some(slot),
        Likeness::Text(_) | Likeness::Wat(_) | Likeness::Unknown(_) => false,
    };
    is_ours.then(|| "folders in POLICY_DIR are not read; move it one up".to_owned())
}

/// The kind of file that the name of an unread file resembles.
#[derive(Debug, PartialEq, Eq)]
enum Likeness {
    Manifest,
    File(Slot, &'static str),
    /// A slot's settings in another format.
    Text(Slot),
    /// A slot's component in text format.
    Wat(Slot),
    Unknown(&'static str),
}

impl Likeness {
    fn of(name: &str) -> Option<Self> {
        let lower = name.to_ascii_lowercase();
        let (stem, last) = stem(&lower);
        let (stem, slot) = (plain(stem), slot_of(&plain(stem)));
        let ends_like = |endings: &[&'static str]| {
            let is_word = last.bytes().all(|byte| byte.is_ascii_alphanumeric());
            near_short(last, endings.iter().copied()).filter(|_| is_word)
        };
        let is_text = TEXTS.contains(&last) || last == "json" || ends_like(&["toml"]).is_some();
        if is_manifest(&stem) && is_text {
            return Some(Self::Manifest);
        }
        // Schemas may be kept beside the settings.
        if lower.ends_with(".schema.json") {
            return None;
        }
        if let Some(extension) = READ.into_iter().find(|known| *known == last) {
            let whole = plain(&lower.replace('.', ""));
            let within = Slot::ALL
                .into_iter()
                .find(|slot| whole.contains(&plain(slot.name())));
            let meant = slot.or(within);
            return Some(
                meant.map_or(Self::Unknown(extension), |slot| Self::File(slot, extension)),
            );
        }
        let slot = slot?;
        match last {
            // A name without extension must match exactly: a similar word often means something else.
            "" if stem != plain(slot.name()) => None,
            "wat" => Some(Self::Wat(slot)),
            _ if TEXTS.contains(&last) => Some(Self::Text(slot)),
            _ => ends_like(&READ).map(|extension| Self::File(slot, extension)),
        }
    }
}

/// The name before its first dot, and the part after its last dot; in `auth-json` only the dot is missing.
fn stem(name: &str) -> (&str, &str) {
    match name.split_once('.') {
        Some((stem, endings)) => (stem, endings.rsplit('.').next().unwrap_or_default()),
        None => match name.rsplit_once(['-', '_', ' ']) {
            Some((stem, last)) if READ.contains(&last) => (stem, last),
            _ => (name, ""),
        },
    }
}

/// The name without separators between words, in lower case.
fn plain(stem: &str) -> String {
    stem.replace(['_', ' ', '-'], "").to_ascii_lowercase()
}

/// The slot with this name, or with a similar one.
fn slot_of(plain_stem: &str) -> Option<Slot> {
    let names = Slot::ALL.map(|slot| plain(slot.name()));
    let names = || names.iter().map(String::as_str);
    let meant = names()
        .find(|name| *name == plain_stem)
        .or_else(|| nearest(plain_stem, names()))
        .or_else(|| near_short(plain_stem, names()))?;
    Slot::ALL
        .into_iter()
        .find(|slot| plain(slot.name()) == meant)
}

fn is_manifest(plain_stem: &str) -> bool {
    const NAMES: [&str; 2] = ["policies", "policy"];
    NAMES.contains(&plain_stem) || nearest(plain_stem, NAMES).is_some()
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
            ("a/rate_limit.json", "move it one up"),
            ("a/auht.json", "move it one up"),
            ("ratelimit.json", "rename it to rate-limit.json"),
            ("toolstop.json", "rename it to tool-stop.json"),
            ("tool_stpo.json", "rename it to tool-stop.json"),
            ("auht.json", "rename it to auth.json"),
            ("modle.wasm", "rename it to model.wasm"),
            ("rate-limit.josn", "rename it to rate-limit.json"),
            ("auth.jason", "rename it to auth.json"),
            ("auth.wams", "rename it to auth.wasm"),
            ("auth-json", "rename it to auth.json"),
            ("auth.wat", "makes auth.wasm of it"),
            ("policies.json", "rename it to policies.toml"),
            ("policy.tml", "rename it to policies.toml"),
            ("polices.toml", "rename it to policies.toml"),
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
            "notes/my-auth.json",
            "counters.json",
            "modal",
            "LICENSE",
            "auth.jsonc~",
            "usage.jsonl",
        ] {
            let found = find(&[name.to_owned()], &Default::default());
            assert!(found.is_empty(), "{found:?}");
        }
    }

    #[test]
    fn a_usual_name_beside_the_one_that_is_named_says_what_is_true() {
        let mut files = <[Files; Slot::COUNT]>::default();
        files[0].settings = Some("callers.json".to_owned());
        let found = find(&["auth.json", "callers.json"].map(str::to_owned), &files);
        assert_eq!(found.len(), 1);
        let said =
            "no slot reads it: policies.toml names `callers.json` as the `settings` of [auth]";
        assert_eq!(found[0].what, said);
    }
}
