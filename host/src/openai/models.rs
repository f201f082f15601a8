//! The format of `/v1/models`.

use serde::Serialize;

/// A model that a client may use: the body of `GET /v1/models/{id}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Model {
    id: String,
    object: &'static str,
    owned_by: String,
    created: u64,
}

impl Model {
    /// `id` is the name for clients; `created` is in seconds since 1970.
    #[must_use]
    pub fn new(id: String, created: u64, owned_by: String) -> Self {
        Self {
            id,
            object: "model",
            owned_by,
            created,
        }
    }
}

/// The body of `GET /v1/models`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ModelList {
    object: &'static str,
    data: Vec<Model>,
}

impl ModelList {
    /// A list in the given order.
    #[must_use]
    pub fn new(data: Vec<Model>) -> Self {
        Self {
            object: "list",
            data,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_are_listed_as_openai_does() {
        let model = |id: &str| Model::new(id.to_owned(), 7, "codex".to_owned());
        let list = ModelList::new(vec![model("a"), model("b")]);
        let expected = concat!(
            r#"{"object":"list","data":["#,
            r#"{"id":"a","object":"model","owned_by":"codex","created":7},"#,
            r#"{"id":"b","object":"model","owned_by":"codex","created":7}]}"#,
        );
        assert_eq!(serde_json::to_string(&list).unwrap(), expected);
    }
}
