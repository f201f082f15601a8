//! The files of a new policy, by slot and language.

use super::Slot;

/// The files below `policies/` that are embedded: their paths, and their texts.
const FILES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/templates.rs"));

/// The most bytes of a policy's name.
const LONGEST: usize = 64;

/// A language in which a policy can begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// Rust, with the SDK.
    Rust,
    /// JavaScript, with componentize-js.
    JavaScript,
    /// Python, with componentize-py.
    Python,
}

impl Language {
    /// All languages.
    pub const ALL: [Self; 3] = [Self::Rust, Self::JavaScript, Self::Python];

    /// The language's name in commands.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::JavaScript => "js",
            Self::Python => "python",
        }
    }

    /// Its own folder of templates, the folder that comes with it whole, and the place of the latter below the new folder.
    const fn folders(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Rust => ("templates/rust", "sdk/", "codex-policy/"),
            Self::JavaScript => ("templates/js", "sdk/wit/", "wit/"),
            Self::Python => ("templates/python", "sdk/wit/", "wit/"),
        }
    }
}

/// The mistake in the name of a new policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NamingMistake {
    /// Other characters, or none.
    #[error(
        "expected a name of 1 to {LONGEST} lower-case letters, digits and hyphens that begins with a letter"
    )]
    Characters,
    /// A name that the template uses itself.
    #[error("the name of a part of the template: expected another")]
    Taken,
}

/// The files of a new policy: their paths below its folder, and their texts.
///
/// # Errors
/// If the name is no name of a package in every language.
pub fn new_policy(
    slot: Slot,
    language: Language,
    name: &str,
) -> Result<Vec<(String, String)>, NamingMistake> {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let begins = name
        .bytes()
        .next()
        .is_some_and(|byte| byte.is_ascii_lowercase());
    if !begins || name.len() > LONGEST || !name.bytes().all(is_plain) || name.ends_with('-') {
        return Err(NamingMistake::Characters);
    }
    // Cargo reserves the first three, and takes no two packages of one name.
    if [
        "test",
        "core",
        "std",
        "codex-policy",
        "serde",
        "serde-json",
        "wit-bindgen",
    ]
    .contains(&name)
    {
        return Err(NamingMistake::Taken);
    }
    let underscored = name.replace('-', "_");
    let names = [
        ("my-policy", name),
        ("my_policy", &underscored),
        ("my-slot", slot.name()),
    ];
    let fill = |text: &str| filled(text, &names);
    let (own, with, place) = language.folders();
    let mut files = Vec::new();
    for folder in [format!("{own}/all/"), format!("{own}/{slot}/")] {
        files.extend(below(&folder).map(|(path, text)| match path {
            // A name that begins with a dot would be read in the repository, too.
            "gitignore" => (".gitignore".to_owned(), fill(text)),
            path => (path.to_owned(), fill(text)),
        }));
    }
    files.extend(below(with).map(|(path, text)| (format!("{place}{path}"), text.to_owned())));
    Ok(files)
}

/// The text with values in place of placeholders. A value is text: a placeholder in it is none.
fn filled(text: &str, values: &[(&str, &str)]) -> String {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    let next = |rest: &str| {
        let found = values.iter();
        let found = found.filter_map(|(place, value)| Some((rest.find(place)?, *place, *value)));
        found.min_by_key(|(at, ..)| *at)
    };
    while let Some((at, place, value)) = next(rest) {
        filled.push_str(&rest[..at]);
        filled.push_str(value);
        rest = &rest[at + place.len()..];
    }
    filled.push_str(rest);
    filled
}

/// The embedded files below a folder.
fn below(folder: &str) -> impl Iterator<Item = (&'static str, &'static str)> {
    FILES
        .iter()
        .filter_map(move |(path, text)| Some((path.strip_prefix(folder)?, *text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_slot_has_a_template_in_every_language() {
        for slot in Slot::ALL {
            for language in Language::ALL {
                let files = new_policy(slot, language, "guest-list").unwrap();
                let has = |name: &str| files.iter().any(|(path, _)| path == name);
                assert!(
                    has("README.md") && has("settings.schema.json"),
                    "{slot} {files:?}"
                );
                let cases = files
                    .iter()
                    .filter(|(path, _)| path.ends_with(".case.json"));
                assert_eq!(cases.count(), 2, "{slot}");
                assert!(
                    has(".gitignore")
                        && files
                            .iter()
                            .any(|(path, _)| path.ends_with("wit/types.wit"))
                );
                for (path, text) in files {
                    let own = !path.contains("wit/") && !path.starts_with("codex-policy/");
                    assert!(!(own && text.contains("my-")), "{path} has a placeholder");
                    assert!(!path.contains("v0.1"), "{path}");
                }
            }
        }
    }

    #[test]
    fn a_name_may_look_like_a_placeholder() {
        for name in ["my-slot", "my-policy-my-slot"] {
            let files = new_policy(Slot::Auth, Language::Rust, name).unwrap();
            let text = |wanted: &str| {
                let mut all = files.iter();
                let found = all.find(|(path, _)| path == wanted);
                &found.unwrap().1
            };
            let named = format!("name = \"{name}\"");
            assert!(
                text("Cargo.toml").contains(&named),
                "{}",
                text("Cargo.toml")
            );
            assert!(text("README.md").contains("`auth` policy"));
            assert!(text("README.md").starts_with(&format!("# {name}\n")));
        }
    }

    #[test]
    fn a_name_is_one_of_a_package() {
        let make = |name: &str| new_policy(Slot::Auth, Language::Rust, name).map(drop);
        for name in ["a", "guest-list", "v2"] {
            assert_eq!(make(name), Ok(()));
        }
        for name in [
            "",
            "-a",
            "a-",
            "2nd",
            "Guests",
            "a_b",
            "a/b",
            "..",
            "é",
            &"a".repeat(65),
        ] {
            assert_eq!(make(name), Err(NamingMistake::Characters), "{name}");
        }
        for name in ["test", "codex-policy", "serde"] {
            assert_eq!(make(name), Err(NamingMistake::Taken), "{name}");
        }
    }
}
