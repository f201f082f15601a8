//! Compares a reply with what a case expects of it: a subset of JSON, with patterns for texts.

use std::fmt;

use regex::{Regex, RegexBuilder};
use serde_json::Value;

/// The member of an object that stands for a pattern.
pub(super) const PATTERN: &str = "$pattern";
/// The most bytes of a compiled pattern.
const MAX_PATTERN: usize = 1 << 20;
/// The most differences that are collected.
const MOST: usize = 20;
/// The most characters of a value in a difference.
const LONGEST: usize = 400;

/// A difference between a reply and its expectation.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Difference {
    /// The place in the reply, as `denied.code`.
    pub place: String,
    /// The expectation.
    pub expected: String,
    /// The finding.
    pub found: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            place,
            expected,
            found,
        } = self;
        write!(f, "{place}: expected {expected}, found {found}")
    }
}

/// Checks that all patterns in an expectation are ones.
///
/// # Errors
/// The place of the first one that is none, and why.
pub(super) fn check(expected: &Value, place: &str) -> Result<(), String> {
    match expected {
        Value::Object(members) if members.contains_key(PATTERN) => match pattern(expected) {
            Some(Ok(_)) => Ok(()),
            Some(Err(error)) => Err(format!("{place}: {error}")),
            None => Err(format!(
                "{place}: expected `{PATTERN}` with a text, and no member beside it"
            )),
        },
        Value::Object(members) => members
            .iter()
            .try_for_each(|(name, value)| check(value, &within(place, name))),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .try_for_each(|(index, item)| check(item, &format!("{place}[{index}]"))),
        _ => Ok(()),
    }
}

/// The differences of a reply from its expectation: a member that the expectation does not name may be anything, `null` also
/// stands for an absent one, and an array has as many items as expected.
pub(super) fn differences(expected: &Value, found: &Value) -> Vec<Difference> {
    let mut differences = Vec::new();
    compare(expected, Some(found), "", &mut differences);
    differences.truncate(MOST);
    differences
}

fn compare(
    expected: &Value,
    found: Option<&Value>,
    place: &str,
    differences: &mut Vec<Difference>,
) {
    if differences.len() >= MOST {
        return;
    }
    let pattern = pattern(expected).and_then(Result::ok);
    let matches = match (expected, found) {
        (_, found) if pattern.is_some() => {
            let text = found.and_then(Value::as_str);
            text.zip(pattern)
                .is_some_and(|(text, pattern)| pattern.is_match(text))
        }
        (Value::Object(members), Some(Value::Object(others))) => {
            for (name, expected) in members {
                compare(
                    expected,
                    others.get(name),
                    &within(place, name),
                    differences,
                );
            }
            true
        }
        (Value::Array(items), Some(Value::Array(others))) if items.len() == others.len() => {
            for (index, (expected, found)) in items.iter().zip(others).enumerate() {
                compare(
                    expected,
                    Some(found),
                    &format!("{place}[{index}]"),
                    differences,
                );
            }
            true
        }
        (Value::Null, None) => true,
        (expected, found) => found == Some(expected),
    };
    if !matches {
        differences.push(Difference {
            place: if place.is_empty() { "reply" } else { place }.to_owned(),
            expected: shown(Some(expected)),
            found: shown(found),
        });
    }
}

fn pattern(expected: &Value) -> Option<Result<Regex, regex::Error>> {
    let members = expected.as_object().filter(|members| members.len() == 1)?;
    let text = members.get(PATTERN)?.as_str()?;
    Some(
        RegexBuilder::new(text)
            .size_limit(MAX_PATTERN)
            .dfa_size_limit(MAX_PATTERN)
            .build(),
    )
}

fn within(place: &str, name: &str) -> String {
    match place {
        "" => name.to_owned(),
        place => format!("{place}.{name}"),
    }
}

fn shown(value: Option<&Value>) -> String {
    let text = value.map_or_else(|| "nothing".to_owned(), Value::to_string);
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(expected: Value, found: Value) -> Vec<String> {
        let differences = differences(&expected, &found);
        differences.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_object_may_have_further_members_and_null_stands_for_none() {
        let found = json!({"ok": {"id": "ann", "tenant": null, "groups": ["a"]}});
        for expected in [
            json!({}),
            json!({"ok": {}}),
            json!({"ok": {"id": "ann"}, "denied": null}),
            json!({"ok": {"tenant": null, "groups": ["a"]}}),
        ] {
            assert_eq!(told(expected, found.clone()), Vec::<String>::new());
        }
        assert_eq!(
            told(json!({"ok": {"id": "bob"}, "denied": {"code": "x"}}), found),
            [
                r#"denied: expected {"code":"x"}, found nothing"#,
                r#"ok.id: expected "bob", found "ann""#
            ]
        );
    }

    #[test]
    fn an_array_is_whole_and_its_items_are_subsets() {
        let found = json!([{"name": "burst", "limit": 3}, 7]);
        assert!(told(json!([{"name": "burst"}, 7]), found.clone()).is_empty());
        assert_eq!(
            told(json!([{"name": "slow"}, 7]), found.clone()),
            [r#"[0].name: expected "slow", found "burst""#]
        );
        assert_eq!(
            told(json!([{"name": "burst"}]), found).len(),
            1,
            "an item is missing"
        );
    }

    #[test]
    fn a_pattern_is_searched_in_a_text() {
        let found = json!({"message": "try again in 12 s", "status": 429});
        assert!(
            told(
                json!({"message": {"$pattern": "in [0-9]+ s$"}}),
                found.clone()
            )
            .is_empty()
        );
        assert_eq!(
            told(json!({"message": {"$pattern": "^in"}}), found.clone()),
            [r#"message: expected {"$pattern":"^in"}, found "try again in 12 s""#]
        );
        let no_text = told(json!({"status": {"$pattern": "4"}}), found);
        assert_eq!(no_text.len(), 1, "a number is no text");
    }

    #[test]
    fn a_pattern_that_is_none_is_found_before_anything_runs() {
        let told = check(&json!({"ok": [{"$pattern": "("}]}), "calls[0].expect").unwrap_err();
        assert!(told.starts_with("calls[0].expect.ok[0]: "), "{told}");
        let beside = json!({"$pattern": "a", "x": 1});
        assert!(
            check(&beside, "expect")
                .unwrap_err()
                .contains("no member beside it")
        );
        assert_eq!(check(&json!({"a": {"$pattern": "a"}}), "expect"), Ok(()));
    }

    #[test]
    fn long_values_are_cut_and_many_differences_bounded() {
        let found = json!("x".repeat(10_000));
        let told = told(json!("y"), found);
        assert!(told[0].len() < 2 * LONGEST && told[0].ends_with('…'));
        let many: Vec<_> = (0..100).collect();
        let others: Vec<_> = (100..200).collect();
        assert_eq!(differences(&json!(many), &json!(others)).len(), MOST);
    }
}
