//! Codex's own list of models, and its lean form: the same models without Codex's tools and prompts.

use serde_json::{Map, Value, json};

use crate::codex::Model;

/// What is taken from every model: each of these brings tools, prompts or another wire format.
const DROPPED: [&str; 6] = [
    "tool_mode",
    "multi_agent_version",
    "multi_agent_reasoning_effort",
    "model_messages",
    "apply_patch_tool_type",
    "web_search_tool_type",
];

/// What a catalogue cannot be used for.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    /// Not what `codex debug models` prints.
    #[error("its list of models cannot be read: {0}")]
    Json(#[from] serde_json::Error),
    /// No models in it.
    #[error("its list of models is empty")]
    Empty,
}

/// The models of one Codex binary.
#[derive(Debug)]
pub(super) struct Catalogue {
    /// What the worker is given.
    pub(super) lean: String,
    /// What Codex shows, its default first.
    pub(super) models: Vec<Model>,
}

impl Catalogue {
    /// Reads what `codex debug models --bundled` prints.
    pub(super) fn read(printed: &str) -> Result<Self, CatalogueError> {
        let mut catalogue: Value = serde_json::from_str(printed)?;
        let models = catalogue
            .get_mut("models")
            .and_then(Value::as_array_mut)
            .ok_or(CatalogueError::Empty)?;
        let mut listed: Vec<&Value> = models
            .iter()
            .filter(|model| text(model, "visibility") != "hide")
            .collect();
        // Codex's own order, and its default is the first.
        listed.sort_by_key(|model| {
            model
                .get("priority")
                .and_then(Value::as_i64)
                .unwrap_or(i64::MAX)
        });
        let listed: Vec<_> = listed.into_iter().map(model).collect();
        if listed.is_empty() {
            return Err(CatalogueError::Empty);
        }
        models
            .iter_mut()
            .filter_map(Value::as_object_mut)
            .for_each(make_lean);
        Ok(Self {
            lean: catalogue.to_string(),
            models: listed,
        })
    }
}

fn model(entry: &Value) -> Model {
    let levels = entry
        .get("supported_reasoning_levels")
        .and_then(Value::as_array);
    let efforts = levels
        .into_iter()
        .flatten()
        .map(|level| text(level, "effort").to_owned())
        .collect();
    Model {
        id: text(entry, "slug").to_owned(),
        efforts,
    }
}

fn make_lean(model: &mut Map<String, Value>) {
    model.retain(|name, _| !DROPPED.contains(&name.as_str()));
    for (name, value) in model.iter_mut() {
        if name.starts_with("include_") && name.ends_with("_usage_instructions") {
            *value = json!(false);
        }
    }
    for (name, value) in [
        ("shell_type", json!("disabled")),
        ("use_responses_lite", json!(false)),
        ("supports_search_tool", json!(false)),
        ("experimental_supported_tools", json!([])),
        ("base_instructions", json!("You are a helpful assistant.")),
        (
            "truncation_policy",
            json!({"mode": "bytes", "limit": 100_000_000}),
        ),
        ("upgrade", Value::Null),
    ] {
        model.insert(name.to_owned(), value);
    }
}

fn text<'a>(entry: &'a Value, name: &str) -> &'a str {
    entry.get(name).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed() -> String {
        json!({"models": [
            {"slug": "second", "visibility": "list", "priority": 2, "tool_mode": "code_mode_only",
             "use_responses_lite": true, "include_skills_usage_instructions": true, "context_window": 272_000,
             "supported_reasoning_levels": [{"effort": "low"}, {"effort": "high"}]},
            {"slug": "internal", "visibility": "hide", "priority": 0},
            {"slug": "first", "visibility": "list", "priority": 1, "supported_reasoning_levels": []},
        ]})
        .to_string()
    }

    #[test]
    fn lists_what_codex_shows_with_its_default_first() {
        let models = Catalogue::read(&printed()).unwrap().models;
        let expected = [
            ("first", vec![]),
            ("second", vec!["low".to_owned(), "high".to_owned()]),
        ];
        assert_eq!(
            models,
            expected.map(|(id, efforts)| Model {
                id: id.to_owned(),
                efforts
            })
        );
    }

    #[test]
    fn the_lean_form_keeps_the_model_and_loses_its_tools() {
        let lean: Value = serde_json::from_str(&Catalogue::read(&printed()).unwrap().lean).unwrap();
        let second = &lean["models"][0];
        assert_eq!(second["slug"], "second");
        assert_eq!(second["context_window"], 272_000);
        assert_eq!(second["shell_type"], "disabled");
        assert_eq!(second["use_responses_lite"], false);
        assert_eq!(second["include_skills_usage_instructions"], false);
        assert_eq!(second.get("tool_mode"), None);
        assert_eq!(
            lean["models"].as_array().unwrap().len(),
            3,
            "hidden models still work"
        );
    }

    #[test]
    fn something_else_is_refused() {
        assert!(matches!(
            Catalogue::read("Usage: codex"),
            Err(CatalogueError::Json(_))
        ));
        assert!(matches!(
            Catalogue::read(r#"{"models":[]}"#),
            Err(CatalogueError::Empty)
        ));
    }
}
