//! The scope of a rule: callers, models, endpoints.

use codex_policy_settings::models;
use codex_policy_settings::who::{self, Pattern};
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
    pub callers: Vec<Pattern>,
    /// Names of tenants.
    pub tenants: Vec<Pattern>,
    /// The caller is in one of these.
    pub groups: Vec<Pattern>,
    /// As clients name them. In lower case when asked.
    pub models: Vec<Pattern>,
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

    /// As its models are to be compared, and what is wrong with the lists.
    #[must_use]
    pub fn checked(self) -> (Self, Option<&'static str>) {
        let Self {
            callers,
            tenants,
            groups,
            models,
        } = &self;
        let mistake = [callers, tenants, groups, models]
            .iter()
            .find_map(|list| who::mistake(list));
        let models = models.iter().map(Pattern::to_lower_case).collect();
        (Self { models, ..self }, mistake)
    }

    /// Whether `ask` is one of those. What is not known of it fits no entry.
    #[must_use]
    pub fn fits(&self, ask: &Ask<'_>, caller: &Caller<'_>) -> bool {
        let lists = |list: &[Pattern], name| list.is_empty() || who::any(list, name);
        let mut groups = caller.groups.iter();
        lists(&self.callers, caller.id)
            && (self.tenants.is_empty()
                || caller.tenant.is_some_and(|name| lists(&self.tenants, name)))
            && (self.groups.is_empty() || groups.any(|name| lists(&self.groups, name)))
            && (self.models.is_empty()
                || ask
                    .model
                    .is_some_and(|name| models::any(&self.models, name)))
    }
}
