//! Pairs of policies of which one is a mutant of the other: in its settings, or in the compiled code of a built-in policy.
//!
//! `code` mutates components, `settings` has the settings of the originals and those that mean the same.

pub mod code;
pub mod settings;

use std::sync::Arc;

use codex_gateway::policy::{Draft, Engine, Facts, Options, Search, Searched, Seeds, Sides, Slot};
use serde_json::{Value, json};

/// A mutant beside its original.
#[derive(Debug, Clone)]
pub struct Pair {
    /// The mutation, in one line.
    pub name: String,
    /// The original, and the mutant.
    pub drafts: [Draft; 2],
}

/// The gateway's facts of all pairs.
#[must_use]
pub fn facts() -> Facts {
    let models = json!([
        {"id": "gpt-5", "efforts": ["low", "medium", "high"]},
        {"id": "gpt-5-mini", "efforts": ["minimal", "low"]},
    ]);
    Facts {
        environment: "prod".to_owned(),
        cors: true,
        codex_model: Some("gpt-5".to_owned()),
        models: models.as_array().cloned().unwrap_or_default(),
        endpoints: Vec::new(),
    }
}

/// A policy of the built-in component, or of this one.
#[must_use]
pub fn draft(slot: Slot, component: Option<Vec<u8>>, settings: &Value) -> Draft {
    let named = |name: &str, bytes: Vec<u8>| (name.to_owned(), Arc::from(bytes));
    Draft {
        signatures: Default::default(),
        slot,
        component: component.map(|bytes| named("mutant.wasm", bytes)),
        settings: Some(named("settings.json", settings.to_string().into_bytes())),
        options: Options::default(),
        facts: facts(),
    }
}

/// Searches a difference between both; `None` if a gateway would refuse the mutant.
pub async fn search(engine: &Engine, pair: &Pair, search: Search) -> Option<Searched> {
    let sides = Sides::prepare(engine, pair.drafts.clone()).await.ok()?;
    Some(sides.search(search, Seeds::default()).await)
}
