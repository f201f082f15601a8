//! Reasoning efforts: their names, their order, and which ones each model supports.

use std::collections::BTreeMap;

use codex_policy::Denial;

use crate::decide::{Route, quote};

/// The request field that names an effort.
const PARAM: &str = "reasoning_effort";

/// The effort of an answer without reasoning.
const NONE: &str = "none";

/// The efforts that any client may name, weakest first. A model may support others.
pub const KNOWN: [&str; 7] = [NONE, "minimal", "low", "medium", "high", "xhigh", "max"];

/// The efforts that each of the host's models supports.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Support(BTreeMap<String, Vec<String>>);

impl Support {
    /// Records the efforts that `model` supports, given in any order.
    pub fn insert(&mut self, model: &str, efforts: &[String]) {
        let mut efforts: Vec<_> = efforts.iter().map(|word| normalise(word)).collect();
        efforts.sort_by_key(|word| rank(word));
        efforts.dedup();
        self.0.insert(model.to_ascii_lowercase(), efforts);
    }

    /// The efforts that the model behind `route` supports, weakest first; empty if they are not known.
    #[must_use]
    pub fn of(&self, route: &Route) -> &[String] {
        // The host knows only models of Codex's own provider; another provider's model may have the same name.
        let model = route.model.as_ref().filter(|_| route.provider.is_none());
        let efforts = model.and_then(|model| self.0.get(&model.to_ascii_lowercase()));
        efforts.map_or(&[], Vec::as_slice)
    }

    /// Whether `word` is one of [`KNOWN`], or an effort of any model.
    #[must_use]
    pub fn knows(&self, word: &str) -> bool {
        KNOWN.contains(&word) || self.0.values().flatten().any(|effort| effort == word)
    }
}

/// An effort's name in lower case and without blanks, as efforts are compared and passed on.
#[must_use]
pub fn normalise(word: &str) -> String {
    word.trim().to_ascii_lowercase()
}

/// The place in the order of strength; unknown efforts count as the strongest.
fn rank(word: &str) -> usize {
    KNOWN
        .iter()
        .position(|known| *known == word)
        .unwrap_or(KNOWN.len())
}

/// The effort to run with if the client asked for `word` and the model supports `supported` (empty: not known).
///
/// # Errors
/// If there is no such effort, or the model does not support it.
pub fn choose(word: &str, supported: &[String]) -> Result<String, Denial> {
    let effort = normalise(word);
    // No reasoning is not a level of it, so that lists of levels may leave it out: the provider decides.
    if effort == NONE || supported.contains(&effort) {
        return Ok(effort);
    }
    let known = KNOWN.contains(&effort.as_str());
    let Some(lowest) = supported.first().filter(|_| known) else {
        return if known {
            Ok(effort)
        } else {
            Err(invalid(word, supported))
        };
    };
    // Apps ask every model for the least effort, for chat titles for example, so they get the lowest the model supports.
    if effort == "minimal" {
        return Ok(lowest.clone());
    }
    let message = format!(
        "Unsupported value: '{effort}' is not supported with this model. Supported values are: {}.",
        list(supported)
    );
    Err(Denial::invalid("unsupported_value", message).with_param(PARAM))
}

/// The effort of `supported` (weakest first) closest to `effort`, the weaker of two; `effort` itself if that list is empty.
#[must_use]
pub fn nearest(effort: &str, supported: &[String]) -> String {
    let distance = |word: &&String| rank(word).abs_diff(rank(effort));
    supported
        .iter()
        .min_by_key(distance)
        .map_or_else(|| effort.to_owned(), String::clone)
}

fn invalid(word: &str, supported: &[String]) -> Denial {
    let values = if supported.is_empty() {
        list(&KNOWN)
    } else {
        list(supported)
    };
    let word = quote(word);
    let message = format!("Invalid value: '{word}'. Supported values are: {values}.");
    Denial::invalid("invalid_value", message).with_param(PARAM)
}

fn list(words: &[impl AsRef<str>]) -> String {
    let quoted: Vec<_> = words
        .iter()
        .map(|word| format!("'{}'", word.as_ref()))
        .collect();
    quoted.join(", ")
}
