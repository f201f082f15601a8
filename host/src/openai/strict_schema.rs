//! Judges whether a JSON Schema is within OpenAI's strict subset.
//!
//! The rules: <https://platform.openai.com/docs/guides/structured-outputs#supported-schemas>

use serde_json::{Map, Value};

/// The allowed values of `format`.
const FORMATS: [&str; 9] = [
    "date-time",
    "time",
    "date",
    "duration",
    "email",
    "hostname",
    "ipv4",
    "ipv6",
    "uuid",
];

/// Whether a schema may be sent as strict; if in doubt, it may not.
pub(super) fn is_strict(schema: &Value) -> bool {
    schema.get("type").is_some_and(|of| of == "object")
        && schema.get("anyOf").is_none()
        && is_known(schema)
}

/// Whether a schema allows an object.
pub(super) fn allows_object(schema: &Value) -> bool {
    let members = schema.as_object();
    members.is_some_and(|members| !members.contains_key("type") || is_of(members, "object"))
}

fn is_known(schema: &Value) -> bool {
    let Value::Object(members) = schema else {
        return false;
    };
    if let Some(reference) = members.get("$ref") {
        return reference.is_string() && members.len() == 1;
    }
    let typed = ["type", "anyOf"]
        .iter()
        .any(|name| members.contains_key(*name));
    typed
        && (is_closed(members) || !is_of(members, "object"))
        && (members.contains_key("items") || !is_of(members, "array"))
        && members.iter().all(|(name, value)| takes(name, value))
}

/// Whether `type` names this type.
fn is_of(members: &Map<String, Value>, name: &str) -> bool {
    match members.get("type") {
        Some(Value::Array(types)) => types.iter().any(|of| of == name),
        of => of.is_some_and(|of| of == name),
    }
}

/// Whether an object requires all of its members and allows no other.
fn is_closed(members: &Map<String, Value>) -> bool {
    let Some(Value::Object(properties)) = members.get("properties") else {
        return false;
    };
    let required = members.get("required").and_then(Value::as_array);
    let required = required.map_or(&[][..], Vec::as_slice);
    let is_required = |name: &String| required.iter().any(|required| required == name);
    members.get("additionalProperties") == Some(&Value::Bool(false))
        && required.len() == properties.len()
        && properties.keys().all(is_required)
}

fn takes(name: &str, value: &Value) -> bool {
    match (name, value) {
        ("type" | "const" | "enum" | "required", _) => true,
        ("description" | "title" | "$schema" | "pattern", value) => value.is_string(),
        ("format", Value::String(format)) => FORMATS.contains(&format.as_str()),
        ("additionalProperties", value) => *value == Value::Bool(false),
        ("items", value) => is_known(value),
        ("anyOf", Value::Array(schemas)) => schemas.iter().all(is_known),
        ("properties" | "$defs" | "definitions", Value::Object(schemas)) => {
            schemas.values().all(is_known)
        }
        (
            "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" | "multipleOf"
            | "minItems" | "maxItems",
            value,
        ) => value.is_number(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// An object with one member.
    fn with(schema: &Value) -> Value {
        json!({
            "type": "object", "properties": {"a": schema}, "required": ["a"],
            "additionalProperties": false,
        })
    }

    #[test]
    fn what_the_rules_allow_is_strict() {
        for schema in [
            json!({"type": "string", "description": "d", "title": "A", "pattern": "^a"}),
            json!({"type": ["string", "null"], "format": "date"}),
            json!({"type": "integer", "minimum": 1, "maximum": 5}),
            json!({"type": "string", "enum": ["a", "b"]}),
            json!({"type": "string", "const": "a"}),
            json!({"type": "array", "items": {"type": "number"}, "minItems": 1}),
            json!({"anyOf": [{"$ref": "#/$defs/b"}, {"type": "null"}]}),
            json!({"$ref": "#"}),
            with(&json!({"type": "boolean"})),
            json!({"type": "object", "properties": {}, "additionalProperties": false}),
        ] {
            assert!(is_strict(&with(&schema)), "{schema}");
        }
        let mut root = with(&json!({"$ref": "#/$defs/b"}));
        root["$schema"] = json!("http://json-schema.org/draft-07/schema#");
        root["$defs"] = json!({"b": {"type": "string"}});
        assert!(is_strict(&root));
        root["$defs"]["b"] = json!({"type": "string", "default": "b"});
        assert!(!is_strict(&root));
    }

    #[test]
    fn what_they_do_not_is_not() {
        for schema in [
            json!({}),
            json!(true),
            json!({"description": "anything"}),
            json!({"enum": ["a"]}),
            json!({"type": "string", "default": "a"}),
            json!({"type": "string", "minLength": 1}),
            json!({"type": "string", "format": "uri"}),
            json!({"type": "array"}),
            json!({"type": "array", "items": [{"type": "string"}]}),
            json!({"type": "array", "items": {}}),
            json!({"allOf": [{"type": "string"}]}),
            json!({"oneOf": [{"type": "string"}]}),
            json!({"anyOf": [{"type": "string", "default": "a"}]}),
            json!({"$ref": "#", "description": "d"}),
            json!({"type": "object"}),
            json!({"type": "object", "additionalProperties": {"type": "string"}}),
            json!({"type": ["object", "null"], "properties": {}}),
        ] {
            assert!(!is_strict(&with(&schema)), "{schema}");
        }
    }

    #[test]
    fn the_root_is_an_object_with_all_of_its_members() {
        assert!(is_strict(&with(&json!({"type": "string"}))));
        for (name, value) in [
            ("required", json!([])),
            ("required", json!(["b"])),
            ("required", json!(["a", "b"])),
            ("required", json!(null)),
            ("additionalProperties", json!(true)),
            ("additionalProperties", json!(null)),
            ("properties", json!(null)),
            ("type", json!(["object", "null"])),
            ("anyOf", json!([{"type": "string"}])),
            ("x-order", json!(1)),
        ] {
            let mut schema = with(&json!({"type": "string"}));
            schema[name] = value;
            assert!(!is_strict(&schema), "{schema}");
        }
        for (schema, expected) in [
            (json!({}), true),
            (json!({"type": ["object", "null"]}), true),
            (json!({"type": "array"}), false),
        ] {
            assert_eq!(allows_object(&schema), expected, "{schema}");
        }
    }
}
