//! Reads the requested format of the answer's text (`response_format`, `text.format`).

use serde_json::Value;

use super::ApiError;
use super::json_object::Object;
use super::strict_schema::{allows_object, is_strict};

/// The requested format.
#[derive(Debug, Default)]
pub(super) enum Format {
    #[default]
    Text,
    /// Requested by an instruction, and checked when the answer is complete: Codex has no such setting. OpenAI requires the word
    /// JSON in the messages; here the gateway's instruction has it. With a schema, if it must not be sent as strict.
    JsonObject(Option<Value>),
    /// A schema. Codex always sends it as strict.
    Schema(Value),
}

impl Format {
    /// Reads a format, if there is one. `named` goes from the format to the object that has the schema.
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
                // If the schema does not allow an object, the provider refuses it.
                if is_strict || !allows_object(&schema) {
                    return Ok(Self::Schema(schema));
                }
                Ok(Self::JsonObject(Some(schema)))
            }
            "json_object" => Ok(Self::JsonObject(None)),
            _ => Ok(Self::Text),
        }
    }

    /// The format in the two forms that Codex takes: a schema, or an instruction.
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
