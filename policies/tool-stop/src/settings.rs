//! Reads the operator's settings, and says what is wrong with them.

use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::{Value, json};

use crate::decide::{Mode, Rules};

/// Longer pauses are the business of the host's timeouts.
const LONGEST_GRACE_MS: u32 = 60_000;

/// The settings as they are written; `settings.schema.json` describes the members.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    mode: Mode,
    grace_ms: u32,
    max_calls: u32,
    suppress_tail: bool,
    /// What the host knows; this policy needs none of it.
    #[serde(rename = "host")]
    _host: IgnoredAny,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            mode: Mode::Off,
            grace_ms: 300,
            max_calls: 0,
            suppress_tail: false,
            _host: IgnoredAny,
        }
    }
}

impl Settings {
    /// Reads and checks settings.
    ///
    /// # Errors
    /// One line that names every member with a mistake, and what would be right.
    pub fn parse(text: &str) -> Result<Rules, String> {
        let settings: Self = read(text)?;
        if settings.grace_ms > LONGEST_GRACE_MS {
            return Err(format!(
                "grace_ms: give milliseconds up to {LONGEST_GRACE_MS}"
            ));
        }
        Ok(Rules {
            mode: settings.mode,
            grace_ms: settings.grace_ms,
            max_calls: settings.max_calls,
            suppress_tail: settings.suppress_tail,
        })
    }
}

/// Reads JSON into `T`, all of whose members must have defaults, as each is tried alone to find the faulty ones.
fn read<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_str(text).map_err(|error| {
        let mut mistakes = Vec::new();
        if let Ok(value) = serde_json::from_str(text) {
            blame::<T>("", value, &|alone| alone, &mut mistakes);
        }
        if mistakes.is_empty() {
            mistakes.push(error.to_string());
        }
        mistakes.join("; ")
    })
}

/// Collects the innermost values that `T` refuses, each put in its place by `wrap`, without its neighbours.
fn blame<T: DeserializeOwned>(
    path: &str,
    value: Value,
    wrap: &dyn Fn(Value) -> Value,
    mistakes: &mut Vec<String>,
) {
    match value {
        Value::Object(members) if !members.is_empty() => {
            for (name, member) in members {
                let dot = if path.is_empty() { "" } else { "." };
                let place = |alone| wrap(json!({ name.as_str(): alone }));
                blame::<T>(&format!("{path}{dot}{name}"), member, &place, mistakes);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for (index, item) in items.into_iter().enumerate() {
                let place = |alone| wrap(json!([alone]));
                blame::<T>(&format!("{path}[{index}]"), item, &place, mistakes);
            }
        }
        leaf => {
            if let Err(error) = T::deserialize(wrap(leaf)) {
                mistakes.push(format!("{path}: {error}"));
            }
        }
    }
}

#[cfg(test)]
mod tests;
