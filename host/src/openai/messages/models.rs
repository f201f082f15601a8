//! The format of `/v1/models` for Anthropic's clients.

use std::time::{Duration, UNIX_EPOCH};

use serde::Serialize;

/// The last second that can be written as a date.
const LAST: u64 = 253_402_300_799;

/// A model that a client may use: the body of `GET /v1/models/{id}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ModelInfo {
    r#type: &'static str,
    id: String,
    display_name: String,
    created_at: String,
}

impl ModelInfo {
    /// `id` is the name for clients; `created` is in seconds since 1970.
    #[must_use]
    pub fn new(id: String, created: u64) -> Self {
        let created = UNIX_EPOCH + Duration::from_secs(created.min(LAST));
        Self {
            r#type: "model",
            display_name: id.clone(),
            id,
            created_at: humantime::format_rfc3339_seconds(created).to_string(),
        }
    }
}

/// The body of `GET /v1/models`: all models are on one page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ModelPage {
    data: Vec<ModelInfo>,
    has_more: bool,
    first_id: Option<String>,
    last_id: Option<String>,
}

impl ModelPage {
    /// A list in the given order.
    #[must_use]
    pub fn new(data: Vec<ModelInfo>) -> Self {
        let id = |model: Option<&ModelInfo>| model.map(|model| model.id.clone());
        Self {
            has_more: false,
            first_id: id(data.first()),
            last_id: id(data.last()),
            data,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_are_listed_as_anthropic_does() {
        let model = |id: &str, created| ModelInfo::new(id.to_owned(), created);
        let list = ModelPage::new(vec![model("a", 0), model("b", u64::MAX)]);
        let expected = concat!(
            r#"{"data":["#,
            r#"{"type":"model","id":"a","display_name":"a","created_at":"1970-01-01T00:00:00Z"},"#,
            r#"{"type":"model","id":"b","display_name":"b","created_at":"9999-12-31T23:59:59Z"}],"#,
            r#""has_more":false,"first_id":"a","last_id":"b"}"#,
        );
        assert_eq!(serde_json::to_string(&list).unwrap(), expected);
        let empty = serde_json::to_string(&ModelPage::new(Vec::new())).unwrap();
        assert!(empty.contains(r#""first_id":null"#), "{empty}");
    }
}
