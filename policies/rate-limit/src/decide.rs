//! Decides which buckets a request is charged to, and whether their statuses let it pass.

use core::cmp::Reverse;
use core::net::{IpAddr, Ipv6Addr};

use codex_policy::rate_limit::{Ask, BucketStatus, Quota, RateLimit, Unit};
use codex_policy::{Denial, Header};
use codex_policy_settings::models;

use crate::headers;
use crate::scope::{Per, Scope};

/// One limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The rule's name, unique among the rules.
    pub name: String,
    /// The unit the rule counts in.
    pub unit: Unit,
    /// The size of a bucket, at least 1.
    pub limit: u64,
    /// The milliseconds in which an empty bucket fills; 0 for [`Unit::Concurrent`].
    pub window_ms: u64,
    /// Requests that agree in all of these properties share a bucket.
    pub per: Vec<Per>,
    /// The requests that the rule counts.
    pub only: Scope,
    /// Requests of `only` that the rule does not count.
    pub except: Scope,
    /// The rule counts only streamed answers.
    pub streaming_only: bool,
    /// The paths that the rule counts, without trailing slashes; `/x/*` stands for all below `/x`.
    pub endpoints: Vec<String>,
}

/// The checked settings, ready for decisions. Without rules there is no limit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules(pub Vec<Rule>);

impl RateLimit for Rules {
    /// A rule applies either before or after authentication, never both.
    fn quotas(&self, ask: &Ask) -> Vec<Quota> {
        self.0.iter().filter_map(|rule| rule.quota(ask)).collect()
    }

    /// Of several refusals, a charge larger than its limit is reported first, then the longest wait.
    fn decide(&self, ask: &Ask, statuses: &[BucketStatus]) -> Result<Vec<Header>, Denial> {
        let mut headers = Vec::new();
        for unit in [Unit::Requests, Unit::Tokens] {
            let of_unit = statuses.iter().filter_map(|status| {
                let rule = self.rule(status).filter(|rule| rule.unit == unit)?;
                Some((rule.limit, status))
            });
            headers.extend(headers::balance(unit, of_unit));
        }
        let refused = || statuses.iter().filter(|status| !status.granted);
        let mut refusers = refused().filter_map(|status| self.rule(status));
        if let Some(rule) = refusers.find(|rule| rule.cost(ask) > rule.limit) {
            return Err(too_large(rule, rule.cost(ask), headers));
        }
        let Some(status) = refused().min_by_key(|status| Reverse(status.reset_ms)) else {
            return Ok(headers);
        };
        // The bucket has room again when another answer ends, at an unknown time: one second is a fair guess.
        let wait_ms = if status.reset_ms == 0 {
            1000
        } else {
            status.reset_ms
        };
        let code = match self.rule(status).map(|rule| rule.unit) {
            Some(Unit::Tokens) => "tokens_rate_limited",
            Some(Unit::Concurrent) => "concurrency_exceeded",
            Some(Unit::Requests) | None => "rate_limited",
        };
        let why = self.explain(status);
        let message = format!("{why} Try again in {}.", headers::duration(wait_ms));
        let denial = Denial::rate_limited(message, wait_ms).with_code(code);
        headers.extend(denial.headers);
        Err(Denial { headers, ..denial })
    }
}

impl Rules {
    fn rule(&self, status: &BucketStatus) -> Option<&Rule> {
        self.0.iter().find(|rule| rule.name == status.name)
    }

    fn explain(&self, refused: &BucketStatus) -> String {
        let Some(rule) = self.rule(refused) else {
            return "Rate limit reached.".to_owned();
        };
        let whose = rule.whose();
        let what = match (rule.unit, rule.streaming_only) {
            (Unit::Tokens, _) => "token",
            (_, true) => "stream",
            (_, false) => "request",
        };
        let limit = rule.limit;
        let what = format!("{what}{}", if limit == 1 { "" } else { "s" });
        match rule.unit {
            Unit::Concurrent => format!("Too many concurrent {what}: at most {limit}{whose}."),
            Unit::Requests | Unit::Tokens => {
                let window = headers::duration(rule.window_ms);
                format!("Rate limit reached: at most {limit} {what} in {window}{whose}.")
            }
        }
    }
}

impl Rule {
    /// The charge for `ask`, if this rule counts it.
    fn quota(&self, ask: &Ask) -> Option<Quota> {
        let counts = ask.streaming || !self.streaming_only;
        if !counts || !self.covers(&ask.endpoint) {
            return None;
        }
        Some(Quota {
            name: self.name.clone(),
            key: self.key(ask)?,
            unit: self.unit,
            limit: self.limit,
            window_ms: self.window_ms,
            cost: self.cost(ask),
        })
    }

    fn cost(&self, ask: &Ask) -> u64 {
        match self.unit {
            Unit::Requests | Unit::Concurrent => 1,
            // A prompt of unknown size still needs at least one token in the bucket.
            Unit::Tokens => ask.estimated_tokens.max(1),
        }
    }

    /// A rule that needs only the address is applied before authentication, to protect authentication itself.
    pub(crate) fn is_early(&self) -> bool {
        self.per == [Per::Address]
            && self.unit != Unit::Tokens
            && !self.streaming_only
            && self.only.is_empty()
            && self.except.is_empty()
    }

    /// The name of the bucket within the rule, if the rule applies to this question and this request.
    fn key(&self, ask: &Ask) -> Option<String> {
        let Some(caller) = &ask.caller else {
            return self.is_early().then(|| network(&ask.client));
        };
        let excepted = !self.except.is_empty() && self.except.fits(ask, caller);
        if self.is_early() || excepted || !self.only.fits(ask, caller) {
            return None;
        }
        let part = |per: &Per| {
            Some(match (per, &caller.tenant) {
                (Per::Caller, _) => caller.id.clone(),
                // The prefixes keep a tenant and a caller of the same name apart.
                (Per::Tenant, Some(tenant)) => format!("tenant:{tenant}"),
                (Per::Tenant, None) => format!("caller:{}", caller.id),
                (Per::Address, _) => network(&ask.client),
                // All spellings of a model share the bucket of the first one.
                (Per::Model, _) => models::spellings(ask.model.as_ref()?).into_iter().next()?,
                (Per::All, _) => "all".to_owned(),
            })
        };
        let parts: Option<Vec<_>> = self.per.iter().map(part).collect();
        Some(parts?.join("\n"))
    }

    /// The end of a sentence, for example " for this caller and model".
    fn whose(&self) -> String {
        let words: Vec<_> = self.per.iter().filter_map(|per| per.word()).collect();
        if words.is_empty() {
            String::new()
        } else {
            format!(" for this {}", words.join(" and "))
        }
    }

    fn covers(&self, endpoint: &str) -> bool {
        let endpoint = endpoint.trim_end_matches('/');
        self.endpoints
            .iter()
            .any(|entry| match entry.strip_suffix("/*") {
                Some(folder) => endpoint
                    .strip_prefix(folder)
                    .is_some_and(|rest| rest.starts_with('/')),
                None => entry == endpoint,
            })
    }
}

/// A permanent refusal: waiting would not help, so there is no `retry-after`.
fn too_large(rule: &Rule, cost: u64, headers: Vec<Header>) -> Denial {
    let (limit, whose) = (rule.limit, rule.whose());
    let window = headers::duration(rule.window_ms);
    let message = format!(
        "This request may take {cost} tokens, prompt and answer, and can never be granted: the limit is {limit} \
         tokens in {window}{whose}. Shorten the prompt, or ask for a shorter answer."
    );
    Denial {
        headers,
        ..Denial::invalid("tokens_exceed_limit", message)
    }
}

/// The address or, for IPv6, its network: one customer gets 2^64 addresses and could use each once.
fn network(client: &str) -> String {
    match client
        .parse::<IpAddr>()
        .map(|address| address.to_canonical())
    {
        Ok(IpAddr::V6(address)) => {
            let network = address.to_bits() >> 64 << 64;
            format!("{}/64", Ipv6Addr::from_bits(network))
        }
        Ok(IpAddr::V4(address)) => address.to_string(),
        Err(_) => client.to_owned(),
    }
}

#[cfg(test)]
mod tests;
