//! Whom and what a rule is about.

use serde::Deserialize;

use crate::decide::{Ask, Caller};

/// Who shares a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Per {
    #[default]
    /// Nobody: one for each caller.
    Caller,
    /// A tenant's callers; a caller without a tenant has one of its own.
    Tenant,
    /// Those who come from one address.
    Address,
    /// Those who ask for one model.
    Model,
    /// Everybody.
    All,
}

impl Per {
    /// As people say it.
    #[must_use]
    pub const fn word(self) -> Option<&'static str> {
        match self {
            Self::Caller => Some("caller"),
            Self::Tenant => Some("tenant"),
            Self::Address => Some("address"),
            Self::Model => Some("model"),
            Self::All => None,
        }
    }
}

/// Requests by who sends them and what they ask for. Of each list that is not empty, one entry must fit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Scope {
    /// Ids of callers.
    pub callers: Vec<String>,
    /// Names of tenants.
    pub tenants: Vec<String>,
    /// The caller is in one of these.
    pub groups: Vec<String>,
    /// As clients name them; `codex-5*` stands for all that begin so.
    pub models: Vec<String>,
}

impl Scope {
    /// Whether nothing is said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let Self {
            callers,
            tenants,
            groups,
            models,
        } = self;
        [callers, tenants, groups, models]
            .iter()
            .all(|list| list.is_empty())
    }

    /// Whether `ask` is one of those. What is not known of it fits no entry.
    #[must_use]
    pub fn fits(&self, ask: &Ask<'_>, caller: &Caller<'_>) -> bool {
        let lists = |list: &[String], value: Option<&str>| {
            list.is_empty() || list.iter().any(|entry| Some(entry.as_str()) == value)
        };
        let in_group = caller
            .groups
            .iter()
            .any(|group| self.groups.contains(group));
        let model = |entry: &String| {
            ask.model
                .is_some_and(|model| match entry.strip_suffix('*') {
                    Some(beginning) => model.starts_with(beginning),
                    None => model == entry,
                })
        };
        lists(&self.callers, Some(caller.id))
            && lists(&self.tenants, caller.tenant)
            && (self.groups.is_empty() || in_group)
            && (self.models.is_empty() || self.models.iter().any(model))
    }
}
