//! Decides which model and effort a request runs with, and which models are listed.

use std::collections::BTreeMap;

use codex_policy_settings::models;
use codex_policy_settings::who::{Caller, Pattern, Who};

use crate::effort;

/// Longest piece of a client's text that an answer repeats, in characters.
const QUOTED: usize = 100;

/// Where a name leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// What Codex is asked to run; absent if the host named no model.
    pub model: Option<String>,
    /// Unless the request says otherwise.
    pub effort: Option<String>,
    /// Absent: Codex's own default.
    pub provider: Option<String>,
}

/// What a request runs with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// What the answer calls the model.
    pub id: String,
    /// What Codex is asked to run.
    pub model: String,
    /// Absent: the model's own default.
    pub effort: Option<String>,
    /// Absent: Codex's own default.
    pub provider: Option<String>,
}

/// A refusal, in the words of the contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// An HTTP status.
    pub status: u16,
    /// OpenAI's `error.type`.
    pub kind: &'static str,
    /// OpenAI's `error.code`.
    pub code: &'static str,
    /// What is wrong, for the person who reads it.
    pub message: String,
    /// The request field that is to blame.
    pub param: Option<&'static str>,
}

/// What some callers may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// The callers.
    pub who: Who,
    /// Names of models, in lower case.
    pub models: Vec<Pattern>,
}

/// The settings, checked and ready to be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// Every accepted name, in lower case.
    pub routes: BTreeMap<String, Route>,
    /// For a request that names no model.
    pub default: Route,
    /// What it is called, in lower case.
    pub default_name: String,
    /// The names to list, in their order.
    pub listed: Vec<String>,
    /// A caller may use what one of these allows it; without any list everybody may use everything.
    pub access: Option<Vec<Access>>,
    /// The owner to list them with.
    pub owned_by: String,
    /// What the host knows of its models' efforts.
    pub efforts: effort::Support,
}

impl Rules {
    /// What a request of `caller` for the model `requested` with the effort `effort` runs with, both as the client wrote
    /// them.
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
        // What a caller may not use is answered as what does not exist: nobody learns which names there are.
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

    /// The names `caller` may use, in their order.
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

/// The beginning of what a client wrote, short enough to repeat.
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
