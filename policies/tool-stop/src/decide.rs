//! Decides whether a turn ends after a tool call, and what becomes of repeated calls and of text that follows one.

use std::hash::{DefaultHasher, Hash, Hasher};

use codex_policy_settings::models;
use codex_policy_settings::who::{Caller, Pattern, Who};
use serde::Deserialize;

/// When calls end a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Never: the model ends it.
    #[default]
    Off,
    /// At the first call.
    First,
    /// When no further call follows for a while.
    Burst,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event<'a> {
    /// The model made a call.
    Called {
        /// Of the function.
        name: &'a str,
        /// As the model wrote them.
        arguments: &'a str,
    },
    /// Text followed the last call.
    Text,
    /// The time of the last [`Reaction::Wait`] ran out.
    Quiet,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reaction {
    /// Nothing.
    GoOn,
    /// Go on, and ask with [`Event::Quiet`] after so many milliseconds.
    Wait(u32),
    /// Leave this call out.
    Drop,
    /// Go on, but withhold text until the next call.
    HideTail,
    /// End the turn; the answer is complete as it stands.
    Stop,
}

/// The turn that is asked about.
#[derive(Debug, Clone, Copy)]
pub struct Turn<'a> {
    /// Whose it is.
    pub caller: Caller<'a>,
    /// What the answer calls the model.
    pub model: &'a str,
    /// The calls it made, the one that is asked about included, dropped ones not.
    pub calls: u32,
}

/// How turns are treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Treatment {
    /// When calls end a turn.
    pub mode: Mode,
    /// How long a burst waits for a further call, in milliseconds.
    pub grace_ms: u32,
    /// The call that ends a turn in any mode; 0: none does.
    pub max_calls: u32,
    /// Withhold text that follows a call, unless another call follows it.
    pub suppress_tail: bool,
    /// Leave out a call that the turn made before, with the same arguments.
    pub dedup: bool,
}

/// How the turns of some callers, or with some models, are treated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The callers.
    pub who: Who,
    /// Names of models, in lower case; empty: all.
    pub models: Vec<Pattern>,
    /// How their turns are treated.
    pub treatment: Treatment,
}

/// The settings, checked and ready to be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// The first that is about a turn applies.
    pub rules: Vec<Rule>,
    /// How all other turns are treated.
    pub usual: Treatment,
}

impl Rules {
    /// What to do about `event`, and what to remember. `memo` is what was to be remembered last time, empty at first.
    #[must_use]
    pub fn observe(&self, turn: Turn<'_>, event: Event<'_>, memo: Vec<u8>) -> (Reaction, Vec<u8>) {
        let treatment = self.treatment(&turn);
        let mut seen = Seen(memo);
        let repeated = match event {
            Event::Called { name, arguments } if treatment.dedup => seen.again(name, arguments),
            _ => false,
        };
        let reaction = if repeated {
            Reaction::Drop
        } else {
            treatment.react(turn.calls, event)
        };
        (reaction, seen.0)
    }

    fn treatment(&self, turn: &Turn<'_>) -> Treatment {
        let about = |rule: &&Rule| {
            rule.who.is(Some(turn.caller))
                && (rule.models.is_empty() || models::any(&rule.models, turn.model))
        };
        let rule = self.rules.iter().find(about);
        rule.map_or(self.usual, |rule| rule.treatment)
    }
}

impl Treatment {
    /// In a burst a call is answered with `Wait`, which cannot be `HideTail` at the same time. Nothing is lost by that: there
    /// is no text to withhold before its first piece comes, and that is asked about. The answer to it is never a new `Wait`:
    /// the one of the last call stands, so that only another call starts the grace anew.
    fn react(&self, calls: u32, event: Event<'_>) -> Reaction {
        if self.max_calls > 0 && calls >= self.max_calls {
            return Reaction::Stop;
        }
        match (self.mode, event) {
            (Mode::First, _) | (Mode::Burst, Event::Quiet) => Reaction::Stop,
            (Mode::Burst, Event::Called { .. }) => Reaction::Wait(self.grace_ms),
            _ if self.suppress_tail => Reaction::HideTail,
            _ => Reaction::GoOn,
        }
    }
}

/// The calls of a turn so far: eight bytes each, the hash of name and arguments.
struct Seen(Vec<u8>);

/// No turn makes more calls that matter; what is remembered is copied at each.
const MOST_SEEN: usize = 1024;

impl Seen {
    /// Whether this call was there before; from now on it was.
    fn again(&mut self, name: &str, arguments: &str) -> bool {
        let mut hasher = DefaultHasher::new();
        (name, arguments).hash(&mut hasher);
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
