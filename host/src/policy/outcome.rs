//! The outcome of a decision, in the words of reports and explanations.

use super::bindings::{Caller, Denial, Header, forward_auth, model, rate_limit, tool_stop};
use super::cards::Cards;
use super::fault::{Fault, FaultKind};
use super::mask::masked_headers;
use super::words::{LINE, text_within};

/// One outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outcome {
    /// One line, cut and escaped: it may contain text that a client or a policy chose.
    pub(super) words: String,
    pub(super) kind: Kind,
}

/// The meaning of an outcome for the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// It goes on.
    Answered,
    /// It is refused.
    Denied,
    /// The policy could not decide.
    Fault(FaultKind),
}

impl Outcome {
    pub(super) fn of<A: Told>(answer: &Result<A, Fault>) -> Self {
        match answer {
            Ok(answer) => Self {
                words: text_within(LINE, answer.told()),
                kind: answer.kind(),
            },
            Err(fault) => Self::fault(fault),
        }
    }

    pub(super) fn fault(fault: &Fault) -> Self {
        Self {
            words: format!("fault {}", fault.kind),
            kind: Kind::Fault(fault.kind),
        }
    }

    pub(super) fn admitted() -> Self {
        Self {
            words: "admitted".to_owned(),
            kind: Kind::Answered,
        }
    }

    /// The outcome of the second half of a question about limits: a denial names the rules that refused.
    pub(super) fn of_limits(
        answer: &Result<Result<Vec<Header>, Denial>, Fault>,
        statuses: &[rate_limit::BucketStatus],
    ) -> Self {
        let mut outcome = Self::of(answer);
        if outcome.kind == Kind::Denied {
            let refused = statuses.iter().filter(|status| !status.granted);
            let rules: Vec<_> = refused.map(|status| status.name.as_str()).collect();
            if !rules.is_empty() {
                let words = format!("{} by {}", outcome.words, rules.join(", "));
                outcome.words = text_within(LINE, words);
            }
        }
        outcome
    }
}

/// An answer that can be told.
pub(super) trait Told {
    /// One line.
    fn told(&self) -> String;

    /// Its meaning for the request.
    fn kind(&self) -> Kind {
        Kind::Answered
    }
}

impl<T: Told> Told for Result<T, Denial> {
    fn told(&self) -> String {
        match self {
            Ok(answer) => answer.told(),
            Err(denial) => denial.told(),
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Ok(_) => Kind::Answered,
            Err(_) => Kind::Denied,
        }
    }
}

impl Told for Denial {
    fn told(&self) -> String {
        format!("denied {} {}", self.status, self.code)
    }
}

impl Told for Caller {
    fn told(&self) -> String {
        let tenant = self.tenant.as_deref();
        let tenant = tenant.map(|tenant| format!(" of {tenant}"));
        let groups = match self.groups.is_empty() {
            true => String::new(),
            false => format!(" in {}", self.groups.join(", ")),
        };
        format!("caller {}{}{groups}", self.id, tenant.unwrap_or_default())
    }
}

impl Told for forward_auth::Grant {
    fn told(&self) -> String {
        // An edge proxy passes them on: some are secret.
        let headers = masked_headers(self.headers.clone());
        let headers: Vec<_> = headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}"))
            .collect();
        match headers.is_empty() {
            true => self.caller.told(),
            false => format!("{} with {}", self.caller.told(), headers.join(", ")),
        }
    }
}

impl Told for Cards {
    fn told(&self) -> String {
        let names: Vec<_> = self.iter().map(|card| card.id.as_str()).collect();
        format!("{} models: {}", names.len(), names.join(", "))
    }
}

impl Told for model::Target {
    fn told(&self) -> String {
        let effort = self.effort.as_deref();
        let effort = effort.map(|effort| format!(", effort {effort}"));
        let provider = self.provider.as_deref();
        let provider = provider.map(|provider| format!(", provider {provider}"));
        format!(
            "{} runs {}{}{}",
            self.id,
            self.model,
            effort.unwrap_or_default(),
            provider.unwrap_or_default()
        )
    }
}

impl Told for Vec<rate_limit::Quota> {
    fn told(&self) -> String {
        let names: Vec<_> = self.iter().map(|quota| quota.name.as_str()).collect();
        match names.is_empty() {
            true => "no buckets".to_owned(),
            false => format!("buckets {}", names.join(", ")),
        }
    }
}

/// Headers of an admitted request.
impl Told for Vec<Header> {
    fn told(&self) -> String {
        "admitted".to_owned()
    }
}

impl Told for (tool_stop::Reaction, Vec<u8>) {
    fn told(&self) -> String {
        self.0.told()
    }
}

impl Told for tool_stop::Reaction {
    fn told(&self) -> String {
        match self {
            Self::GoOn => "go-on".to_owned(),
            Self::Wait(ms) => format!("wait {ms} ms"),
            Self::Drop => "drop".to_owned(),
            Self::HideTail => "hide-tail".to_owned(),
            Self::Stop => "stop".to_owned(),
        }
    }
}
