//! The reply of a policy to its author: the answer as JSON, what the guest printed, and where it failed.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use super::super::answer::GuestAnswer;
use super::super::bindings::rate_limit;
use super::super::component::Decided;
use super::super::fault::FaultKind;
use super::super::outcome::{self, Told};
use super::super::transcript::Heard;

/// Stands for a secret.
const MASK: &str = "(masked)";

/// The reply to one question.
#[derive(Debug, Clone, Serialize)]
pub struct Reply {
    /// The answer.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// The buckets that the request draws from (`admit`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quotas: Option<Vec<rate_limit::Quota>>,
    /// Their status (`admit`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub statuses: Option<Vec<rate_limit::BucketStatus>>,
    /// The guest's stdout and stderr, cut.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub printed: String,
    /// The input with blanks in place of what the policy did not declare, and without the secret; null if it was not asked.
    #[serde(skip)]
    pub saw: Value,
    /// The outcome, as reports tell it.
    #[serde(skip)]
    pub(super) told: outcome::Outcome,
    /// The time that it took.
    #[serde(skip)]
    pub took: Duration,
}

/// The answer to a question.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The answer, as records have it; of `observe` an object of `reaction` and `memo`.
    Ok(Value),
    /// The denial.
    Denied(Value),
    /// The policy could not answer.
    Fault(Failed),
}

/// A fault with its circumstances.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failed {
    /// The kind of fault.
    pub kind: &'static str,
    /// The runtime's reason, or the part of the answer that breaks the contract.
    pub trap: String,
    /// The functions that the guest was in, innermost first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub frames: Vec<String>,
}

impl Reply {
    pub(super) fn new<A>(saw: &impl Serialize, decided: Decided<A>, heard: Heard) -> Self
    where
        A: GuestAnswer + Serialize + Told,
    {
        let Heard {
            printed,
            frames,
            trap,
        } = heard;
        let outcome = match &decided.answer {
            Ok(answer) => Outcome::of(answer),
            Err(fault) => Outcome::Fault(Failed {
                kind: fault.kind.code(),
                trap: trap.unwrap_or_else(|| fault.cause.clone()),
                frames,
            }),
        };
        Self {
            outcome,
            quotas: None,
            statuses: None,
            printed,
            saw: masked(serde_json::to_value(saw).unwrap_or_default()),
            told: outcome::Outcome::of(&decided.answer),
            took: decided.took,
        }
    }

    /// The reply to a question that the host does not put, as the policy does not need it: the request is admitted.
    pub(super) fn unasked() -> Self {
        let decided = Decided {
            answer: Ok(Vec::<rate_limit::Quota>::new()),
            from_memo: false,
            took: Duration::ZERO,
        };
        Self {
            told: outcome::Outcome::admitted(),
            ..Self::new(&Value::Null, decided, Heard::default())
        }
    }

    /// The reply of a policy that has no such function.
    pub(super) fn misplaced() -> Self {
        Self {
            outcome: Outcome::Fault(Failed {
                kind: FaultKind::Nonsense.code(),
                trap: "it is a policy of another slot".to_owned(),
                frames: Vec::new(),
            }),
            ..Self::unasked()
        }
    }

    /// As `observe` answers: an object of `reaction` and `memo`.
    pub(super) fn of_turn(mut self) -> Self {
        if let Outcome::Ok(Value::Array(pair)) = &self.outcome
            && let [reaction, memo] = &pair[..]
        {
            self.outcome = Outcome::Ok(json!({"reaction": reaction, "memo": memo}));
        }
        self
    }

    /// The code of the denial, if it is one.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        match &self.outcome {
            Outcome::Denied(denial) => denial["code"].as_str(),
            Outcome::Ok(_) | Outcome::Fault(_) => None,
        }
    }

    /// The caller that the answer names.
    pub(super) fn caller(&self) -> Option<&str> {
        match &self.outcome {
            Outcome::Ok(answer) => {
                let caller = answer.get("caller").unwrap_or(answer);
                caller.get("id")?.as_str()
            }
            Outcome::Denied(_) | Outcome::Fault(_) => None,
        }
    }

    /// The buckets that the request draws from, by name and key.
    pub(super) fn buckets(&self) -> Option<Vec<&rate_limit::Quota>> {
        let mut quotas: Vec<_> = self.quotas.as_ref()?.iter().collect();
        quotas.sort_by_key(|quota| (&quota.name, &quota.key));
        Some(quotas)
    }

    /// Whether both are the same decision; of faults the kind counts.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let is_same = match (&self.outcome, &other.outcome) {
            (Outcome::Fault(one), Outcome::Fault(other)) => one.kind == other.kind,
            (one, other) => one == other,
        };
        is_same && self.quotas == other.quotas
    }
}

/// A secret that the policy was given is shown on no screen.
fn masked(mut saw: Value) -> Value {
    if let Some(secret @ Value::String(_)) = saw.pointer_mut("/credential/secret") {
        *secret = MASK.into();
    }
    saw
}

impl Outcome {
    fn of<A: GuestAnswer + Serialize>(answer: &A) -> Self {
        if let Some(denial) = answer.denial() {
            return Self::Denied(serde_json::to_value(denial).unwrap_or_default());
        }
        Self::Ok(match serde_json::to_value(answer).unwrap_or_default() {
            Value::Object(mut result) if result.len() == 1 && result.contains_key("Ok") => {
                result.remove("Ok").unwrap_or_default()
            }
            value => value,
        })
    }
}
