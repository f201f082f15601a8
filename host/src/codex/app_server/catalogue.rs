//! Rewrites Codex's own list of models for a worker: for chat without Codex's tools and prompts.

use serde_json::{Map, Value, json};

use crate::codex::start_error::CatalogueError;
use crate::codex::{Mode, Model, Models};

/// Members removed from every model: each of them wraps the client's functions in something else.
const DROPPED: [&str; 3] = [
    "tool_mode",
    "multi_agent_version",
    "multi_agent_reasoning_effort",
];

/// Members also removed from a plain chat model: tools and prompts.
const DROPPED_FOR_CHAT: [&str; 3] = [
    "model_messages",
    "apply_patch_tool_type",
    "web_search_tool_type",
];

/// The models of one Codex binary.
#[derive(Debug)]
pub(super) struct Catalogue {
    /// The list for the worker, as JSON.
    pub(super) written: String,
    /// The models that Codex shows, in its order; the operator's model comes first, if it is not among them. The default is
    /// the operator's model, or Codex's.
    pub(super) models: Models,
}

impl Catalogue {
    /// Reads the output of `codex debug models --bundled`. `operators` is the model the operator chose.
    pub(super) fn read(
        printed: &str,
        operators: Option<&str>,
        mode: Mode,
    ) -> Result<Self, CatalogueError> {
        let mut catalogue: Value = serde_json::from_str(printed)?;
        let entries = catalogue.get_mut("models").and_then(Value::as_array_mut);
        let entries = entries.ok_or(CatalogueError::Empty)?;
        let mut models = listed(entries);
        let default = models.first().ok_or(CatalogueError::Empty)?.id.clone();
        let default = operators.map_or(default, str::to_owned);
        if entries.iter().all(|entry| text(entry, "slug") != default) {
            let stranger = entries.first().map(|entry| make_stranger(entry, &default));
            entries.extend(stranger);
        }
        if models.iter().all(|model| model.id != default) {
            let own = entries.iter().find(|entry| text(entry, "slug") == default);
            models.splice(0..0, own.map(model));
        }
        for model in entries.iter_mut().filter_map(Value::as_object_mut) {
            make_plain(model);
            if mode == Mode::Chat {
                make_lean(model);
            }
        }
        Ok(Self {
            written: catalogue.to_string(),
            models: Models {
                listed: models,
                default,
            },
        })
    }
}

/// The models that Codex shows. Its default is the first.
fn listed(entries: &[Value]) -> Vec<Model> {
    let shown = |entry: &&Value| text(entry, "visibility") != "hide";
    let mut shown: Vec<_> = entries.iter().filter(shown).collect();
    let priority = |entry: &&Value| entry.get("priority").and_then(Value::as_i64);
    shown.sort_by_key(|entry| priority(entry).unwrap_or(i64::MAX));
    shown.into_iter().map(model).collect()
}

fn model(entry: &Value) -> Model {
    let levels = entry.get("supported_reasoning_levels");
    let levels = levels.and_then(Value::as_array).into_iter().flatten();
    Model {
        id: text(entry, "slug").to_owned(),
        efforts: levels
            .map(|level| text(level, "effort").to_owned())
            .collect(),
    }
}

/// An entry for a model that Codex does not know. Without one, Codex assumes a context window of its own, and shortens
/// conversations to it.
fn make_stranger(pattern: &Value, id: &str) -> Value {
    let mut stranger = pattern.clone();
    for (name, value) in [
        ("slug", json!(id)),
        ("display_name", json!(id)),
        ("visibility", json!("list")),
        ("supported_reasoning_levels", json!([])),
        ("default_reasoning_level", Value::Null),
        // Otherwise Codex silently drops a client's verbosity. The service tiers are the pattern's for the same reason.
        ("support_verbosity", json!(true)),
        ("default_verbosity", Value::Null),
    ] {
        set(&mut stranger, name, value);
    }
    stranger
}

fn set(entry: &mut Value, name: &str, value: Value) {
    if let Some(members) = entry.as_object_mut() {
        members.insert(name.to_owned(), value);
    }
}

/// Makes the model take the client's functions as plain functions.
fn make_plain(model: &mut Map<String, Value>) {
    model.retain(|name, _| !DROPPED.contains(&name.as_str()));
    for (name, value) in [
        ("use_responses_lite", json!(false)),
        ("experimental_supported_tools", json!([])),
        ("upgrade", Value::Null),
        // Codex would replace a picture by a text. The provider's refusal of a picture reaches the client.
        ("input_modalities", json!(["text", "image"])),
    ] {
        model.insert(name.to_owned(), value);
    }
}

fn make_lean(model: &mut Map<String, Value>) {
    model.retain(|name, _| !DROPPED_FOR_CHAT.contains(&name.as_str()));
    for (name, value) in model.iter_mut() {
        if name.starts_with("include_") && name.ends_with("_usage_instructions") {
            *value = json!(false);
        }
    }
    for (name, value) in [
        ("shell_type", json!("disabled")),
        ("supports_search_tool", json!(false)),
        ("base_instructions", json!("You are a helpful assistant.")),
        // Codex asks for short answers by default. A request without a verbosity gets the provider's default.
        ("default_verbosity", Value::Null),
        (
            "truncation_policy",
            json!({"mode": "bytes", "limit": 100_000_000}),
        ),
        // Otherwise this member caps `model_context_window`, and Codex shortens conversations to it.
        ("max_context_window", Value::Null),
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
    use crate::codex::Sandbox;

    fn printed() -> String {
        json!({"models": [
            {"slug": "second", "visibility": "list", "priority": 2, "tool_mode": "code_mode_only",
             "use_responses_lite": true, "input_modalities": ["text"], "shell_type": "unified_exec", "include_skills_usage_instructions": true, "context_window": 272_000, "max_context_window": 872_000,
             "support_verbosity": false, "default_verbosity": "low", "service_tiers": [{"id": "priority"}],
             "supported_reasoning_levels": [{"effort": "low"}, {"effort": "high"}]},
            {"slug": "internal", "visibility": "hide", "priority": 0},
            {"slug": "first", "visibility": "list", "priority": 1, "supported_reasoning_levels": []},
        ]})
        .to_string()
    }

    fn ids(catalogue: &Catalogue) -> Vec<&str> {
        catalogue
            .models
            .listed
            .iter()
            .map(|model| model.id.as_str())
            .collect()
    }

    fn lean(catalogue: &Catalogue) -> Value {
        serde_json::from_str(&catalogue.written).unwrap()
    }

    #[test]
    fn lists_what_codex_shows_with_its_default_first() {
        let catalogue = Catalogue::read(&printed(), None, Mode::Chat).unwrap();
        assert_eq!(ids(&catalogue), ["first", "second"]);
        assert_eq!(catalogue.models.listed[1].efforts, ["low", "high"]);
        assert_eq!(catalogue.models.default, "first");
    }

    #[test]
    fn the_operators_model_is_the_default_whether_codex_knows_it_or_not() {
        let known = Catalogue::read(&printed(), Some("second"), Mode::Chat).unwrap();
        assert_eq!(
            (ids(&known), known.models.default.as_str()),
            (vec!["first", "second"], "second")
        );
        let hidden = Catalogue::read(&printed(), Some("internal"), Mode::Chat).unwrap();
        assert_eq!(ids(&hidden), ["internal", "first", "second"]);
        let unknown = Catalogue::read(&printed(), Some("local"), Mode::Chat).unwrap();
        assert_eq!(
            (ids(&unknown), unknown.models.default.as_str()),
            (vec!["local", "first", "second"], "local")
        );
        let entry = &lean(&unknown)["models"][3];
        assert_eq!(entry["slug"], "local");
        assert_eq!(entry["supported_reasoning_levels"], json!([]));
        assert_eq!(entry["support_verbosity"], true);
        assert_eq!(entry["service_tiers"], json!([{"id": "priority"}]));
        assert_eq!(entry.get("tool_mode"), None);
    }

    #[test]
    fn the_lean_form_keeps_the_model_and_loses_its_tools() {
        let lean = lean(&Catalogue::read(&printed(), None, Mode::Chat).unwrap());
        let second = &lean["models"][0];
        assert_eq!(second["slug"], "second");
        assert_eq!(second["context_window"], 272_000);
        assert_eq!(second["shell_type"], "disabled");
        assert_eq!(second["use_responses_lite"], false);
        assert_eq!(second["max_context_window"], Value::Null);
        assert_eq!(second["default_verbosity"], Value::Null);
        assert_eq!(second["include_skills_usage_instructions"], false);
        assert_eq!(second["input_modalities"], json!(["text", "image"]));
        assert_eq!(second.get("tool_mode"), None);
        assert_eq!(
            lean["models"].as_array().unwrap().len(),
            3,
            "hidden models still work"
        );
    }

    #[test]
    fn an_agents_model_keeps_its_tools_and_takes_plain_functions() {
        let catalogue = Catalogue::read(&printed(), None, Mode::Agent(Sandbox::ReadOnly));
        let second = &lean(&catalogue.unwrap())["models"][0];
        assert_eq!(second["shell_type"], "unified_exec");
        assert_eq!(second["max_context_window"], 872_000);
        assert_eq!(second["default_verbosity"], "low");
        assert_eq!(second["use_responses_lite"], false);
        assert_eq!(second.get("tool_mode"), None);
    }

    #[test]
    fn something_else_is_refused() {
        assert!(matches!(
            Catalogue::read("Usage: codex", None, Mode::Chat),
            Err(CatalogueError::Json(_))
        ));
        assert!(matches!(
            Catalogue::read(r#"{"models":[]}"#, None, Mode::Chat),
            Err(CatalogueError::Empty)
        ));
    }
}
