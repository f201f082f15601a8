//! Selects the callers that an entry of the settings applies to, and matches names against patterns with `*`.

use serde::Deserialize;

/// A pattern for names; `*` stands for any number of characters, also none.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Pattern(String);

impl Pattern {
    /// A pattern as it is written in the settings.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The pattern as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The bytes that a name must have: of two patterns that match, the one with more of them says more.
    #[must_use]
    pub fn letters(&self) -> usize {
        self.0.bytes().filter(|byte| *byte != b'*').count()
    }

    /// The pattern in lower case, for names whose case does not count.
    #[must_use]
    pub fn to_lower_case(&self) -> Self {
        Self(self.0.to_ascii_lowercase())
    }

    /// Whether the pattern matches the whole of `name`. The work is at most the product of the two lengths.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        let Some((head, rest)) = self.0.split_once('*') else {
            return self.0 == name;
        };
        let Some(mut name) = name.strip_prefix(head) else {
            return false;
        };
        let mut pieces: Vec<_> = rest.split('*').collect();
        let tail = pieces.pop().unwrap_or_default();
        for piece in pieces {
            match name.find(piece) {
                Some(at) => name = name.get(at + piece.len()..).unwrap_or_default(),
                None => return false,
            }
        }
        name.ends_with(tail)
    }
}

/// The identity of a request, as a policy receives it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Caller<'a> {
    /// A stable name.
    pub id: &'a str,
    /// The customer or team the caller belongs to.
    pub tenant: Option<&'a str>,
    /// The groups the caller is in.
    pub groups: &'a [String],
}

/// The callers an entry applies to: those it names, those in a group it names and those of a tenant it names. An entry with
/// no names applies to all callers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Who {
    callers: Vec<Pattern>,
    groups: Vec<Pattern>,
    tenants: Vec<Pattern>,
}

impl Who {
    /// Built from the members `callers`, `groups` and `tenants` of an entry.
    #[must_use]
    pub fn new(callers: Vec<Pattern>, groups: Vec<Pattern>, tenants: Vec<Pattern>) -> Self {
        Self {
            callers,
            groups,
            tenants,
        }
    }

    /// Whether the entry applies to all callers.
    #[must_use]
    pub fn is_everybody(&self) -> bool {
        self.callers.is_empty() && self.groups.is_empty() && self.tenants.is_empty()
    }

    /// Whether the entry names callers or tenants.
    #[must_use]
    pub fn names_callers(&self) -> bool {
        !(self.callers.is_empty() && self.tenants.is_empty())
    }

    /// Whether the entry names groups.
    #[must_use]
    pub fn names_groups(&self) -> bool {
        !self.groups.is_empty()
    }

    /// Whether the entry applies to `caller`. Without a caller, only an entry for all callers applies.
    #[must_use]
    pub fn is(&self, caller: Option<Caller<'_>>) -> bool {
        let names = |patterns: &[Pattern], name: &str| any(patterns, name);
        self.is_everybody()
            || caller.is_some_and(|caller| {
                names(&self.callers, caller.id)
                    || caller
                        .tenant
                        .is_some_and(|tenant| names(&self.tenants, tenant))
                    || caller.groups.iter().any(|group| names(&self.groups, group))
            })
    }
}

/// Whether one of `patterns` matches `name`.
#[must_use]
pub fn any(patterns: &[Pattern], name: &str) -> bool {
    patterns.iter().any(|pattern| pattern.matches(name))
}

/// The mistake in a list of patterns, if it has one: an empty pattern, which matches no name.
#[must_use]
pub fn mistake(patterns: &[Pattern]) -> Option<&'static str> {
    let empty = patterns.iter().any(|pattern| pattern.as_str().is_empty());
    empty.then_some("a name is empty: leave it out, or give * for all")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(list: &[&str]) -> Vec<Pattern> {
        list.iter().copied().map(Pattern::new).collect()
    }

    #[test]
    fn a_star_stands_for_anything_and_everything_else_for_itself() {
        for (pattern, name, expected) in [
            ("codex-5", "codex-5", true),
            ("codex-5", "codex-5-low", false),
            ("codex-5*", "codex-5-low", true),
            ("codex-5*", "codex-5", true),
            ("*", "", true),
            ("*-low", "codex-5-low", true),
            ("*-low", "codex-5-lower", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "abbc", true),
            ("a*b*c", "acb", false),
            ("a*a", "a", false),
            ("a**a", "aa", true),
            ("a*a*a", "aa", false),
            ("*ab", "aab", true),
            ("ä*", "äö", true),
            ("", "", true),
            ("", "x", false),
            ("Codex", "codex", false),
        ] {
            assert_eq!(
                Pattern::new(pattern).matches(name),
                expected,
                "{pattern} {name}"
            );
        }
    }

    #[test]
    fn whoever_is_named_in_one_of_the_lists_is_meant() {
        let groups = ["staff".to_owned(), "night".to_owned()];
        let caller = Caller {
            id: "alice",
            tenant: Some("build"),
            groups: &groups,
        };
        let who = |callers: &[&str], groups: &[&str], tenants: &[&str]| {
            Who::new(patterns(callers), patterns(groups), patterns(tenants)).is(Some(caller))
        };
        assert!(who(&["al*"], &[], &[]));
        assert!(who(&[], &["day", "night"], &[]));
        assert!(who(&["bob"], &[], &["build"]));
        assert!(!who(&["bob"], &["day"], &["sales"]));
        assert!(!who(&["build"], &["alice"], &["staff"]));
        assert!(who(&[], &[], &[]), "who names nobody means everybody");
    }

    #[test]
    fn nobody_in_particular_is_only_meant_by_everybody() {
        assert!(Who::default().is(None));
        assert!(!Who::new(patterns(&["*"]), Vec::new(), Vec::new()).is(None));
    }

    #[test]
    fn an_empty_name_is_a_mistake() {
        assert!(mistake(&patterns(&["a", ""])).is_some());
        assert!(mistake(&patterns(&["*"])).is_none());
    }
}
