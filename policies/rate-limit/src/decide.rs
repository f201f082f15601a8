//! Decides which buckets a request is paid from, and whether the balance lets it pass.

use core::cmp::Reverse;
use core::net::{IpAddr, Ipv6Addr};

use serde::Deserialize;

use crate::headers;

/// What a rule counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// Requests in a window of time.
    Requests,
    /// Tokens of prompts and answers in a window of time.
    Tokens,
    /// Requests that are being answered.
    Concurrent,
}

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
    /// Everybody.
    All,
}

/// One limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Unlike any other rule's.
    pub name: String,
    /// What is counted.
    pub unit: Unit,
    /// The size of a bucket, at least 1.
    pub limit: u64,
    /// Milliseconds in which an empty bucket fills; 0 for [`Unit::Concurrent`].
    pub window_ms: u64,
    /// Who shares a bucket.
    pub per: Per,
    /// Only streamed answers count.
    pub streaming_only: bool,
    /// The paths that count, without trailing slashes; `/x/*` stands for all below `/x`.
    pub endpoints: Vec<String>,
}

/// Who calls, as far as that is known.
#[derive(Debug, Clone, Copy)]
pub struct Caller<'a> {
    /// A stable name.
    pub id: &'a str,
    /// The customer or team the caller belongs to.
    pub tenant: Option<&'a str>,
}

/// The parts of a question this policy looks at.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// The client's address.
    pub client: &'a str,
    /// Absent before authentication.
    pub caller: Option<Caller<'a>>,
    /// The request's path.
    pub endpoint: &'a str,
    /// The answer is streamed.
    pub streaming: bool,
    /// Prompt and answer; 0 if not known.
    pub estimated_tokens: u64,
}

/// A bucket to pay from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quota<'a> {
    /// The rule it belongs to.
    pub rule: &'a Rule,
    /// Names the bucket within the rule.
    pub key: String,
    /// What to take out.
    pub cost: u64,
}

/// What became of a quota.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The rule's name.
    pub name: String,
    /// The bucket could pay.
    pub granted: bool,
    /// Left in the bucket.
    pub remaining: u64,
    /// Milliseconds until the bucket is full, or until it can pay if it could not.
    pub reset_ms: u64,
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
    /// What to do, for the person who reads it.
    pub message: String,
    /// Names are lower-case.
    pub headers: Vec<(String, String)>,
}

/// The settings, checked and ready to be asked. No rules: nothing is limited.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules(pub Vec<Rule>);

impl Rules {
    /// The buckets `ask` is paid from. A rule applies to one of the two questions about a request, never to both.
    #[must_use]
    pub fn quotas(&self, ask: &Ask<'_>) -> Vec<Quota<'_>> {
        self.0.iter().filter_map(|rule| rule.quota(ask)).collect()
    }

    /// Headers for the answer, if all quotas were granted.
    ///
    /// # Errors
    /// If one was not; of several, the one that takes longest to be granted is named.
    pub fn decide(&self, standings: &[Standing]) -> Result<Vec<(String, String)>, Denial> {
        let mut headers = Vec::new();
        for unit in [Unit::Requests, Unit::Tokens] {
            let of_unit = standings.iter().filter_map(|standing| {
                let rule = self.rule(standing).filter(|rule| rule.unit == unit)?;
                Some((rule.limit, standing))
            });
            headers.extend(headers::balance(unit, of_unit));
        }
        let refused = standings.iter().filter(|standing| !standing.granted);
        let Some(standing) = refused.min_by_key(|standing| Reverse(standing.reset_ms)) else {
            return Ok(headers);
        };
        // A place becomes free when somebody's answer ends, nobody knows when: a second is a fair guess.
        let wait_ms = if standing.reset_ms == 0 {
            1000
        } else {
            standing.reset_ms
        };
        headers.extend(headers::retry(wait_ms));
        Err(Denial {
            status: 429,
            kind: "rate_limit_error",
            code: match self.rule(standing).map(|rule| rule.unit) {
                Some(Unit::Tokens) => "tokens_rate_limited",
                Some(Unit::Concurrent) => "concurrency_exceeded",
                Some(Unit::Requests) | None => "rate_limited",
            },
            message: format!(
                "{} Try again in {}.",
                self.explain(standing),
                headers::duration(wait_ms)
            ),
            headers,
        })
    }

    fn rule(&self, standing: &Standing) -> Option<&Rule> {
        self.0.iter().find(|rule| rule.name == standing.name)
    }

    fn explain(&self, refused: &Standing) -> String {
        let Some(rule) = self.rule(refused) else {
            return "Rate limit reached.".to_owned();
        };
        let whose = match rule.per {
            Per::Caller => " for this caller",
            Per::Tenant => " for this tenant",
            Per::Address => " for this address",
            Per::All => "",
        };
        let what = match (rule.unit, rule.streaming_only) {
            (Unit::Tokens, _) => "tokens",
            (_, true) => "streams",
            (_, false) => "requests",
        };
        let limit = rule.limit;
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
    /// What `ask` costs, if this rule counts it.
    fn quota(&self, ask: &Ask<'_>) -> Option<Quota<'_>> {
        let counts = ask.streaming || !self.streaming_only;
        if !counts || !self.covers(ask.endpoint) {
            return None;
        }
        let cost = match self.unit {
            Unit::Requests | Unit::Concurrent => 1,
            // An unknown prompt still needs something to be left, and one that is larger than the bucket
            // may run when the bucket is full: the estimate is settled with what was really used.
            Unit::Tokens => ask.estimated_tokens.min(self.limit).max(1),
        };
        let key = self.key(ask)?;
        Some(Quota {
            rule: self,
            key,
            cost,
        })
    }

    /// The bucket within the rule, if this is the question the rule applies to.
    fn key(&self, ask: &Ask<'_>) -> Option<String> {
        // What can be told from the address alone is counted before authentication, which is what it protects.
        let early = self.per == Per::Address && self.unit != Unit::Tokens && !self.streaming_only;
        let Some(caller) = ask.caller else {
            return early.then(|| network(ask.client));
        };
        if early {
            return None;
        }
        Some(match (self.per, caller.tenant) {
            (Per::Caller, _) => caller.id.to_owned(),
            // The prefixes keep a tenant and a caller of the same name apart.
            (Per::Tenant, Some(tenant)) => format!("tenant:{tenant}"),
            (Per::Tenant, None) => format!("caller:{}", caller.id),
            (Per::Address, _) => network(ask.client),
            (Per::All, _) => "all".to_owned(),
        })
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

/// The address, of IPv6 the network: one customer is given 2^64 addresses, and could use each once.
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
