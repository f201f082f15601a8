//! The parts of a decision's input that a policy declared, and the input with all others blank.

use serde::{Deserialize, Serialize};

use super::Slot;
use super::bindings::lifecycle::Need;
use super::bindings::{Caller, Credential, Request, model, rate_limit, tool_stop};
use super::candidate::Options;
use super::described::Described;

/// The most needs of one policy.
const MOST: usize = 64;
/// The longest name of a header.
const NAME: usize = 128;
/// Characters that no name of a header has.
const SEPARATORS: &[u8] = b"\"(),/:;<=>?@[\\]{}";

/// Headers that are no part of the contract's input.
const WITHHELD: [&str; 4] = [
    "authorization",
    "proxy-authorization",
    "cookie",
    "x-codex-operator",
];

/// The needs of one policy.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Needs {
    id: bool,
    credential: bool,
    method: bool,
    path: bool,
    query: bool,
    host: bool,
    client: bool,
    all_headers: bool,
    /// Names of headers, in lower case.
    headers: Vec<String>,
    caller: bool,
    groups: bool,
    model: bool,
    effort: bool,
    endpoint: bool,
    streaming: bool,
    estimated_tokens: bool,
    /// The step of the clock, in milliseconds.
    now: Option<u32>,
    by_address: bool,
    /// Whether the operator granted the credential's secret.
    secret: bool,
}

impl Needs {
    /// Everything, for policies that cannot say what they need.
    pub(super) fn everything() -> Self {
        Self {
            id: true,
            credential: true,
            method: true,
            path: true,
            query: true,
            host: true,
            client: true,
            all_headers: true,
            headers: Vec::new(),
            caller: true,
            groups: true,
            model: true,
            effort: true,
            endpoint: true,
            streaming: true,
            estimated_tokens: true,
            now: Some(1),
            by_address: true,
            secret: false,
        }
    }

    /// With what the operator granted beyond the needs.
    pub(super) fn with_grants(self, options: &Options) -> Self {
        Self {
            secret: options.credential,
            ..self
        }
    }

    /// Reads a policy's answer.
    ///
    /// # Errors
    /// One line that names the need that is out of bounds.
    pub(super) fn read(slot: Slot, declared: Vec<Need>) -> Result<Self, String> {
        if declared.len() > MOST {
            return Err(format!("{} needs (at most {MOST})", declared.len()));
        }
        let mut needs = Self::default();
        for need in declared.into_iter().filter(|need| exists(slot, need)) {
            needs.add(need)?;
        }
        Ok(needs)
    }

    fn add(&mut self, need: Need) -> Result<(), String> {
        let flag = match need {
            Need::Header(name) => {
                let valid = (1..=NAME).contains(&name.len())
                    && name.bytes().all(|byte| {
                        byte.is_ascii_graphic()
                            && !byte.is_ascii_uppercase()
                            && !SEPARATORS.contains(&byte)
                    });
                if !valid {
                    let name = name.escape_debug();
                    return Err(format!(
                        "the need `header({name:.NAME$})`: expected a name in lower case"
                    ));
                }
                if WITHHELD.contains(&name.as_str()) {
                    return Err(format!(
                        "the need `header({name})`, which no policy gets; the need `credential` has its fingerprint"
                    ));
                }
                self.headers.push(name);
                return Ok(());
            }
            Need::Now(0) => return Err("the need `now(0)`: expected at least 1".to_owned()),
            Need::Now(step) => {
                // The finest step shows all that the others do.
                self.now = Some(self.now.map_or(step, |other| other.min(step)));
                return Ok(());
            }
            Need::Id => &mut self.id,
            Need::Credential => &mut self.credential,
            Need::Method => &mut self.method,
            Need::Path => &mut self.path,
            Need::Query => &mut self.query,
            Need::Host => &mut self.host,
            Need::Client => &mut self.client,
            Need::Headers => &mut self.all_headers,
            Need::Caller => &mut self.caller,
            Need::Groups => &mut self.groups,
            Need::Model => &mut self.model,
            Need::Effort => &mut self.effort,
            Need::Endpoint => &mut self.endpoint,
            Need::Streaming => &mut self.streaming,
            Need::EstimatedTokens => &mut self.estimated_tokens,
            Need::ByAddress => &mut self.by_address,
        };
        *flag = true;
        Ok(())
    }

    /// The needs as words, for health and logs, in the order of the contract.
    pub(super) fn words(&self) -> Vec<String> {
        let flags = [
            (self.id, Need::Id),
            (self.credential, Need::Credential),
            (self.method, Need::Method),
            (self.path, Need::Path),
            (self.query, Need::Query),
            (self.host, Need::Host),
            (self.client, Need::Client),
            (self.all_headers, Need::Headers),
            (self.caller, Need::Caller),
            (self.groups, Need::Groups),
            (self.model, Need::Model),
            (self.effort, Need::Effort),
            (self.endpoint, Need::Endpoint),
            (self.streaming, Need::Streaming),
            (self.estimated_tokens, Need::EstimatedTokens),
            (self.by_address, Need::ByAddress),
        ];
        let flags = flags.into_iter().filter(|(is_needed, _)| *is_needed);
        let headers = self.headers.iter().cloned().map(Need::Header);
        let parts = flags.map(|(_, need)| need).chain(headers);
        let now = self.now.map(Need::Now);
        parts.chain(now).map(|need| word(&need)).collect()
    }

    /// Whether decisions may depend on the secret itself.
    pub(super) fn needs_secret(&self) -> bool {
        self.secret && self.credential
    }

    /// Whether the rate-limit policy is asked before authentication.
    pub(super) fn by_address(&self) -> bool {
        self.by_address
    }

    /// The beginning of the step of the clock, in milliseconds since 1970; 0 if the policy needs no time.
    pub(super) fn now(&self, ms: u64) -> u64 {
        self.now.map_or(0, |step| ms - ms % u64::from(step))
    }

    /// The declared and granted parts of a request.
    pub(super) fn request(&self, request: &Described<'_>) -> Request {
        let credential = request.credential.as_ref().filter(|_| self.credential);
        let is_wanted = |name: &str| self.all_headers || self.headers.iter().any(|own| own == name);
        let headers = match self.all_headers || !self.headers.is_empty() {
            true => request.headers.as_slice(),
            false => &[],
        };
        let headers = headers.iter().filter(|(name, _)| is_wanted(name));
        let headers = headers.map(|(name, value)| ((*name).to_owned(), value.to_string()));
        Request {
            id: text(self.id, request.id),
            method: text(self.method, &request.method),
            path: text(self.path, &request.path),
            query: option(self.query, request.query.as_deref()),
            host: text(self.host, &request.host),
            client: text(self.client, request.client),
            headers: headers.collect(),
            credential: credential.map(|credential| Credential {
                scheme: credential.scheme.to_owned(),
                fingerprint: credential.fingerprint.to_string(),
                secret: option(self.secret, credential.secret),
            }),
            now_ms: self.now(request.now_ms),
        }
    }

    /// The declared parts of a caller. Whether there is one stays known.
    pub(super) fn caller(&self, caller: &Caller) -> Caller {
        Caller {
            id: text(self.caller, &caller.id),
            tenant: option(self.caller, caller.tenant.as_deref()),
            groups: match self.groups {
                true => caller.groups.clone(),
                false => Vec::new(),
            },
        }
    }

    /// The declared parts of a question about a model.
    pub(super) fn model(&self, ask: &model::Ask) -> model::Ask {
        model::Ask {
            caller: self.caller(&ask.caller),
            requested: option(self.model, ask.requested.as_deref()),
            effort: option(self.effort, ask.effort.as_deref()),
        }
    }

    /// The declared parts of a question about limits.
    pub(super) fn limits(&self, ask: &rate_limit::Ask) -> rate_limit::Ask {
        rate_limit::Ask {
            client: text(self.client, &ask.client),
            caller: ask.caller.as_ref().map(|caller| self.caller(caller)),
            endpoint: text(self.endpoint, &ask.endpoint),
            model: option(self.model, ask.model.as_deref()),
            streaming: ask.streaming && self.streaming,
            estimated_tokens: match self.estimated_tokens {
                true => ask.estimated_tokens,
                false => 0,
            },
            now_ms: self.now(ask.now_ms),
        }
    }

    /// The declared parts of a turn's progress.
    pub(super) fn progress(&self, progress: &tool_stop::Progress) -> tool_stop::Progress {
        tool_stop::Progress {
            caller: self.caller(&progress.caller),
            model: text(self.model, &progress.model),
            streaming: progress.streaming && self.streaming,
            calls: progress.calls,
            elapsed_ms: self.now(progress.elapsed_ms),
        }
    }
}

fn text(is_needed: bool, text: &str) -> String {
    match is_needed {
        true => text.to_owned(),
        false => String::new(),
    }
}

fn option(is_needed: bool, text: Option<&str>) -> Option<String> {
    text.filter(|_| is_needed).map(str::to_owned)
}

/// Whether the input of the slot has this part.
fn exists(slot: Slot, need: &Need) -> bool {
    let of = match need {
        Need::Id
        | Need::Credential
        | Need::Method
        | Need::Path
        | Need::Query
        | Need::Host
        | Need::Header(_)
        | Need::Headers => &[Slot::Auth][..],
        Need::Client => &[Slot::Auth, Slot::RateLimit],
        Need::Caller | Need::Groups | Need::Model => {
            &[Slot::Model, Slot::RateLimit, Slot::ToolStop]
        }
        Need::Effort => &[Slot::Model],
        Need::Streaming => &[Slot::RateLimit, Slot::ToolStop],
        Need::Endpoint | Need::EstimatedTokens | Need::ByAddress => &[Slot::RateLimit],
        Need::Now(_) => &Slot::ALL,
    };
    of.contains(&slot)
}

/// The need as the contract writes it.
fn word(need: &Need) -> String {
    let word = match need {
        Need::Header(name) => return format!("header({name})"),
        Need::Now(step) => return format!("now({step})"),
        Need::Id => "id",
        Need::Credential => "credential",
        Need::Method => "method",
        Need::Path => "path",
        Need::Query => "query",
        Need::Host => "host",
        Need::Client => "client",
        Need::Headers => "headers",
        Need::Caller => "caller",
        Need::Groups => "groups",
        Need::Model => "model",
        Need::Effort => "effort",
        Need::Endpoint => "endpoint",
        Need::Streaming => "streaming",
        Need::EstimatedTokens => "estimated-tokens",
        Need::ByAddress => "by-address",
    };
    word.to_owned()
}

#[cfg(test)]
mod tests;
