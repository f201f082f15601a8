//! Explains a request: which policies were asked what about it, what they saw of it, and what they answered.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use super::event::Event;
use super::exchange::{Exchange, What};
use super::live::Live;
use super::outcome::{Outcome, Told};
use super::world::{Question, World};

/// The most requests of one id that are explained: clients choose ids, and may repeat them.
const REQUESTS: usize = 16;
/// The most decisions of one request that are shown: a turn may have any number.
const DECISIONS: usize = 256;
/// The most bytes of them.
const BYTES: usize = 256 << 10;
/// The most bytes of a question with its answer that are shown: as JSON the memo of a turn takes some thirty times its size.
const LARGEST: usize = 64 << 10;

/// The decisions on one request.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Explanation {
    /// The id in `x-request-id`.
    pub request: String,
    /// The number of the generation that decided.
    pub generation: u64,
    /// The first digits of its digest, as in `x-codex-policy`; a candidate's if its caller was a canary.
    pub policy: String,
    /// In the order in which they were made.
    pub decisions: Vec<Explained>,
    /// The number of further ones, which are not shown.
    pub left_out: u64,
    /// The tokens that it was charged with, if it is over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
}

/// One decision.
#[derive(Debug, Clone, Serialize)]
pub struct Explained {
    /// The time in UTC, as RFC 3339.
    pub at: String,
    /// The first digits of the digest of the policies that decided: those that serve decide who is a canary.
    pub policy: String,
    /// The slot.
    pub slot: &'static str,
    /// The function that was asked.
    pub question: &'static str,
    /// The outcome in one line.
    pub outcome: String,
    /// The parts of the question that the policy saw: those that it declared and that are not blank.
    pub input: Value,
    /// The answer; absent after a fault.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub answer: Value,
    /// The cause of a fault.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
    /// The time that it took, in microseconds.
    pub took_us: u64,
    /// The answer was kept from the same question before.
    pub from_memo: bool,
}

impl Live {
    /// The decisions on the requests of this id that are still in memory, newest first.
    #[must_use]
    pub fn explain(&self, id: &str) -> Vec<Explanation> {
        let events = self.trail.events();
        // By the number of the request: the oldest one makes room, and does not come back with a later event.
        let mut found: BTreeMap<u64, (Explanation, usize)> = BTreeMap::new();
        for event in events.of(id) {
            let number = event.request.number;
            let is_old = found
                .first_key_value()
                .is_some_and(|(oldest, _)| number < *oldest);
            if is_old && found.len() == REQUESTS {
                continue;
            }
            let (explanation, bytes) = found.entry(number).or_insert_with(|| (begin(&event), 0));
            explanation.policy = event.request.digest.short();
            if let What::Settled(tokens) = event.what {
                // The first one has the cost.
                explanation.tokens.get_or_insert(tokens);
            } else {
                *bytes += event.size().min(LARGEST);
                let at = humantime::format_rfc3339_millis(self.trail.time(event.at));
                explanation.take(&event, *bytes, at.to_string());
            }
            if found.len() > REQUESTS {
                found.pop_first();
            }
        }
        let found = found.into_values().rev();
        found.map(|(explanation, _)| explanation).collect()
    }
}

impl Explanation {
    /// Takes the decision of an event, unless there are enough with so many `bytes`.
    fn take(&mut self, event: &Event, bytes: usize, at: String) {
        if matches!(event.what, What::Unasked(_)) {
            return;
        }
        if self.decisions.len() >= DECISIONS || bytes > BYTES {
            self.left_out += 1;
        } else {
            self.decisions.extend(explained(event, at));
        }
    }
}

fn begin(event: &Event) -> Explanation {
    let request = &event.request;
    Explanation {
        request: request.id.clone(),
        generation: request.generation,
        policy: request.digest.short(),
        decisions: Vec::new(),
        left_out: 0,
        tokens: None,
    }
}

fn explained(event: &Event, at: String) -> Option<Explained> {
    let told = (at, event.request.digest.short());
    Some(match &event.what {
        What::Authenticate(exchange) => one(exchange, told),
        What::Verify(exchange) => one(exchange, told),
        What::Catalog(exchange) => one(exchange, told),
        What::Resolve(exchange) => one(exchange, told),
        What::Quotas(exchange) => one(exchange, told),
        What::Decide(exchange) => Explained {
            outcome: Outcome::of_limits(&exchange.answer, &exchange.asked.statuses).words,
            ..one(exchange, told)
        },
        What::Observe(exchange) => one(exchange, told),
        What::Unasked(_) | What::Settled(_) => return None,
    })
}

fn one<Q: Question<Answer: Told>>(
    exchange: &Exchange<Q>,
    (at, policy): (String, String),
) -> Explained {
    let answer = exchange.answer.as_ref();
    let (input, shown) = match exchange.size() {
        bytes if bytes > LARGEST => (json!({ "left_out_bytes": bytes }), None),
        _ => {
            let declared = exchange.asked.declared(&exchange.needs);
            let answer = answer.ok().cloned().map(Q::masked_answer);
            (without_blanks(json(declared.masked())), answer.map(json))
        }
    };
    Explained {
        at,
        policy,
        slot: Q::World::SLOT.name(),
        question: Q::NAME,
        outcome: Outcome::of(&exchange.answer).words,
        input,
        answer: shown.unwrap_or_default(),
        fault: answer.err().map(|fault| fault.cause.clone()),
        took_us: u64::try_from(exchange.took.as_micros()).unwrap_or(u64::MAX),
        from_memo: exchange.from_memo,
    }
}

/// The contract's types can all be written.
fn json(value: impl Serialize) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}

/// Leaves out what a policy cannot tell from nothing.
fn without_blanks(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let members = members.into_iter();
            let members = members.map(|(name, value)| (name, without_blanks(value)));
            Value::Object(members.filter(|(_, value)| !is_blank(value)).collect())
        }
        other => other,
    }
}

fn is_blank(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Number(number) => number.as_u64() == Some(0),
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(members) => members.is_empty(),
        Value::Bool(true) => false,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::super::cards::Cards;
    use super::super::digest::Digest;
    use super::super::event::Asker;
    use super::super::needs::Needs;
    use super::super::world::Catalog;
    use super::*;

    #[test]
    fn the_decisions_of_one_request_are_bounded_in_number_and_bytes() {
        let digest = Digest::from([7; 32]);
        let request = Asker::new(1, "a".to_owned(), (1, digest), Default::default());
        let asked = Catalog {
            caller: None,
            now_ms: 0,
        };
        let event = Event {
            request: Arc::new(request),
            at: Duration::ZERO,
            what: What::Catalog(Exchange {
                asked,
                answer: Ok(Cards::from(Vec::new())),
                needs: Arc::new(Needs::everything()),
                took: Duration::ZERO,
                from_memo: false,
            }),
        };
        let taken = |bytes: usize| {
            let mut explanation = begin(&event);
            for number in 1..=1_000 {
                explanation.take(&event, number * bytes, String::new());
            }
            (explanation.decisions.len(), explanation.left_out)
        };
        assert_eq!(taken(1), (256, 744));
        assert_eq!(taken(BYTES / 10), (10, 990));
    }
}
