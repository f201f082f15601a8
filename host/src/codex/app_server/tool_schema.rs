//! Rewrites the schema of a function's arguments for Codex: members that Codex would silently drop are put into words.

use serde_json::{Map, Value, json};

use crate::codex::Error;

/// Members that are of no use to a model, or that schema generators add.
const NOISE: [&str; 6] = ["$schema", "$id", "$anchor", "$comment", "title", "readOnly"];

/// Constraints that only make sense for one type; Codex assumes that type then, too.
const OF_NUMBERS: [&str; 5] = [
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
];
const OF_STRINGS: [&str; 4] = ["pattern", "format", "minLength", "maxLength"];

/// Codex's message that it refuses a schema. The function's name follows, then a colon and the reason.
const REFUSED: &str = "dynamic tool input schema is not supported for ";

/// A schema with the same meaning. Codex 0.169.0 keeps `type`, `properties`, `required`, `items`, `enum`, `anyOf`, `oneOf`,
/// `allOf`, `$ref`, `$defs`, `additionalProperties`, `description` and `minItems`; other members become part of the
/// description.
pub(super) fn in_words(schema: &Value) -> Value {
    match schema {
        Value::Object(members) => Value::Object(rewrite(members).0),
        other => other.clone(),
    }
}

/// A schema within a schema. Codex takes `true`, which allows anything, for a string.
fn inner(schema: &Value) -> Value {
    let members = match schema {
        Value::Object(members) => members,
        Value::Bool(true) => return json!({}),
        other => return other.clone(),
    };
    let (mut written, hint) = rewrite(members);
    if !is_typed(&written) {
        let types = hint.map_or_else(
            || json!(["string", "number", "boolean", "object", "array", "null"]),
            Value::from,
        );
        // Without a type Codex drops the description.
        if written.contains_key("description") || hint.is_some() {
            if hint.is_none() {
                written.insert("items".to_owned(), json!({}));
            }
            written.insert("type".to_owned(), types);
        }
    }
    Value::Object(written)
}

fn is_typed(schema: &Map<String, Value>) -> bool {
    const TYPING: [&str; 7] = [
        "type",
        "$ref",
        "anyOf",
        "oneOf",
        "allOf",
        "properties",
        "items",
    ];
    TYPING.iter().any(|member| schema.contains_key(*member))
}

/// The members in the form that Codex keeps, and the type that the other members imply.
fn rewrite(schema: &Map<String, Value>) -> (Map<String, Value>, Option<&'static str>) {
    let (mut written, mut words, mut hint) = (Map::new(), Vec::new(), None);
    for (name, value) in schema {
        let kept = match (name.as_str(), value) {
            ("properties" | "$defs" | "definitions", Value::Object(schemas)) => {
                let each = schemas
                    .iter()
                    .map(|(name, value)| (name.clone(), inner(value)));
                Value::Object(each.collect())
            }
            ("anyOf" | "oneOf" | "allOf", Value::Array(schemas)) => {
                schemas.iter().map(inner).collect()
            }
            ("items", Value::Object(_) | Value::Bool(true)) => inner(value),
            ("additionalProperties", Value::Object(_)) => inner(value),
            ("const", value) => {
                written.insert("enum".to_owned(), json!([value]));
                continue;
            }
            // One schema per element, the form before there was `prefixItems`: Codex refuses that.
            ("items", Value::Array(_)) | ("default", _) if !value.is_null() => {
                words.push(format!("{name}: {value}"));
                continue;
            }
            (
                "type"
                | "required"
                | "items"
                | "enum"
                | "$ref"
                | "additionalProperties"
                | "description"
                | "minItems"
                | "properties"
                | "$defs"
                | "definitions"
                | "anyOf"
                | "oneOf"
                | "allOf",
                value,
            ) => value.clone(),
            (noise, _) if NOISE.contains(&noise) || noise.starts_with("x-") => continue,
            (_, Value::Null | Value::Bool(false)) => continue,
            (lost, value) => {
                hint = hint
                    .or_else(|| OF_NUMBERS.contains(&lost).then_some("number"))
                    .or_else(|| OF_STRINGS.contains(&lost).then_some("string"));
                words.push(format!("{name}: {value}"));
                continue;
            }
        };
        written.insert(name.clone(), kept);
    }
    if !is_typed(&written)
        && let Some(types) = written.get("enum").and_then(types_of)
    {
        written.insert("type".to_owned(), types);
    }
    describe(&mut written, &words);
    (written, hint)
}

/// Adds words to the description.
fn describe(schema: &mut Map<String, Value>, words: &[String]) {
    if words.is_empty() {
        return;
    }
    let words = words.join(", ");
    let described = match schema.get("description") {
        Some(Value::String(text)) if !text.is_empty() => format!("{text} ({words})"),
        _ => words,
    };
    schema.insert("description".to_owned(), Value::String(described));
}

/// The types of an enumeration's values. Codex would take them all for strings.
fn types_of(values: &Value) -> Option<Value> {
    let mut types: Vec<&str> = Vec::new();
    for value in values.as_array()? {
        let found = match value {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Number(number) if number.is_f64() => "number",
            Value::Number(_) => "integer",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        if !types.contains(&found) {
            types.push(found);
        }
    }
    match types.as_slice() {
        [] => None,
        [one] => Some(json!(one)),
        several => Some(json!(several)),
    }
}

/// The error for a thread that did not start: an invalid schema is the client's mistake.
pub(super) fn blame(error: Error) -> Error {
    let Error::Rpc { message, .. } = &error else {
        return error;
    };
    let Some((name, reason)) = message
        .split_once(REFUSED)
        .and_then(|(_, rest)| rest.split_once(": "))
    else {
        return error;
    };
    let name = crate::codex::names::for_client(name);
    Error::invalid_request(format!("Invalid schema for function '{name}': {reason}."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn property(schema: Value) -> Value {
        let whole = in_words(&json!({"type": "object", "properties": {"a": schema}}));
        whole["properties"]["a"].clone()
    }

    #[test]
    fn what_codex_keeps_stays_as_it_is() {
        let schema = json!({
            "type": "object",
            "description": "all",
            "properties": {
                "city": {"type": "string", "description": "where", "enum": ["Paris", "Rome"]},
                "tags": {"type": "array", "items": {"type": "string"}, "minItems": 1},
                "any": {},
                "one": {"anyOf": [{"$ref": "#/$defs/X"}, {"type": "null"}], "description": "x"},
                "map": {"type": "object", "additionalProperties": {"type": "integer"}},
            },
            "$defs": {"X": {"type": ["integer", "null"]}},
            "required": ["city"],
            "additionalProperties": false,
        });
        assert_eq!(in_words(&schema), schema);
        for odd in [
            json!({}),
            json!({"type": "string"}),
            json!(true),
            json!(null),
        ] {
            assert_eq!(in_words(&odd), odd);
        }
    }

    #[test]
    fn what_codex_drops_is_said_in_the_description() {
        for (schema, expected) in [
            (
                json!({"type": "integer", "minimum": 1, "maximum": 5, "description": "how many"}),
                json!({"type": "integer", "description": "how many (maximum: 5, minimum: 1)"}),
            ),
            (
                json!({"type": "string", "format": "date", "default": "today", "title": "Day"}),
                json!({"type": "string", "description": "default: \"today\", format: \"date\""}),
            ),
            (
                json!({"type": "array", "items": [{"type": "string"}]}),
                json!({"type": "array", "description": "items: [{\"type\":\"string\"}]"}),
            ),
            (
                json!({"type": "string", "default": null, "uniqueItems": false, "x-order": 3}),
                json!({"type": "string"}),
            ),
            (
                json!({"anyOf": [{"type": "string", "pattern": "^a"}]}),
                json!({"anyOf": [{"type": "string", "description": "pattern: \"^a\""}]}),
            ),
        ] {
            assert_eq!(property(schema.clone()), expected, "{schema}");
        }
    }

    #[test]
    fn a_type_is_what_the_values_are_not_what_codex_guesses() {
        for (schema, expected) in [
            (json!({"const": 5}), json!({"type": "integer", "enum": [5]})),
            (
                json!({"const": "a"}),
                json!({"type": "string", "enum": ["a"]}),
            ),
            (
                json!({"type": "number", "const": 5}),
                json!({"type": "number", "enum": [5]}),
            ),
            (
                json!({"enum": [1, "b", null]}),
                json!({"type": ["integer", "string", "null"], "enum": [1, "b", null]}),
            ),
            (json!({"enum": []}), json!({"enum": []})),
            (
                json!({"minimum": 1}),
                json!({"type": "number", "description": "minimum: 1"}),
            ),
            (json!(true), json!({})),
            (
                json!({"description": "anything"}),
                json!({"type": ["string", "number", "boolean", "object", "array", "null"],
                    "items": {}, "description": "anything"}),
            ),
        ] {
            assert_eq!(property(schema.clone()), expected, "{schema}");
        }
    }

    #[test]
    fn a_schema_that_codex_refuses_is_the_clients_mistake() {
        let refusal = |message: &str| Error::Rpc {
            method: "thread/start",
            code: -32600,
            message: message.to_owned(),
        };
        let refused =
            "dynamic tool input schema is not supported for client_shell: invalid type: map";
        let expected =
            Error::invalid_request("Invalid schema for function 'shell': invalid type: map.");
        assert_eq!(blame(refusal(refused)), expected);
        for other in [refusal("thread not found: 3"), Error::Busy] {
            assert_eq!(blame(other.clone()), other);
        }
    }
}
