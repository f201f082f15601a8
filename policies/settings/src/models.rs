//! The built-in model families, and which names mean the same model.

use crate::who::{self, Pattern};

/// Families that are accepted whatever Codex runs: the first is listed in production, the second in development.
pub const FAMILIES: [&str; 2] = ["codex-5", "codev-5"];

/// The members of a family, and the effort of each.
pub const MEMBERS: [(&str, Option<&str>); 5] = [
    ("", None),
    ("-low", Some("low")),
    ("-medium", Some("medium")),
    ("-high", Some("high")),
    ("-minimal", Some("minimal")),
];

/// The names of a model, in lower case. A member of a family has a name in each family; all of them are returned.
#[must_use]
pub fn spellings(name: &str) -> Vec<String> {
    let name = name.to_ascii_lowercase();
    let mut suffixes = FAMILIES
        .iter()
        .filter_map(|family| name.strip_prefix(family));
    let member = suffixes.find(|suffix| MEMBERS.iter().any(|(member, _)| member == suffix));
    match member {
        Some(suffix) => FAMILIES.map(|family| format!("{family}{suffix}")).into(),
        None => vec![name],
    }
}

/// Whether one of `patterns`, which are in lower case, matches any of the model's names.
#[must_use]
pub fn any(patterns: &[Pattern], name: &str) -> bool {
    let spellings = spellings(name);
    spellings.iter().any(|name| who::any(patterns, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_of_a_family_is_meant_by_each_of_its_names() {
        let any = |pattern: &str, name| any(&[Pattern::new(pattern)], name);
        for name in ["codex-5-high", "codev-5-high", "Codev-5-HIGH"] {
            assert!(any("codex-5-high", name) && any("codev-*", name) && any("*-high", name));
            assert!(!any("codex-5", name));
        }
        assert!(any("gpt-6-nano", "GPT-6-nano") && !any("gpt-6-nano", "gpt-6"));
        assert!(!any("codex-5-turbo", "codev-5-turbo"), "no member");
    }
}
