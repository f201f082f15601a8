//! Decides which model and effort a request runs with, and which models are listed.

use std::collections::BTreeMap;

use codex_policy_settings::models;
use codex_policy_settings::who::{Caller, Pattern, Who};

use crate::effort;

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

/// The model, effort and provider that a request runs with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The model's name in the answer.
    pub id: String,
    /// The model that Codex runs.
    pub model: String,
    /// The effort; absent: the model's own default.
    pub effort: Option<String>,
    /// The provider; absent: Codex's own default.
    pub provider: Option<String>,
}

/// A refusal, as the contract's `denial`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// The HTTP status.
    pub status: u16,
    /// OpenAI's `error.type`.
    pub kind: &'static str,
    /// OpenAI's `error.code`.
    pub code: &'static str,
    /// The text for a person: what is wrong.
    pub message: String,
    /// The request field that caused the denial.
    pub param: Option<&'static str>,
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

impl Rules {
    /// The target of a request of `caller`, with `requested` and `effort` as the client wrote them.
    ///
    /// # Errors
    /// If there is no such model, the caller may not use it, or it does not take that effort.
    pub fn resolve(
        &self,
        caller: Caller<'_>,
        requested: Option<&str>,
        effort: Option<&str>,
    ) -> Result<Target, Denial> {
        let name = requested.map(str::trim).filter(|name| !name.is_empty());
        let id = name.map(str::to_ascii_lowercase);
        let route = match &id {
            Some(id) => self.routes.get(id),
            None => Some(&self.default),
        };
        // A forbidden model gets the same answer as one that does not exist, so that a caller cannot probe for names.
        let route = route
            .filter(|_| self.allows(Some(caller), id.as_ref().unwrap_or(&self.default_name)))
            .ok_or_else(|| unknown(name.unwrap_or(&self.default_name)))?;
        let model = route.model.clone().ok_or_else(no_model)?;
        let asked = effort.map(str::trim).filter(|word| !word.is_empty());
        let effort = match asked {
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

    /// The names `caller` may use, in the order of the list.
    pub fn list(&self, caller: Option<Caller<'_>>) -> impl Iterator<Item = &String> {
        self.listed
            .iter()
            .filter(move |name| self.allows(caller, &name.to_ascii_lowercase()))
    }

    fn allows(&self, caller: Option<Caller<'_>>, name: &str) -> bool {
        let Some(access) = &self.access else {
            return true;
        };
        access
            .iter()
            .any(|entry| entry.who.is(caller) && models::any(&entry.models, name))
    }
}

/// The first [`QUOTED`] characters of a client's text, short enough to repeat in an answer.
pub(crate) fn quote(text: &str) -> String {
    text.chars().take(QUOTED).collect()
}

fn unknown(name: &str) -> Denial {
    Denial {
        status: 404,
        kind: "invalid_request_error",
        code: "model_not_found",
        message: format!(
            "The model {} does not exist or you do not have access to it. GET /v1/models lists those you have.",
            quote(name)
        ),
        param: Some("model"),
    }
}

fn no_model() -> Denial {
    Denial {
        status: 503,
        kind: "server_error",
        code: "no_model",
        message: "No model is available: Codex offers none and CODEX_MODEL is not set.".to_owned(),
        param: None,
    }
}

#[cfg(test)]
mod tests;
