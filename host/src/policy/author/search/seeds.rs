//! The inputs that a search begins with: the calls of cases, and the questions of recordings.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::Serialize;
use serde_json::{Value, json};

use super::super::super::Slot;
use super::super::super::again::Undecided;
use super::super::super::bindings::rate_limit;
use super::super::super::exchange::What;
use super::super::super::records::{Damage, Ends, File, Line};
use super::super::super::world::{Observe, Question};
use super::super::case::{Case, Step};
use super::super::diff::Script;
use super::START_MS;

/// The most inputs of recordings.
const MOST: usize = 2_000;
/// The most calls of a recorded turn.
const CALLS: usize = 64;

/// The inputs that a search begins with.
#[derive(Debug, Clone, Default)]
pub struct Seeds(pub(super) Vec<Script>);

impl Seeds {
    /// Adds the calls of a case.
    pub fn case(&mut self, slot: Slot, case: &Case) {
        if case.slot.is_none_or(|of| of == slot) && !case.calls.is_empty() {
            self.0.push(Script::of(case));
        }
    }

    /// Adds the different questions to a slot in files of records.
    ///
    /// # Errors
    /// If the records cannot be read, or are not whole.
    pub fn records(&mut self, slot: Slot, records: &[PathBuf]) -> Result<(), Undecided> {
        let mut recorded = Recorded {
            slot,
            known: BTreeSet::new(),
            scripts: Vec::new(),
            turns: BTreeMap::new(),
        };
        let mut ends = Ends::default();
        for path in records {
            let mut file = File::open(path)?;
            let read = recorded.file(&mut file, &ends);
            file.end(&mut ends);
            match read {
                Err(damage) if !damage.is_torn => return Err(damage.into()),
                _ => {}
            }
        }
        self.0.extend(recorded.scripts);
        self.0.extend(recorded.turns.into_values());
        Ok(())
    }
}

struct Recorded {
    slot: Slot,
    known: BTreeSet<String>,
    scripts: Vec<Script>,
    /// By the number of the request and that of the turn.
    turns: BTreeMap<(u64, u32), Script>,
}

impl Recorded {
    fn file(&mut self, file: &mut File, ends: &Ends) -> Result<(), Damage> {
        if file.header(ends)?.is_none() {
            return Ok(());
        }
        while let Some(line) = file.next()? {
            let is_full = self.scripts.len() + self.turns.len() >= MOST;
            if let Line::Event(_, event) = line
                && !is_full
            {
                self.event(event.request.number, &event.what);
            }
        }
        Ok(())
    }

    fn event(&mut self, request: u64, what: &What) {
        match (self.slot, what) {
            (Slot::Auth, What::Authenticate(made)) => self.one(&made.asked),
            (Slot::Auth, What::Verify(made)) => self.one(&made.asked),
            (Slot::Model, What::Resolve(made)) => self.one(&made.asked),
            (Slot::Model, What::Catalog(made)) => self.one(&made.asked),
            (Slot::RateLimit, What::Quotas(made)) => self.admission(&made.asked.0),
            (Slot::RateLimit, What::Unasked(asked)) => self.admission(&asked.0),
            (Slot::ToolStop, What::Observe(made)) => self.turn(request, &made.asked),
            _ => {}
        }
    }

    fn one<Q: Question>(&mut self, asked: &Q) {
        self.add(Q::NAME, asked, asked.now_ms());
    }

    fn admission(&mut self, ask: &rate_limit::Ask) {
        self.add("admit", &json!({ "ask": ask }), ask.now_ms);
    }

    fn add(&mut self, call: &str, asked: &impl Serialize, now_ms: u64) {
        let input = plain(asked);
        if self.known.insert(format!("{call} {input}")) {
            self.scripts.push(Script {
                start_ms: now_ms,
                steps: vec![step(call, input, now_ms)],
            });
        }
    }

    fn turn(&mut self, request: u64, asked: &Observe) {
        let turn = self.turns.entry((request, asked.turn));
        let turn = turn.or_insert_with(|| Script {
            start_ms: START_MS,
            steps: Vec::new(),
        });
        if turn.steps.len() < CALLS {
            let now_ms = START_MS.saturating_add(asked.progress.elapsed_ms);
            turn.steps.push(step(Observe::NAME, plain(asked), now_ms));
        }
    }
}

fn step(call: &str, input: Value, now_ms: u64) -> Step {
    Step {
        call: Some(call.to_owned()),
        input,
        now_ms,
        tokens: None,
        lasts_ms: 0,
        expect: Value::Null,
    }
}

/// A question without its id, its time and its memo, which come from the script.
fn plain(asked: &impl Serialize) -> Value {
    let mut input = serde_json::to_value(asked).unwrap_or_default();
    for (around, name) in [
        ("", "id"),
        ("", "now_ms"),
        ("/ask", "now_ms"),
        ("/progress", "elapsed_ms"),
        ("", "memo"),
    ] {
        if let Some(Value::Object(members)) = input.pointer_mut(around) {
            members.remove(name);
        }
    }
    input
}
