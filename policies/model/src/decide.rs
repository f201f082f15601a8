//! Decides which model and effort a request runs with, and which models are listed.

use std::collections::BTreeMap;

use codex_policy::model::{Ask, Card, Model, Target};
use codex_policy::{Caller, Denial};
use codex_policy_settings::models;
use codex_policy_settings::who::{self, Pattern, Who};

use crate::effort;
use crate::routes::route_of;

/// The most characters of a client's text that an answer repeats.
const QUOTED: usize = 100;

/// The model, effort and provider behind an accepted name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The model that Codex runs; absent if the host named none.
    pub model: Option<String>,
    /// The effort, unless the request names one.
    pub effort: Option<String>,
    /// The provider; absent: Codex's own default.
    pub provider: Option<String>,
}

/// The models that some callers may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// The callers the entry applies to.
    pub who: Who,
    /// Names of models, in lower case.
    pub models: Vec<Pattern>,
}

/// The checked settings, ready for decisions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// Every accepted name, in lower case, and its route.
    pub routes: BTreeMap<String, Route>,
    /// Routes of further names, for those that match; the most specific first.
    pub patterns: Vec<(Pattern, Route)>,
    /// The route of a request that names no model.
    pub default: Route,
    /// The name of the default model, in lower case.
    pub default_name: String,
    /// The names to list, in the order of the list.
    pub listed: Vec<String>,
    /// A caller may use a model that at least one entry allows. Without entries, every caller may use every model.
    pub access: Option<Vec<Access>>,
    /// The `owned_by` of listed models.
    pub owned_by: String,
    /// The efforts the host's models support, as far as the host knows them.
    pub efforts: effort::Support,
}

impl Model for Rules {
    fn catalog(&self, caller: Option<&Caller>) -> Vec<Card> {
        let card = |id: &String| Card {
            id: id.clone(),
            owned_by: self.owned_by.clone(),
            // The list holds names, not releases, so there is no date of creation.
            created: 0,
        };
        let allowed = |name: &&String| self.allows(caller, &name.to_ascii_lowercase());
        self.listed.iter().filter(allowed).map(card).collect()
    }

    fn resolve(&self, ask: &Ask) -> Result<Target, Denial> {
        let name = ask.requested.as_deref().map(str::trim);
        let name = name.filter(|name| !name.is_empty());
        let id = name.map(str::to_ascii_lowercase);
        let route = match &id {
            Some(id) => {
                let named = self.routes.get(id);
                named.or_else(|| route_of(&self.patterns, id))
            }
            None => Some(&self.default),
        };
        let key = id.as_ref().unwrap_or(&self.default_name);
        // A forbidden model gets the same answer as one that does not exist, so that a caller cannot probe for names.
        let route = route
            .filter(|_| self.allows(Some(&ask.caller), key))
            .ok_or_else(|| unknown(name.unwrap_or(&self.default_name)))?;
        let model = route.model.clone().ok_or_else(no_model)?;
        let effort = ask.effort.as_deref().map(str::trim);
        let effort = match effort.filter(|word| !word.is_empty()) {
            Some(word) => Some(effort::choose(word, self.efforts.of(route))?),
            None => route.effort.clone(),
        };
        Ok(Target {
            id: id.unwrap_or_else(|| model.clone()),
            model,
            effort,
            provider: route.provider.clone(),
        })
    }
}

impl Rules {
    fn allows(&self, caller: Option<&Caller>, name: &str) -> bool {
        let caller = caller.map(|caller| who::Caller {
            id: &caller.id,
            tenant: caller.tenant.as_deref(),
            groups: &caller.groups,
        });
        self.access.as_ref().is_none_or(|access| {
            access
                .iter()
                .any(|entry| entry.who.is(caller) && models::any(&entry.models, name))
        })
    }
}

/// The first [`QUOTED`] characters of a client's text, short enough to repeat in an answer.
pub(crate) fn quote(text: &str) -> String {
    text.chars().take(QUOTED).collect()
}

fn unknown(name: &str) -> Denial {
    Denial::model_not_found(format!(
        "The model {} does not exist or you do not have access to it. GET /v1/models lists those you have.",
        quote(name)
    ))
}

fn no_model() -> Denial {
    let message = "No model is available: Codex offers none and CODEX_MODEL is not set.";
    Denial::unavailable(message).with_code("no_model")
}

#[cfg(test)]
mod tests;
