//! Reads settings, with errors that name every faulty member and its place.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Takes any settings and reads none of them: for policies without settings, and for the member `host` of those that need no
/// fact of it.
pub use serde::de::IgnoredAny as Ignored;

/// The member `host` of the settings: facts that only the gateway knows. A later gateway may add members, so unknown ones are
/// accepted.
#[derive(Debug, Default, Clone, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Host {
    /// "dev" or "prod".
    pub environment: String,
    /// Pages of other origins may call.
    pub cors: bool,
    /// The operator's choice among Codex's models, if there is one.
    pub codex_model: Option<String>,
    /// The models Codex offers, the preferred one first.
    pub models: Vec<HostModel>,
}

/// A model that Codex offers.
#[derive(Debug, Default, Clone, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct HostModel {
    /// Codex's name of the model.
    pub id: String,
    /// The efforts the model supports; empty if they are not known.
    pub efforts: Vec<String>,
}

/// Reads a JSON object into `T`. All members of `T` need defaults, as each is tried alone to find the faulty ones.
///
/// # Errors
/// One line that names every value `T` refuses. A string in the place of another type is not repeated: it may be a key.
pub fn read<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_str(text).map_err(|error| {
        let mut mistakes = Vec::new();
        if let Ok(value @ Value::Object(_)) = serde_json::from_str(text) {
            blame::<T>("", value, &|alone| alone, &mut mistakes);
        }
        if mistakes.is_empty() {
            mistakes.push(error.to_string());
        }
        mistakes.join("; ")
    })
}

/// Collects the innermost values that `T` refuses. `wrap` puts each in its place in the document, without its neighbours.
fn blame<T: DeserializeOwned>(
    path: &str,
    value: Value,
    wrap: &dyn Fn(Value) -> Value,
    mistakes: &mut Vec<String>,
) {
    // A string in the place of another type may be a key, and mistakes are logged.
    let quoted = value
        .as_str()
        .map(|text| format!("invalid type: string {text:?}"));
    // A container is first tried empty: one of the wrong type is one mistake, not one for each value in it.
    let (alone, content) = match value {
        Value::Object(_) => (json!({}), value),
        Value::Array(_) => (json!([]), value),
        leaf => (leaf, Value::Null),
    };
    if let Err(error) = T::deserialize(wrap(alone)) {
        let error = error.to_string();
        let (error, rest) = match quoted.and_then(|quoted| error.strip_prefix(&quoted)) {
            Some(rest) => ("invalid type: string", rest),
            None => (error.as_str(), ""),
        };
        mistakes.push(format!("{path}: {error}{rest}"));
        return;
    }
    match content {
        Value::Object(members) => {
            for (name, member) in members {
                let dot = if path.is_empty() { "" } else { "." };
                let place = |alone| wrap(json!({ name.as_str(): alone }));
                blame::<T>(&format!("{path}{dot}{name}"), member, &place, mistakes);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.into_iter().enumerate() {
                let place = |alone| wrap(json!([alone]));
                blame::<T>(&format!("{path}[{index}]"), item, &place, mistakes);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Zoo {
        name: String,
        cages: Vec<Cage>,
        keepers: BTreeMap<String, Cage>,
    }

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Cage {
        animal: Option<Animal>,
        size: u32,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Animal {
        Lion,
        Owl,
    }

    fn mistake(settings: &Value) -> String {
        read::<Zoo>(&settings.to_string()).unwrap_err()
    }

    #[test]
    fn right_settings_are_read() {
        assert_eq!(read("{}"), Ok(Zoo::default()));
        let lion = Cage {
            animal: Some(Animal::Lion),
            size: 7,
        };
        let expected = Zoo {
            cages: vec![Cage::default(), lion],
            ..Zoo::default()
        };
        assert_eq!(
            read(r#"{"cages": [{}, {"animal": "lion", "size": 7}]}"#),
            Ok(expected)
        );
    }

    #[test]
    fn a_mistake_is_told_with_its_place() {
        let owl = json!({"animal": "owl", "size": 1});
        for (settings, expected) in [
            (
                json!({"name": 1}),
                "name: invalid type: integer `1`, expected a string",
            ),
            (
                json!({"nam": "x"}),
                "nam: unknown field `nam`, expected one of `name`, `cages`, `keepers`",
            ),
            (
                json!({"cages": [owl, {"animal": "owl", "size": -1}]}),
                "cages[1].size: invalid value: integer `-1`, expected u32",
            ),
            (
                json!({"cages": [owl, {"animal": "ow", "size": 1}]}),
                "cages[1].animal: unknown variant `ow`, expected `lion` or `owl`",
            ),
            (
                json!({"keepers": {"ann": owl, "bob": {"size": null}}}),
                "keepers.bob.size: invalid type: null, expected u32",
            ),
        ] {
            assert_eq!(mistake(&settings), expected);
        }
    }

    #[test]
    fn every_mistake_is_told() {
        let settings = json!({
            "name": 1, "cages": [{"size": true}, {}, {"sice": 1}], "keepers": {"ann": {"animal": 2}},
        });
        let error = mistake(&settings);
        let mut places: Vec<_> = error
            .split("; ")
            .filter_map(|mistake| mistake.split(": ").next())
            .collect();
        places.sort_unstable();
        assert_eq!(
            places,
            [
                "cages[0].size",
                "cages[2].sice",
                "keepers.ann.animal",
                "name"
            ]
        );
    }

    #[test]
    fn what_is_in_a_misplaced_container_is_no_further_mistake() {
        for (settings, expected) in [
            (
                json!({"cages": {"a": {"size": 1}, "b": {"size": 2}}}),
                "cages: invalid type: map, expected a sequence",
            ),
            (
                json!({"keepers": [{}, {}]}),
                "keepers: invalid type: sequence, expected a map",
            ),
            (
                json!({"cages": [{"size": [1, 2]}]}),
                "cages[0].size: invalid type: sequence, expected u32",
            ),
            (
                json!({"cellar": {"a": 1, "b": 2}}),
                "cellar: unknown field `cellar`, expected one of `name`, `cages`, `keepers`",
            ),
        ] {
            assert_eq!(mistake(&settings), expected);
        }
    }

    #[test]
    fn a_text_where_none_belongs_is_not_repeated() {
        let key = "sk-\"quoted\"\n";
        for (settings, expected) in [
            (
                json!({ "cages": key }),
                "cages: invalid type: string, expected a sequence",
            ),
            (
                json!({ "cages": [{"size": key}] }),
                "cages[0].size: invalid type: string, expected u32",
            ),
        ] {
            assert_eq!(mistake(&settings), expected);
        }
    }

    #[test]
    fn what_is_no_object_or_no_json_is_told_by_the_parser() {
        for (text, expected) in [
            ("", "EOF while parsing a value"),
            ("{", "EOF while parsing an object"),
            ("7", "invalid type: integer `7`, expected struct Zoo"),
            (r#"{"name": "a", "name": "b"}"#, "duplicate field `name`"),
        ] {
            let error = read::<Zoo>(text).unwrap_err();
            assert!(error.starts_with(expected), "{error}");
        }
    }
}
