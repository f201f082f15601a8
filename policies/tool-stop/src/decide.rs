//! Decides whether a turn ends after a tool call, and what happens to repeated calls and to text after a call.

use std::hash::{DefaultHasher, Hash, Hasher};

use codex_policy::tool_stop::{Call, Event, Progress, Reaction, ToolStop};
use codex_policy_settings::models;
use codex_policy_settings::who::{self, Pattern, Who};
use serde::Deserialize;

/// The condition on which tool calls end a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Tool calls never end the turn: the model does.
    #[default]
    Off,
    /// The first call ends the turn.
    First,
    /// The turn ends when no further call follows within the grace.
    Burst,
}

/// The treatment of a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Treatment {
    /// The condition on which calls end the turn.
    pub mode: Mode,
    /// The grace: milliseconds that a burst waits for a further call.
    pub grace_ms: u32,
    /// The number of the call that ends a turn in any mode; 0: no call does.
    pub max_calls: u32,
    /// Withhold text that follows a call, unless another call follows it.
    pub suppress_tail: bool,
    /// Leave out a call that repeats an earlier one of the turn, with the same arguments.
    pub dedup: bool,
}

/// The treatment of turns of some callers, or with some models.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The callers the rule applies to.
    pub who: Who,
    /// Names of models, in lower case; empty: all models.
    pub models: Vec<Pattern>,
    /// The treatment of their turns.
    pub treatment: Treatment,
}

/// The checked settings, ready for decisions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// The rules, of which the first that matches a turn applies.
    pub rules: Vec<Rule>,
    /// The treatment of all other turns.
    pub usual: Treatment,
}

impl ToolStop for Rules {
    fn observe(&self, progress: &Progress, event: &Event, memo: Vec<u8>) -> (Reaction, Vec<u8>) {
        let treatment = self.treatment(progress);
        let mut seen = Seen(memo);
        let repeated = match event {
            Event::Called(call) if treatment.dedup => seen.again(call),
            _ => false,
        };
        let reaction = if repeated {
            Reaction::Drop
        } else {
            treatment.react(progress.calls, event)
        };
        (reaction, seen.0)
    }
}

impl Rules {
    fn treatment(&self, progress: &Progress) -> Treatment {
        let caller = who::Caller {
            id: &progress.caller.id,
            tenant: progress.caller.tenant.as_deref(),
            groups: &progress.caller.groups,
        };
        let about = |rule: &&Rule| {
            rule.who.is(Some(caller))
                && (rule.models.is_empty() || models::any(&rule.models, &progress.model))
        };
        let rule = self.rules.iter().find(about);
        rule.map_or(self.usual, |rule| rule.treatment)
    }
}

impl Treatment {
    /// In a burst a call is answered with `Wait`, which cannot be `HideTail` at the same time. No text gets through by that:
    /// the first piece of text is an event of its own. It is never answered with a new `Wait`: the `Wait` of the last call
    /// stays in force, so that only another call restarts the grace.
    fn react(&self, calls: u32, event: &Event) -> Reaction {
        if self.max_calls > 0 && calls >= self.max_calls {
            return Reaction::Stop;
        }
        match (self.mode, event) {
            (Mode::First, _) | (Mode::Burst, Event::Quiet(_)) => Reaction::Stop,
            (Mode::Burst, Event::Called(_)) => Reaction::Wait(self.grace_ms),
            _ if self.suppress_tail => Reaction::HideTail,
            _ => Reaction::GoOn,
        }
    }
}

/// The hashes of the calls so far in a turn: eight bytes each, over name and arguments.
struct Seen(Vec<u8>);

/// The most calls remembered in a turn: the memo is copied at each call, and no turn that matters makes more.
const MOST_SEEN: usize = 1024;

impl Seen {
    /// Whether this call was remembered already; remembers it.
    fn again(&mut self, call: &Call) -> bool {
        let mut hasher = DefaultHasher::new();
        (&call.name, &call.arguments).hash(&mut hasher);
        let hash = hasher.finish().to_le_bytes();
        let again = self.0.chunks_exact(hash.len()).any(|seen| seen == hash);
        if !again && self.0.len() < MOST_SEEN * hash.len() {
            self.0.extend(hash);
        }
        again
    }
}

#[cfg(test)]
mod tests;
