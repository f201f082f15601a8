//! Asks a policy in native tests as the gateway asks it: configured with JSON, and with all parts of the input blank that it
//! did not declare.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::auth::{Auth, Grant};
use crate::model::{self, Card, Model, Target};
use crate::policy::Policy;
use crate::rate_limit::{self, BucketStatus, Quota, RateLimit};
use crate::tool_stop::{Event, Progress, Reaction, ToolStop};
use crate::{Caller, Denial, Header, Need, Request};

/// The most needs of one policy.
const MOST: usize = 64;
/// The longest name of a header.
const NAME: usize = 128;
/// Characters that no name of a header has.
const SEPARATORS: &[u8] = b"\"(),/:;<=>?@[\\]{}";

/// Headers that no policy gets.
const WITHHELD: [&str; 4] = [
    "authorization",
    "proxy-authorization",
    "cookie",
    "x-codex-operator",
];

/// A configured policy and its needs.
#[derive(Debug)]
pub struct Harness<P> {
    policy: P,
    needs: Vec<Need>,
}

impl<P: Policy> Harness<P> {
    /// Configures the policy. The gateway always adds the member `host`: give it with what the policy reads of it.
    ///
    /// # Errors
    /// The line that the operator would read: the settings are wrong, or a need is.
    pub fn configure(settings: &Value) -> Result<Self, String> {
        let policy = P::parse(&settings.to_string())?;
        let needs = policy.needs();
        if needs.len() > MOST {
            return Err(format!("{} needs (at most {MOST})", needs.len()));
        }
        match needs.iter().find(|need| is_wrong(need)) {
            Some(need) => Err(format!("there is no need {need:?}")),
            None => Ok(Self { policy, needs }),
        }
    }

    /// The policy itself.
    #[must_use]
    pub fn policy(&self) -> &P {
        &self.policy
    }

    /// The parts of the input that the policy declared.
    #[must_use]
    pub fn needs(&self) -> &[Need] {
        &self.needs
    }

    fn has(&self, need: &Need) -> bool {
        self.needs.contains(need)
    }

    /// The beginning of the finest step of the clock; 0 if the policy needs no time.
    fn now(&self, ms: u64) -> u64 {
        let steps = self.needs.iter().filter_map(|need| match need {
            Need::Now(step) => Some(u64::from(*step)),
            _ => None,
        });
        steps.min().map_or(0, |step| ms - ms % step)
    }

    fn request(&self, full: &Request) -> Request {
        let mut seen = Request {
            now_ms: self.now(full.now_ms),
            ..Request::default()
        };
        let mut headers = BTreeSet::new();
        for need in &self.needs {
            match need {
                Need::Id => seen.id.clone_from(&full.id),
                Need::Credential => seen.credential.clone_from(&full.credential),
                Need::Method => seen.method.clone_from(&full.method),
                Need::Path => seen.path.clone_from(&full.path),
                Need::Query => seen.query.clone_from(&full.query),
                Need::Host => seen.host.clone_from(&full.host),
                Need::Client => seen.client.clone_from(&full.client),
                Need::Header(name) => drop(headers.insert(name.as_str())),
                _ => {}
            }
        }
        let all = self.has(&Need::Headers);
        let wanted = |(name, _): &&Header| all || headers.contains(name.as_str());
        seen.headers = full.headers.iter().filter(wanted).cloned().collect();
        seen
    }

    fn caller(&self, full: &Caller) -> Caller {
        let mut seen = Caller::default();
        if self.has(&Need::Caller) {
            seen.id.clone_from(&full.id);
            seen.tenant.clone_from(&full.tenant);
        }
        if self.has(&Need::Groups) {
            seen.groups.clone_from(&full.groups);
        }
        seen
    }

    fn limits(&self, full: &rate_limit::Ask) -> rate_limit::Ask {
        let mut seen = rate_limit::Ask {
            caller: full.caller.as_ref().map(|caller| self.caller(caller)),
            now_ms: self.now(full.now_ms),
            ..rate_limit::Ask::default()
        };
        for need in &self.needs {
            match need {
                Need::Client => seen.client.clone_from(&full.client),
                Need::Endpoint => seen.endpoint.clone_from(&full.endpoint),
                Need::Model => seen.model.clone_from(&full.model),
                Need::Streaming => seen.streaming = full.streaming,
                Need::EstimatedTokens => seen.estimated_tokens = full.estimated_tokens,
                _ => {}
            }
        }
        seen
    }
}

/// A step of no time, a name of no header, or a header that no policy gets.
fn is_wrong(need: &Need) -> bool {
    match need {
        Need::Now(step) => *step == 0,
        Need::Header(name) => {
            let odd = |byte: u8| {
                !byte.is_ascii_graphic() || byte.is_ascii_uppercase() || SEPARATORS.contains(&byte)
            };
            let is_long = !(1..=NAME).contains(&name.len());
            is_long || name.bytes().any(odd) || WITHHELD.contains(&name.as_str())
        }
        _ => false,
    }
}

impl<P: Auth> Harness<P> {
    /// Asks for the caller of a request.
    ///
    /// # Errors
    /// The policy's denial.
    pub fn authenticate(&self, request: &Request) -> Result<Caller, Denial> {
        self.policy.authenticate(&self.request(request))
    }

    /// Asks for an edge proxy.
    ///
    /// # Errors
    /// The policy's denial.
    pub fn verify(&self, original: &Request) -> Result<Grant, Denial> {
        self.policy.verify(&self.request(original))
    }
}

impl<P: Model> Harness<P> {
    /// Asks for the models of a caller.
    #[must_use]
    pub fn catalog(&self, caller: Option<&Caller>) -> Vec<Card> {
        let caller = caller.map(|caller| self.caller(caller));
        self.policy.catalog(caller.as_ref())
    }

    /// Asks for the model that runs.
    ///
    /// # Errors
    /// The policy's denial.
    pub fn resolve(&self, ask: &model::Ask) -> Result<Target, Denial> {
        let shown = |text: &Option<String>, need| text.clone().filter(|_| self.has(need));
        self.policy.resolve(&model::Ask {
            caller: self.caller(&ask.caller),
            requested: shown(&ask.requested, &Need::Model),
            effort: shown(&ask.effort, &Need::Effort),
        })
    }
}

impl<P: RateLimit> Harness<P> {
    /// Asks for the buckets. Without a caller it is the question before authentication, which is asked only with the need
    /// for it.
    #[must_use]
    pub fn quotas(&self, ask: &rate_limit::Ask) -> Vec<Quota> {
        match ask.caller.is_some() || self.has(&Need::ByAddress) {
            true => self.policy.quotas(&self.limits(ask)),
            false => Vec::new(),
        }
    }

    /// Asks for the decision, with the status of each bucket.
    ///
    /// # Errors
    /// The policy's denial.
    pub fn decide(
        &self,
        ask: &rate_limit::Ask,
        statuses: &[BucketStatus],
    ) -> Result<Vec<Header>, Denial> {
        self.policy.decide(&self.limits(ask), statuses)
    }
}

impl<P: ToolStop> Harness<P> {
    /// The reactions to these events of one turn, with calls counted as the gateway counts them. After `stop` there are none.
    #[must_use]
    pub fn play(&self, turn: &Progress, events: &[Event]) -> Vec<Reaction> {
        let (mut calls, mut memo) = (turn.calls, Vec::new());
        let mut reactions = Vec::new();
        for event in events {
            let called = u32::from(matches!(event, Event::Called(_)));
            let progress = Progress {
                caller: self.caller(&turn.caller),
                model: match self.has(&Need::Model) {
                    true => turn.model.clone(),
                    false => String::new(),
                },
                streaming: turn.streaming && self.has(&Need::Streaming),
                calls: calls + called,
                elapsed_ms: self.now(turn.elapsed_ms),
            };
            let (reaction, kept) = self.policy.observe(&progress, event, memo);
            memo = kept;
            reactions.push(reaction);
            match reaction {
                Reaction::Stop => break,
                Reaction::Drop => {}
                _ => calls += called,
            }
        }
        reactions
    }
}

#[cfg(test)]
mod tests;
