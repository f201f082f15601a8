//! The scope of a rule: which callers, tenants, groups and models it counts, and which requests share a bucket.

use codex_policy::Caller;
use codex_policy::rate_limit::Ask;
use codex_policy_settings::models;
use codex_policy_settings::who::{self, Pattern};
use serde::Deserialize;

/// The property by which requests share a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Per {
    #[default]
    /// Each caller has its own bucket.
    Caller,
    /// The callers of a tenant share a bucket; a caller without a tenant has its own.
    Tenant,
    /// Requests from one address share a bucket.
    Address,
    /// Requests for one model share a bucket.
    Model,
    /// All requests share a bucket.
    All,
}

impl Per {
    /// The property's name in a message.
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

/// A choice of requests, by caller and model. Of each list that is not empty, one entry must match.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Scope {
    /// The ids of callers.
    pub callers: Vec<Pattern>,
    /// The names of tenants.
    pub tenants: Vec<Pattern>,
    /// The caller is in one of these groups.
    pub groups: Vec<Pattern>,
    /// Names as clients write them, in lower case after [`Scope::checked`].
    pub models: Vec<Pattern>,
}

impl Scope {
    /// Whether all lists are empty.
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

    /// Whether the scope names callers or tenants.
    #[must_use]
    pub fn names_callers(&self) -> bool {
        !(self.callers.is_empty() && self.tenants.is_empty())
    }

    /// The scope with its models in lower case, and the first mistake in the lists.
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

    /// Whether `ask` is in the scope. A property that is not known matches no entry.
    #[must_use]
    pub fn fits(&self, ask: &Ask, caller: &Caller) -> bool {
        let lists = |list: &[Pattern], name: &str| list.is_empty() || who::any(list, name);
        let mut groups = caller.groups.iter();
        lists(&self.callers, &caller.id)
            && (self.tenants.is_empty()
                || caller
                    .tenant
                    .as_ref()
                    .is_some_and(|name| lists(&self.tenants, name)))
            && (self.groups.is_empty() || groups.any(|name| lists(&self.groups, name)))
            && (self.models.is_empty()
                || ask
                    .model
                    .as_ref()
                    .is_some_and(|name| models::any(&self.models, name)))
    }
}
