//! Reads the form that the answer's text is to have (`response_format`, `text.format`).

use serde_json::Value;

use super::ApiError;
use super::json_object::Object;
use super::strict_schema::{allows_object, is_strict};

/// The form a client asks for.
#[derive(Debug, Default)]
pub(super) enum Format {
    #[default]
    Text,
    /// Asked for in words, and checked when the answer is complete: Codex cannot be told. OpenAI wants the word JSON to be
    /// in the messages; the words are ours here. With a schema, if it is none that may be sent as strict.
    JsonObject(Option<Value>),
    /// Codex sends it as strict, always.
    Schema(Value),
}

impl Format {
    /// Reads a format, if there is one. `named`: from the format to the object that has the schema.
    pub(super) fn read(
        format: Option<Object>,
        named: impl FnOnce(Object) -> Result<Object, ApiError>,
    ) -> Result<Self, ApiError> {
        let Some(mut format) = format else {
            return Ok(Self::Text);
        };
        match format.required_word("type", &["text", "json_object", "json_schema"])? {
            "json_schema" => {
                let mut named = named(format)?;
                let schema = named.required_object("schema")?.into_value();
                let is_strict = named.boolean("strict")?.unwrap_or(false) || is_strict(&schema);
                // What cannot be an object is for the provider to refuse.
                if is_strict || !allows_object(&schema) {
                    return Ok(Self::Schema(schema));
                }
                Ok(Self::JsonObject(Some(schema)))
            }
            "json_object" => Ok(Self::JsonObject(None)),
            _ => Ok(Self::Text),
        }
    }

    /// As Codex can be told: a schema, or an instruction.
    pub(super) fn split(self) -> (Option<Value>, Option<String>) {
        let instruction =
            "Answer with one valid JSON object and nothing else: no text around it, no code fence.";
        match self {
            Self::Text => (None, None),
            Self::JsonObject(None) => (None, Some(instruction.to_owned())),
            Self::JsonObject(Some(schema)) => {
                let schema = format!("It has to be valid against this JSON Schema: {schema}");
                (None, Some(format!("{instruction} {schema}")))
            }
            Self::Schema(schema) => (Some(schema), None),
        }
    }
}
