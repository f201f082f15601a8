//! Checks settings and grants against the JSON Schema of a policy's manifest.

use jsonschema::PatternOptions;
use serde_json::Value;

use super::candidate::Options;
use super::fault::Problem;
use super::words::{NAME, is_control, text_within};

/// The most bytes of a schema.
const MAX_SCHEMA: usize = 256 << 10;
/// The most subschemas with all references expanded: a malicious schema doubles them with each level.
const MAX_SUBSCHEMAS: u64 = 20_000;
/// The most work of a check: bytes of settings times subschemas.
const MAX_WORK: u64 = 4_000_000_000;
/// The most bytes of a compiled pattern, and of its cache. Patterns run in linear time.
const MAX_PATTERN: usize = 1 << 20;
/// The most mistakes that are shown at once.
const MAX_MISTAKES: usize = 32;
/// The most bytes of one mistake's text.
const MAX_WORDS: usize = 300;
/// A member of the schema that the gateway defines: the grants of `policies.toml` without which the policy cannot decide.
const GRANTS: &str = "x-grants";

/// Checks the settings, which are a JSON object with the host's member, and the grants.
///
/// # Errors
/// If the schema is not valid, a grant is missing, or the settings violate the schema: all mistakes.
pub(super) fn check(schema: &str, settings: &str, options: Options) -> Result<(), Problem> {
    if schema.trim().is_empty() {
        return Ok(());
    }
    if schema.len() > MAX_SCHEMA {
        let found = format!("one of {} bytes (at most {MAX_SCHEMA})", schema.len());
        return Err(Problem::Schema(found));
    }
    let schema: Value = serde_json::from_str(schema)
        .map_err(|error| Problem::Schema(format!("text that is not JSON: {error}")))?;
    grants(&schema, options)?;
    let subschemas = subschemas(&schema).map_err(Problem::Schema)?;
    if subschemas.saturating_mul(settings.len() as u64) > MAX_WORK {
        let found = format!(
            "{} bytes, too many for a schema of this size",
            settings.len()
        );
        return Err(Problem::SettingsShape(found));
    }
    let validator = jsonschema::options()
        .offline()
        .with_pattern_options(
            PatternOptions::regex()
                .size_limit(MAX_PATTERN)
                .dfa_size_limit(MAX_PATTERN),
        )
        .build(&schema)
        .map_err(|error| {
            Problem::Schema(words(
                &error.instance_path().to_string(),
                &error.to_string(),
            ))
        })?;
    let mut settings: Value =
        serde_json::from_str(settings).map_err(|error| Problem::Internal(error.to_string()))?;
    if let Some(settings) = settings.as_object_mut() {
        settings.remove("host");
    }
    let mistakes: Vec<String> = validator
        .iter_errors(&settings)
        .take(MAX_MISTAKES)
        // Values are masked: one may be a secret.
        .map(|error| {
            let what = error.masked().to_string();
            let what = match remedy(&schema, error.schema_path().as_str()) {
                Some(remedy) => format!("{what} ({remedy})"),
                None => what,
            };
            words(&error.instance_path().to_string(), &what)
        })
        .collect();
    match mistakes.is_empty() {
        true => Ok(()),
        false => Err(Problem::SettingsMistakes(mistakes)),
    }
}

/// One mistake: its place as a JSON pointer, and its description.
fn words(pointer: &str, what: &str) -> String {
    let pointer = if pointer.is_empty() { "/" } else { pointer };
    let mut words = format!("{pointer}: {what}").replace(is_control, " ");
    if words.len() > MAX_WORDS {
        words.truncate(words.floor_char_boundary(MAX_WORDS));
        words.push('…');
    }
    words
}

/// The schema's description of the refused value, or of the list that contains it.
fn remedy<'a>(schema: &'a Value, keyword: &str) -> Option<&'a str> {
    /// These keywords refuse an object because of its members, so the object's own description does not help.
    const OF_MEMBERS: [&str; 4] = [
        "additionalProperties",
        "unevaluatedProperties",
        "required",
        "dependentRequired",
    ];
    let (mut place, keyword) = keyword.rsplit_once('/')?;
    if OF_MEMBERS.contains(&keyword) {
        return None;
    }
    for _ in 0..3 {
        let said = schema.pointer(place)?.get("description");
        if let Some(said) = said.and_then(Value::as_str) {
            return Some(said).filter(|_| !place.is_empty());
        }
        place = place.rsplit_once('/')?.0;
    }
    None
}

fn grants(schema: &Value, options: Options) -> Result<(), Problem> {
    let wanted = schema[GRANTS].as_array().into_iter().flatten();
    for wanted in wanted {
        match wanted.as_str() {
            Some("credential") if options.credential => {}
            Some("credential") => return Err(Problem::Grant("credential")),
            _ => {
                let found = format!("{GRANTS} with another word than \"credential\"");
                return Err(Problem::Schema(found));
            }
        }
    }
    Ok(())
}

/// The most levels of subschemas, with references expanded: the library that checks descends as deep.
const MAX_DEPTH: u32 = 100;

/// Counts the subschemas of a check with every reference expanded. A schema that refers to itself exceeds the limit.
fn subschemas(root: &Value) -> Result<u64, String> {
    let (mut counted, mut left) = (0, vec![(root, 0)]);
    while let Some((schema, depth)) = left.pop() {
        counted += 1;
        if counted > MAX_SUBSCHEMAS || depth > MAX_DEPTH {
            return Err(format!(
                "more than {MAX_SUBSCHEMAS} subschemas, or {MAX_DEPTH} within each other, references written out (one that \
                 refers to itself?)"
            ));
        }
        match schema {
            Value::Array(items) => left.extend(items.iter().map(|item| (item, depth + 1))),
            Value::Object(members) => {
                for (name, member) in members {
                    let part = match name.as_str() {
                        "$dynamicRef" | "$recursiveRef" => {
                            return Err(format!("`{name}`, which is not supported"));
                        }
                        "$ref" if member.is_string() => referred(root, member)?,
                        _ => member,
                    };
                    left.push((part, depth + 1));
                }
            }
            _ => {}
        }
    }
    Ok(counted)
}

fn referred<'a>(root: &'a Value, reference: &Value) -> Result<&'a Value, String> {
    let pointer = reference.as_str().and_then(|text| text.strip_prefix('#'));
    let pointed = pointer.and_then(|pointer| root.pointer(pointer));
    pointed.ok_or_else(|| {
        let reference = text_within(NAME, reference.to_string());
        format!(
            "the reference {reference}, where only those of the form #/… into itself are followed"
        )
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn checked(schema: &Value, settings: &Value) -> Result<(), String> {
        check(
            &schema.to_string(),
            &settings.to_string(),
            Options::default(),
        )
        .map_err(|problem| problem.to_string())
    }

    #[test]
    fn all_mistakes_are_shown_at_once_with_their_places_and_without_values() {
        let schema = json!({"additionalProperties": false, "properties": {
            "a": {"type": "integer"},
            "b": {"type": "array", "items": {"type": "string", "pattern": "^x+$"}},
        }});
        assert_eq!(
            checked(&schema, &json!({"a": 1, "b": ["xx"], "host": {}})),
            Ok(())
        );
        let said =
            checked(&schema, &json!({"a": "sk-secret", "b": ["x", "y"], "c": 1})).unwrap_err();
        for expected in ["/a: ", "/b/1: ", "'c'"] {
            assert!(said.contains(expected), "{expected}: {said}");
        }
        assert!(!said.contains("sk-secret"), "{said}");
    }

    #[test]
    fn a_schema_that_is_none_or_explodes_is_refused_as_such() {
        let doubling = (0..40).map(|level| {
            let next = format!("#/$defs/{}", level + 1);
            (
                level.to_string(),
                json!({"allOf": [{"$ref": next}, {"$ref": next}]}),
            )
        });
        let mut bomb: serde_json::Map<_, _> = doubling.collect();
        bomb.insert("40".to_owned(), json!({}));
        for schema in [
            json!({"type": "nothing"}),
            json!({"properties": {"a": {"pattern": "("}}}),
            json!({"properties": {"a": {"pattern": "(((a{1000}){1000}){1000})"}}}),
            json!({"$ref": "https://example.com/schema.json"}),
            json!({"$ref": "file:///etc/passwd"}),
            json!({"properties": {"a": {"$ref": "#"}}}),
            json!({"$ref": "#/$defs/0", "$defs": bomb}),
        ] {
            let said = checked(&schema, &json!({"a": "b"})).unwrap_err();
            assert!(said.contains("JSON Schema"), "{schema}: {said}");
        }
        let long = check(
            &" ".repeat(MAX_SCHEMA + 1).replacen(' ', "{", 1),
            "{}",
            Options::default(),
        );
        assert!(matches!(long, Err(Problem::Schema(_))));
    }

    #[test]
    fn a_mistake_is_told_with_what_the_schema_says_of_the_value() {
        let schema = json!({"description": "Ours.", "additionalProperties": false, "$defs": {
            "key": {"description": "Print it with `x`.", "pattern": "^x+$"},
        }, "properties": {
            "key": {"$ref": "#/$defs/key"},
            "list": {"description": "Of short words.", "items": {"maxLength": 1}},
            "bare": {"type": "integer"},
        }});
        for (settings, expected) in [
            (json!({"key": "y"}), "(Print it with `x`.)"),
            (json!({"list": ["xx"]}), "(Of short words.)"),
            (json!({"bare": "x"}), "\"integer\""),
            (json!({"other": 1}), "unexpected)"),
        ] {
            let said = checked(&schema, &settings).unwrap_err();
            assert!(said.ends_with(expected), "{said}");
        }
    }

    #[test]
    fn patterns_take_linear_time() {
        let schema = json!({"properties": {"a": {"pattern": "^(a+)+$"}}});
        let evil = "a".repeat(50_000) + "!";
        assert!(checked(&schema, &json!({"a": evil})).is_err());
    }

    #[test]
    fn a_grant_that_is_needed_and_lacking_is_a_refusal() {
        let schema = json!({"x-grants": ["credential"]});
        let said = checked(&schema, &json!({})).unwrap_err();
        assert!(said.contains("grants = [\"credential\"]"), "{said}");
        let granted = Options {
            credential: true,
            ..Options::default()
        };
        assert_eq!(check(&schema.to_string(), "{}", granted), Ok(()));
    }
}
