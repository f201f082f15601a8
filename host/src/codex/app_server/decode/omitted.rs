//! Recognises the texts that Codex puts in place of pictures that it leaves out.

use serde_json::Value;
use serde_json::value::RawValue;

use crate::codex::Error;

/// The beginning of the texts that Codex puts in place of a picture, when it repeats the injected history.
pub(super) const OMITTED: &str = "image content omitted because ";

/// The ends of these texts, in Codex 0.160.0 to 0.171.0.
pub(super) const REASONS: [&str; 5] = [
    "it could not be processed",
    "it exceeded the supported size limit; use a smaller image",
    "detail 'low' is not supported; use 'high', 'original', or 'auto'",
    "remote image URLs are not supported",
    "you do not support image input",
];

/// Whether an item of the history has such a text.
pub(super) fn omits(item: Option<&RawValue>) -> bool {
    let is_mark = |part: &Value| {
        let text = part.get("text").and_then(Value::as_str);
        let reason = text.and_then(|text| text.strip_prefix(OMITTED));
        reason.is_some_and(|reason| REASONS.contains(&reason))
    };
    let marks = |item: &Value, list: &str| {
        let parts = item.get(list).and_then(Value::as_array);
        parts.is_some_and(|parts| parts.iter().any(is_mark))
    };
    item.filter(|item| item.get().contains(OMITTED))
        .and_then(|item| serde_json::from_str::<Value>(item.get()).ok())
        .is_some_and(|item| marks(&item, "content") || marks(&item, "output"))
}

/// The error for it.
pub(super) fn unreadable_image() -> Error {
    Error::invalid_request(
        "An image of the conversation is damaged or too large: Codex cannot read it.",
    )
}
