//! The WIT exports of the rate-limit policy: keeps the configured rules and converts questions and results.

use codex_policy_settings::component::applying;

use crate::decide;
use crate::settings::Settings;
use bindings::codex::policy::types::{Denial, Header};
use bindings::exports::codex::policy::lifecycle::Need;
use bindings::exports::codex::policy::rate_limit::{
    Ask, BucketStatus, Guest as RateLimit, Quota, Unit,
};

codex_policy_settings::component! {
    world: "rate-limit-policy",
    name: "codex-rate-limit",
    rules: decide::Rules,
    parse: Settings::parse,
    needs: needs,
}

/// The parts of its questions that the rules read.
fn needs(rules: &decide::Rules) -> Vec<Need> {
    let needs = rules.needs();
    applying([
        (!rules.0.is_empty(), Need::Endpoint),
        (needs.client, Need::Client),
        (needs.caller, Need::Caller),
        (needs.groups, Need::Groups),
        (needs.model, Need::Model),
        (needs.streaming, Need::Streaming),
        (needs.estimated_tokens, Need::EstimatedTokens),
        (needs.by_address, Need::ByAddress),
    ])
}

impl RateLimit for Policy {
    fn quotas(ask: Ask) -> Vec<Quota> {
        let Some(rules) = RULES.get() else {
            return Vec::new();
        };
        let quotas = rules.quotas(&known(&ask)).into_iter();
        quotas.map(Quota::from).collect()
    }

    fn decide(ask: Ask, statuses: Vec<BucketStatus>) -> Result<Vec<Header>, Denial> {
        let rules = RULES.get().ok_or_else(unconfigured)?;
        let statuses: Vec<_> = statuses
            .into_iter()
            .map(decide::BucketStatus::from)
            .collect();
        Ok(rules.decide(&known(&ask), &statuses)?)
    }
}

/// The parts of a question that the rules read.
fn known(ask: &Ask) -> decide::Ask<'_> {
    decide::Ask {
        client: &ask.client,
        caller: ask.caller.as_ref().map(|caller| decide::Caller {
            id: &caller.id,
            tenant: caller.tenant.as_deref(),
            groups: &caller.groups,
        }),
        endpoint: &ask.endpoint,
        model: ask.model.as_deref(),
        streaming: ask.streaming,
        estimated_tokens: ask.estimated_tokens,
    }
}

impl From<decide::Quota<'_>> for Quota {
    fn from(quota: decide::Quota<'_>) -> Self {
        Self {
            name: quota.rule.name.clone(),
            key: quota.key,
            unit: match quota.rule.unit {
                decide::Unit::Requests => Unit::Requests,
                decide::Unit::Tokens => Unit::Tokens,
                decide::Unit::Concurrent => Unit::Concurrent,
            },
            limit: quota.rule.limit,
            window_ms: quota.rule.window_ms,
            cost: quota.cost,
        }
    }
}

impl From<BucketStatus> for decide::BucketStatus {
    fn from(status: BucketStatus) -> Self {
        Self {
            name: status.name,
            granted: status.granted,
            remaining: status.remaining,
            reset_ms: status.reset_ms,
        }
    }
}

impl From<decide::Denial> for Denial {
    fn from(denial: decide::Denial) -> Self {
        Self {
            status: denial.status,
            kind: denial.kind.to_owned(),
            code: denial.code.to_owned(),
            message: denial.message,
            param: None,
            headers: denial.headers,
        }
    }
}

fn unconfigured() -> Denial {
    Denial {
        status: 503,
        kind: "server_error".to_owned(),
        code: "policy_unavailable".to_owned(),
        message: "The rate-limit policy has not been configured.".to_owned(),
        param: None,
        headers: Vec::new(),
    }
}
