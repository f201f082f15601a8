//! What form the answer's text is to have.

use serde_json::Value;

use super::ApiError;
use super::json::Object;

/// The form a client asks for.
#[derive(Debug, Default)]
pub(super) enum Format {
    #[default]
    Text,
    /// Asked for in words, and checked when the answer is complete: Codex cannot be told. OpenAI wants the word JSON to be
    /// in the messages; the words are ours here.
    JsonObject,
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
                let schema = named(format)?.required_object("schema")?;
                Ok(Self::Schema(schema.into_value()))
            }
            "json_object" => Ok(Self::JsonObject),
            _ => Ok(Self::Text),
        }
    }

    /// As Codex can be told: a schema, or an instruction.
    pub(super) fn split(self) -> (Option<Value>, Option<String>) {
        let instruction =
            "Answer with one valid JSON object and nothing else: no text around it, no code fence.";
        match self {
            Self::Text => (None, None),
            Self::JsonObject => (None, Some(instruction.to_owned())),
            Self::Schema(schema) => (Some(schema), None),
        }
    }
}
