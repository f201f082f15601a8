//! Decides which buckets a request is charged to, and whether their statuses let it pass.

use core::cmp::Reverse;
use core::net::{IpAddr, Ipv6Addr};

use codex_policy_settings::models;
use serde::Deserialize;

use crate::headers;
use crate::scope::{Per, Scope};

/// The unit a rule counts in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// Requests in a window of time.
    Requests,
    /// Tokens of prompts and answers in a window of time.
    Tokens,
    /// Requests whose answer has not ended.
    Concurrent,
}

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

/// The identity of the request, after authentication.
#[derive(Debug, Clone, Copy)]
pub struct Caller<'a> {
    /// A stable name.
    pub id: &'a str,
    /// The customer or team the caller belongs to.
    pub tenant: Option<&'a str>,
    /// The groups the caller is in.
    pub groups: &'a [String],
}

/// The parts of a question that this policy reads.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// The client's address.
    pub client: &'a str,
    /// The identity of the request; absent before authentication.
    pub caller: Option<Caller<'a>>,
    /// The request's path.
    pub endpoint: &'a str,
    /// The model by the client's name; absent until the request body is read, and if the request asks for no model.
    pub model: Option<&'a str>,
    /// The answer will be streamed.
    pub streaming: bool,
    /// The estimate for prompt and answer; 0 if not known.
    pub estimated_tokens: u64,
}

/// A charge to a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quota<'a> {
    /// The rule that the bucket belongs to.
    pub rule: &'a Rule,
    /// The name of the bucket within the rule.
    pub key: String,
    /// The units to take from the bucket.
    pub cost: u64,
}

/// The status of a bucket after a quota was charged or refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketStatus {
    /// The name of the rule.
    pub name: String,
    /// The bucket had enough for the charge.
    pub granted: bool,
    /// Units left in the bucket.
    pub remaining: u64,
    /// Milliseconds until the bucket is full or, if the charge was refused, until the bucket has enough for it.
    pub reset_ms: u64,
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
    /// The text for a person: what to do.
    pub message: String,
    /// Response headers, their names in lower case.
    pub headers: Vec<(String, String)>,
}

/// The parts of questions that the rules read, beside the endpoint.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Needs {
    /// The client's address.
    pub client: bool,
    /// The caller's id and tenant.
    pub caller: bool,
    /// The caller's groups.
    pub groups: bool,
    /// The model.
    pub model: bool,
    /// Whether the answer is streamed.
    pub streaming: bool,
    /// The estimate for prompt and answer.
    pub estimated_tokens: bool,
    /// The question before authentication.
    pub by_address: bool,
}

/// The checked settings, ready for decisions. Without rules there is no limit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules(pub Vec<Rule>);

impl Rules {
    /// The buckets to charge for `ask`. A rule applies either before or after authentication, never both.
    #[must_use]
    pub fn quotas(&self, ask: &Ask<'_>) -> Vec<Quota<'_>> {
        self.0.iter().filter_map(|rule| rule.quota(ask)).collect()
    }

    /// The parts of questions that the rules read.
    #[must_use]
    pub fn needs(&self) -> Needs {
        let any = |reads: fn(&Rule) -> bool| self.0.iter().any(reads);
        Needs {
            client: any(|rule| rule.per.contains(&Per::Address)),
            caller: any(|rule| {
                let lists = [&rule.only, &rule.except];
                rule.per
                    .iter()
                    .any(|per| matches!(per, Per::Caller | Per::Tenant))
                    || lists.iter().any(|scope| scope.names_callers())
            }),
            groups: any(|rule| !(rule.only.groups.is_empty() && rule.except.groups.is_empty())),
            model: any(|rule| {
                let lists = [&rule.only.models, &rule.except.models];
                rule.per.contains(&Per::Model) || lists.iter().any(|list| !list.is_empty())
            }),
            streaming: any(|rule| rule.streaming_only),
            estimated_tokens: any(|rule| rule.unit == Unit::Tokens),
            by_address: any(Rule::is_early),
        }
    }

    /// The headers of the answer, if all quotas were granted.
    ///
    /// # Errors
    /// If a quota was refused. Of several, a charge larger than its limit is reported first, then the longest wait.
    pub fn decide(
        &self,
        ask: &Ask<'_>,
        statuses: &[BucketStatus],
    ) -> Result<Vec<(String, String)>, Denial> {
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
        headers.extend(headers::retry(wait_ms));
        Err(Denial {
            status: 429,
            kind: "rate_limit_error",
            code: match self.rule(status).map(|rule| rule.unit) {
                Some(Unit::Tokens) => "tokens_rate_limited",
                Some(Unit::Concurrent) => "concurrency_exceeded",
                Some(Unit::Requests) | None => "rate_limited",
            },
            message: format!(
                "{} Try again in {}.",
                self.explain(status),
                headers::duration(wait_ms)
            ),
            headers,
        })
    }

    fn rule(&self, status: &BucketStatus) -> Option<&Rule> {
        self.0.iter().find(|rule| rule.name == status.name)
    }

    fn explain(&self, refused: &BucketStatus) -> String {
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
    /// The charge for `ask`, if this rule counts it.
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
            // A prompt of unknown size still needs at least one token in the bucket.
            Unit::Tokens => ask.estimated_tokens.max(1),
        }
    }

    /// A rule that needs only the address is applied before authentication, to protect authentication itself.
    fn is_early(&self) -> bool {
        self.per == [Per::Address]
            && self.unit != Unit::Tokens
            && !self.streaming_only
            && self.only.is_empty()
            && self.except.is_empty()
    }

    /// The name of the bucket within the rule, if the rule applies to this question and this request.
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
                // All spellings of a model share the bucket of the first one.
                (Per::Model, _) => models::spellings(ask.model?).into_iter().next()?,
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
