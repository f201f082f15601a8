//! Answers as JSON.

use serde::Serialize;

/// Writes an answer. Our own types always can be written: they have text keys and no failing parts.
pub(super) fn write(answer: &impl Serialize) -> String {
    serde_json::to_string(answer).unwrap_or_default()
}
