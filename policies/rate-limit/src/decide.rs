//! Decides which buckets a request is paid from, and whether the balance lets it pass.

use core::cmp::Reverse;
use core::net::{IpAddr, Ipv6Addr};

use codex_policy_settings::models;
use serde::Deserialize;

use crate::headers;
use crate::scope::{Per, Scope};

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
    /// Who shares a bucket: those of whom all of this is the same.
    pub per: Vec<Per>,
    /// The requests that count.
    pub only: Scope,
    /// Of these, the requests that do not.
    pub except: Scope,
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
    /// The groups the caller is in.
    pub groups: &'a [String],
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
    /// As the client names it; absent before the request is read, and where none is asked for.
    pub model: Option<&'a str>,
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
    /// If one was not; of several, one that never will be is named, or the one that takes longest.
    pub fn decide(
        &self,
        ask: &Ask<'_>,
        standings: &[Standing],
    ) -> Result<Vec<(String, String)>, Denial> {
        let mut headers = Vec::new();
        for unit in [Unit::Requests, Unit::Tokens] {
            let of_unit = standings.iter().filter_map(|standing| {
                let rule = self.rule(standing).filter(|rule| rule.unit == unit)?;
                Some((rule.limit, standing))
            });
            headers.extend(headers::balance(unit, of_unit));
        }
        let refused = || standings.iter().filter(|standing| !standing.granted);
        let mut refusers = refused().filter_map(|standing| self.rule(standing));
        if let Some(rule) = refusers.find(|rule| rule.cost(ask) > rule.limit) {
            return Err(too_large(rule, rule.cost(ask), headers));
        }
        let Some(standing) = refused().min_by_key(|standing| Reverse(standing.reset_ms)) else {
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
        let whose = rule.whose();
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
        let key = self.key(ask)?;
        Some(Quota {
            rule: self,
            key,
            cost: self.cost(ask),
        })
    }

    fn cost(&self, ask: &Ask<'_>) -> u64 {
        match self.unit {
            Unit::Requests | Unit::Concurrent => 1,
            // An unknown prompt still needs something to be left.
            Unit::Tokens => ask.estimated_tokens.max(1),
        }
    }

    /// What can be told from the address alone is counted before authentication, which is what it protects.
    fn is_early(&self) -> bool {
        self.per == [Per::Address]
            && self.unit != Unit::Tokens
            && !self.streaming_only
            && self.only.is_empty()
            && self.except.is_empty()
    }

    /// The bucket within the rule, if this is the question the rule applies to.
    fn key(&self, ask: &Ask<'_>) -> Option<String> {
        let Some(caller) = ask.caller else {
            return self.is_early().then(|| network(ask.client));
        };
        let excepted = !self.except.is_empty() && self.except.fits(ask, &caller);
        if self.is_early() || excepted || !self.only.fits(ask, &caller) {
            return None;
        }
        let part = |per: &Per| {
            Some(match (per, caller.tenant) {
                (Per::Caller, _) => caller.id.to_owned(),
                // The prefixes keep a tenant and a caller of the same name apart.
                (Per::Tenant, Some(tenant)) => format!("tenant:{tenant}"),
                (Per::Tenant, None) => format!("caller:{}", caller.id),
                (Per::Address, _) => network(ask.client),
                // By whichever of its names.
                (Per::Model, _) => models::spellings(ask.model?).into_iter().next()?,
                (Per::All, _) => "all".to_owned(),
            })
        };
        let parts: Option<Vec<_>> = self.per.iter().map(part).collect();
        Some(parts?.join("\n"))
    }

    /// " for this caller and model", for the end of a sentence.
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

/// A refusal for good: to wait would not help, so nothing says how long.
fn too_large(rule: &Rule, cost: u64, headers: Vec<(String, String)>) -> Denial {
    let (limit, whose) = (rule.limit, rule.whose());
    let window = headers::duration(rule.window_ms);
    Denial {
        status: 400,
        kind: "invalid_request_error",
        code: "tokens_exceed_limit",
        message: format!(
            "This request may take {cost} tokens, prompt and answer, and can never be granted: the limit is {limit} \
             tokens in {window}{whose}. Shorten the prompt, or ask for a shorter answer."
        ),
        headers,
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
