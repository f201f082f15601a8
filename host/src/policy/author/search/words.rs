//! The words of a search: texts and numbers of both settings, of both components and of the answers so far.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use wasmparser::{Parser, Payload};

use super::dice::Dice;

/// The most texts of one policy's settings, and of all answers.
const TEXTS: usize = 20_000;
/// The most objects of one policy's settings.
const OBJECTS: usize = 5_000;
/// The longest text that becomes a word, in bytes.
const LONGEST: usize = 200;
/// The most runs of printable characters of one component, the shortest, and the longest, in bytes.
const RUNS: usize = 2_000;
const SHORTEST_RUN: usize = 3;
const LONGEST_RUN: usize = 4 << 10;
/// The most characters of a piece of a run.
const PIECE: usize = 24;

/// Texts by the names of the members that have them, in the singular.
pub(super) type Named = BTreeMap<String, BTreeSet<String>>;

/// Words of one kind.
#[derive(Debug, Default)]
struct Pool {
    named: BTreeMap<String, Vec<String>>,
    numbers: Vec<u64>,
    /// The objects of settings, each with the texts that are in it.
    objects: Vec<Named>,
}

/// All words.
#[derive(Debug, Default)]
pub(super) struct Words {
    all: Pool,
    /// Those that only one of the settings has.
    differing: Pool,
    runs: Vec<String>,
    learned: BTreeSet<(String, String)>,
}

/// The contents of one settings file, or of an answer.
#[derive(Default)]
struct Gathered {
    texts: BTreeSet<(String, String)>,
    numbers: BTreeSet<u64>,
    /// By their JSON.
    objects: BTreeMap<String, Named>,
}

impl Words {
    /// The words of two settings, and of two components.
    pub(super) fn new(settings: [&Value; 2], components: [&[u8]; 2]) -> Self {
        let gathered = settings.map(|settings| {
            let mut gathered = Gathered::default();
            gathered.add(settings, ["", ""]);
            gathered
        });
        let [from, to] = &gathered;
        let mut words = Self::default();
        for (own, other) in [(from, to), (to, from)] {
            for text in &own.texts {
                words.all.text(text);
                if !other.texts.contains(text) {
                    words.differing.text(text);
                }
            }
            for number in &own.numbers {
                words.all.number(*number);
                if !other.numbers.contains(number) {
                    words.differing.number(*number);
                }
            }
            for (json, object) in &own.objects {
                words.all.objects.push(object.clone());
                if !other.objects.contains_key(json) {
                    words.differing.objects.push(object.clone());
                }
            }
        }
        let mut runs: Vec<_> = components.into_iter().flat_map(runs).collect();
        runs.sort();
        runs.dedup();
        Self { runs, ..words }
    }

    /// Adds the texts of an answer. Returns whether one of them is new.
    pub(super) fn learn(&mut self, answer: &Value) -> bool {
        let mut gathered = Gathered::default();
        gathered.add(answer, ["", ""]);
        let mut is_new = false;
        for text in gathered.texts {
            if self.learned.len() < TEXTS && self.learned.insert(text.clone()) {
                self.all.text(&text);
                is_new = true;
            }
        }
        is_new
    }

    fn pool(&self, dice: &mut Dice, has: impl Fn(&Pool) -> bool) -> &Pool {
        match has(&self.differing) && dice.one_in(2) {
            true => &self.differing,
            false => &self.all,
        }
    }

    /// A text of a member with one of these names.
    pub(super) fn named(&self, dice: &mut Dice, names: &[&str]) -> Option<String> {
        let of = |pool: &Pool| -> Vec<usize> {
            let sizes = names.iter();
            sizes
                .map(|name| pool.named.get(*name).map_or(0, Vec::len))
                .collect()
        };
        let pool = self.pool(dice, |pool| of(pool).iter().any(|size| *size > 0));
        let known: Vec<_> = names
            .iter()
            .filter_map(|name| pool.named.get(*name))
            .collect();
        let list = dice.pick(&known)?;
        dice.pick(list).cloned()
    }

    /// Any text of the settings or of answers.
    pub(super) fn any(&self, dice: &mut Dice) -> Option<String> {
        let pool = self.pool(dice, |pool| !pool.named.is_empty());
        let at = dice.below(pool.named.len());
        let list = pool.named.values().nth(at)?;
        dice.pick(list).cloned()
    }

    /// A piece of a text of the components.
    pub(super) fn piece(&self, dice: &mut Dice) -> Option<String> {
        let run = dice.pick(&self.runs)?;
        let bytes = run.as_bytes();
        let is_edge = |at: usize| {
            let class = |byte: u8| (byte.is_ascii_alphanumeric(), byte.is_ascii_digit());
            at == 0 || at == bytes.len() || class(bytes[at - 1]) != class(bytes[at])
        };
        // An edge of words or, sometimes, any place.
        let is_exact = dice.one_in(4);
        let from = (0..=dice.below(bytes.len()))
            .rev()
            .find(|at| is_exact || is_edge(*at))?;
        let most = from + 1 + dice.below(PIECE);
        let to = (from + 1..=most.min(bytes.len()))
            .rev()
            .find(|at| is_exact || is_edge(*at));
        let to = to.unwrap_or_else(|| most.min(bytes.len()));
        run.get(from..to).map(str::to_owned)
    }

    /// A number of the settings, or one beside it.
    pub(super) fn number(&self, dice: &mut Dice) -> Option<u64> {
        let pool = self.pool(dice, |pool| !pool.numbers.is_empty());
        dice.pick(&pool.numbers).copied()
    }

    /// An object of the settings.
    pub(super) fn object(&self, dice: &mut Dice) -> Option<&Named> {
        let pool = self.pool(dice, |pool| !pool.objects.is_empty());
        dice.pick(&pool.objects)
    }
}

impl Pool {
    fn text(&mut self, (name, text): &(String, String)) {
        let list = self.named.entry(name.clone()).or_default();
        list.push(text.clone());
        // A star stands for any characters in most settings.
        if text.contains('*') {
            list.extend(["", "x"].map(|any| text.replace('*', any)));
        }
    }

    fn number(&mut self, number: u64) {
        let beside = [number, number.saturating_sub(1), number.saturating_add(1)];
        self.numbers.extend(beside);
    }
}

impl Gathered {
    /// Adds a value; `names` are those of the member that has it, and of the one around that.
    fn add(&mut self, value: &Value, names: [&str; 2]) {
        match value {
            Value::String(text) => self.text(text, names),
            Value::Number(number) => self.numbers.extend(number.as_u64()),
            Value::Array(items) => items.iter().for_each(|item| self.add(item, names)),
            Value::Object(members) => {
                let [own, _] = names;
                for (name, value) in members {
                    self.text(name, [own, ""]);
                    self.add(value, [name, own]);
                }
                if self.objects.len() < OBJECTS {
                    let mut within = Named::default();
                    texts(value, own, &mut within);
                    self.objects.insert(value.to_string(), within);
                }
            }
            Value::Null | Value::Bool(_) => {}
        }
    }

    fn text(&mut self, text: &str, names: [&str; 2]) {
        // A message may quote the values that would be right.
        let quoted = text.split('\'').skip(1).step_by(2);
        let whole = (text.len() <= LONGEST).then_some(text);
        for text in whole.into_iter().chain(quoted) {
            for name in names.map(singular) {
                if self.texts.len() < TEXTS && text.len() <= LONGEST {
                    self.texts.insert((name, text.to_owned()));
                }
            }
        }
    }
}

/// The texts and numbers within a value, by the names of their members.
fn texts(value: &Value, name: &str, into: &mut Named) {
    match value {
        Value::String(text) if text.len() <= LONGEST => {
            let of_name = into.entry(singular(name)).or_default();
            of_name.insert(text.clone());
        }
        Value::Number(number) => {
            let of_name = into.entry(singular(name)).or_default();
            of_name.insert(number.to_string());
        }
        Value::Array(items) => items.iter().for_each(|item| texts(item, name, into)),
        Value::Object(members) => members
            .iter()
            .for_each(|(name, value)| texts(value, name, into)),
        _ => {}
    }
}

/// A member's name as a field of the contract would have it.
fn singular(name: &str) -> String {
    let name = name.to_ascii_lowercase();
    name.strip_suffix('s').map_or(name.clone(), str::to_owned)
}

/// The runs of printable characters in a component's data. A component that cannot be read has none.
fn runs(component: &[u8]) -> Vec<String> {
    let payloads = Parser::new(0).parse_all(component).map_while(Result::ok);
    let sections = payloads.filter_map(|payload| match payload {
        Payload::DataSection(section) => Some(section),
        _ => None,
    });
    let segments = sections.flat_map(|section| section.into_iter().map_while(Result::ok));
    let is_plain = |byte: &u8| *byte == b' ' || byte.is_ascii_graphic();
    let runs = segments.flat_map(|segment| segment.data.split(move |byte| !is_plain(byte)));
    let runs = runs.filter(|run| run.len() >= SHORTEST_RUN).take(RUNS);
    let runs = runs.map(|run| &run[..run.len().min(LONGEST_RUN)]);
    runs.filter_map(|run| String::from_utf8(run.to_vec()).ok())
        .collect()
}
