//! Searches an input that two policies decide differently, and shrinks it to a case.
//!
//! `words` collects texts and numbers, `fields` has the contract's inputs, `mutate` and `values` change them, `shrink` makes one smaller.

mod dice;
mod fields;
mod mutate;
mod seeds;
mod shrink;
mod values;
mod words;
mod written;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::{Map, Value};

use super::diff::{Played, Script, Sides, difference};
use super::{Outcome, Reply};
use dice::Dice;
use mutate::Maker;
pub use seeds::Seeds;
use words::Words;

/// The time of an input that names none: 2026-01-01T00:00:00Z, as of a case.
use super::case::START_MS;

/// The inputs that are made before any of them is judged: the same on every machine.
const AT_ONCE: usize = 24;
/// The most inputs that are kept to be changed further.
const KEPT: usize = 2_000;
/// The most pairs of kinds of answers that are told apart.
const KINDS: usize = 50_000;

/// How long a search goes on, and which inputs it makes.
#[derive(Debug, Clone, Copy)]
pub struct Search {
    /// The same seed makes the same inputs in the same order.
    pub seed: u64,
    /// The longest time.
    pub time: Duration,
    /// The most inputs.
    pub inputs: u64,
}

/// The result of a search.
#[derive(Debug, Clone, Serialize)]
pub struct Searched {
    /// The seed.
    pub seed: u64,
    /// The inputs that both policies decided, without those of shrinking.
    pub inputs: u64,
    /// The pairs of kinds of answers that were met.
    pub kinds: usize,
    /// The time until a difference was found, or the search ended, in milliseconds.
    pub took_ms: u64,
    /// The smallest input found that both decide differently.
    pub found: Option<Found>,
}

/// An input that both policies decide differently.
#[derive(Debug, Clone, Serialize)]
pub struct Found {
    /// A case that passes with the first policy and fails with the second one.
    pub case: Value,
    /// The reply of the first one at the last call.
    pub from: Reply,
    /// That of the second one.
    pub to: Reply,
}

struct Searching<'a> {
    sides: &'a Sides,
    maker: Maker,
    kept: Vec<Script>,
    kinds: BTreeSet<String>,
    inputs: u64,
}

impl Sides {
    /// Searches an input that both decide differently.
    pub async fn search(&self, search: Search, seeds: Seeds) -> Searched {
        let began = Instant::now();
        let mut searching = Searching::new(self, search.seed);
        let is_over = |inputs: u64| inputs >= search.inputs || began.elapsed() >= search.time;
        let mut found = None;
        let mut next = [searching.maker.first(), seeds.0].concat();
        while found.is_none() && !is_over(searching.inputs) {
            let rest = next.split_off(next.len().min(AT_ONCE));
            found = searching.judge(next).await;
            next = match rest.is_empty() {
                true => searching.make(),
                false => rest,
            };
        }
        let took_ms = super::case::millis(began.elapsed());
        let found = match found {
            Some(script) => self.found(script).await,
            None => None,
        };
        Searched {
            seed: search.seed,
            inputs: searching.inputs,
            kinds: searching.kinds.len(),
            took_ms,
            found,
        }
    }

    async fn found(&self, script: Script) -> Option<Found> {
        let script = shrink::shrink(self, script).await;
        let played = self.play(vec![script.clone()]).await.into_iter().next()?;
        let case = written::case(&self.drafts[0], &script, &played);
        let [from, to] = played.map(|played| played.into_iter().next_back());
        let (from, to) = (from?.1, to?.1);
        Some(Found { case, from, to })
    }
}

impl<'a> Searching<'a> {
    fn new(sides: &'a Sides, seed: u64) -> Self {
        let settings = sides.drafts.each_ref().map(|draft| {
            let settings = draft.settings.as_ref();
            let settings = settings.map(|(_, bytes)| serde_json::from_slice(bytes));
            let mut settings = settings.and_then(Result::ok).unwrap_or(Value::Null);
            if let Value::Object(members) = &mut settings {
                let host = serde_json::to_value(&draft.facts).unwrap_or_default();
                members.insert("host".to_owned(), host);
            } else {
                let host = serde_json::to_value(&draft.facts).unwrap_or_default();
                settings = Map::from_iter([("host".to_owned(), host)]).into();
            }
            settings
        });
        let components = sides.components();
        let words = Words::new(
            settings.each_ref(),
            components.each_ref().map(|wasm| &wasm[..]),
        );
        Self {
            sides,
            maker: Maker::new(sides.slot(), &sides.needs(), words, Dice::new(seed)),
            kept: Vec::new(),
            kinds: BTreeSet::new(),
            inputs: 0,
        }
    }

    /// New inputs: changed copies of those that were kept, the newest more often.
    fn make(&mut self) -> Vec<Script> {
        let mut made = Vec::with_capacity(AT_ONCE);
        for _ in 0..AT_ONCE {
            let dice = &mut self.maker.dice;
            let count = self.kept.len();
            let at = match dice.one_in(3) {
                true => count.saturating_sub(1 + dice.below(count.min(16))),
                false => dice.below(count),
            };
            let other = dice.below(count);
            // The shorter one, more often than not.
            let length = |at: usize| self.kept.get(at).map_or(0, |script| script.steps.len());
            let (at, other) = match length(other) < length(at) && !dice.one_in(4) {
                true => (other, at),
                false => (at, other),
            };
            if let (Some(script), Some(other)) = (self.kept.get(at), self.kept.get(other)) {
                made.push(self.maker.change(script, other));
            }
        }
        made
    }

    /// Plays inputs to both. Returns the first one that they decide differently; keeps those that meet a new pair of kinds of answers.
    async fn judge(&mut self, scripts: Vec<Script>) -> Option<Script> {
        let played = self.sides.play(scripts.clone()).await;
        for (script, played) in scripts.into_iter().zip(played) {
            self.inputs += 1;
            if let Some(at) = difference(&played)
                && self.sides.confirm(&script, &played).await
            {
                let mut script = script;
                script.steps.truncate(at + 1);
                return Some(script);
            }
            if self.is_new(&script, &played) && self.kept.len() < KEPT {
                self.kept.push(script);
            }
        }
        None
    }

    /// Whether a pair of kinds of answers was not met before. The texts of such answers become words.
    fn is_new(&mut self, script: &Script, played: &[Played; 2]) -> bool {
        let mut is_new = self.kept.is_empty() && !script.steps.is_empty();
        let mut before = String::new();
        for ((call, from), (_, to)) in played[0].iter().zip(&played[1]) {
            let pair = format!("{} {} {}", call.name(), kind(from), kind(to));
            if self.kinds.len() < KINDS && self.kinds.insert(format!("{before}; {pair}")) {
                is_new = true;
                for reply in [from, to] {
                    if let Outcome::Ok(answer) | Outcome::Denied(answer) = &reply.outcome {
                        self.maker.words.learn(answer);
                    }
                }
            }
            before = pair;
        }
        is_new
    }
}

/// The kind of an answer: its form, without texts that may be those of the input.
fn kind(reply: &Reply) -> String {
    match &reply.outcome {
        Outcome::Fault(failed) => format!("fault {}", failed.kind),
        Outcome::Denied(denial) => {
            format!("denied {} {}", denial["code"], form(&denial["message"], 0))
        }
        Outcome::Ok(answer) => {
            let quotas = reply.buckets().unwrap_or_default();
            let names: Vec<_> = quotas.iter().map(|quota| quota.name.as_str()).collect();
            format!("ok {} {}", form(answer, 0), names.join(","))
        }
    }
}

/// The form of a value: names of members, and of lists whether they have none, one or more items.
fn form(value: &Value, depth: usize) -> String {
    const DEPTH: usize = 4;
    match value {
        Value::Null => "-".to_owned(),
        Value::Bool(_) => "b".to_owned(),
        Value::Number(number) => format!("{}", number.as_u64().unwrap_or_default().min(1)),
        Value::String(text) => format!(
            "{}",
            text.len().min(512).checked_ilog2().unwrap_or_default()
        ),
        Value::Array(items) => {
            let first = items.first().map(|item| form(item, depth + 1));
            format!("[{} {}]", items.len().min(8), first.unwrap_or_default())
        }
        Value::Object(members) if depth < DEPTH => {
            let forms = members.iter();
            let forms = forms.map(|(name, value)| format!("{name}:{}", form(value, depth + 1)));
            forms.collect::<Vec<_>>().join(",")
        }
        Value::Object(_) => "{}".to_owned(),
    }
}

#[cfg(test)]
mod tests;
