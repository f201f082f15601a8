//! Makes the inputs of a search: changes fields, calls and times of inputs that were met before.

use serde_json::{Value, json};

use super::super::super::Slot;
use super::super::case::Step;
use super::super::diff::Script;
use super::super::input::Call;
use super::dice::Dice;
use super::fields::{self, Field, Kind};
use super::words::{Named, Words};

/// The most calls of a script, if a number of the settings says how many, and usually: long ones take the time of many.
const MOST_CALLS: usize = 256;
const USUAL_CALLS: usize = 12;
/// The most changes of an input at once, but one.
const CHANGES: usize = 4;
/// Numbers that are edges for many policies.
const NUMBERS: [u64; 12] = [
    0,
    1,
    2,
    3,
    5,
    10,
    100,
    1_000,
    60_000,
    1_000_000,
    86_400_000,
    u32::MAX as u64,
];
/// The latest time of a script: the end of the year 2999, in milliseconds since 1970.
const LATEST_MS: u64 = 32_503_679_999_999;

/// Makes inputs for the policies of one slot.
pub(super) struct Maker {
    slot: Slot,
    fields: Vec<Field>,
    /// The headers that a policy declared by name.
    pub(super) headers: Vec<String>,
    pub(super) words: Words,
    pub(super) dice: Dice,
    start_ms: u64,
}

impl Maker {
    /// `needs` are those of both policies: other parts of an input are blank for them.
    pub(super) fn new(slot: Slot, needs: &[String], words: Words, dice: Dice) -> Self {
        let is_shown = |field: &Field| {
            field.need.is_empty() || needs.iter().any(|need| need.starts_with(field.need))
        };
        let named = needs.iter().filter_map(|need| need.strip_prefix("header("));
        Self {
            slot,
            fields: fields::of(slot).into_iter().filter(is_shown).collect(),
            headers: named
                .map(|name| name.trim_end_matches(')').to_owned())
                .collect(),
            words,
            dice,
            start_ms: super::START_MS,
        }
    }

    /// The inputs to begin with: each question without any input.
    pub(super) fn first(&self) -> Vec<Script> {
        let questions = self.questions().into_iter();
        questions
            .map(|question| Script {
                start_ms: self.start_ms,
                steps: vec![step(Some(question), self.start_ms)],
            })
            .collect()
    }

    /// The questions that are asked: those whose answers serve requests.
    fn questions(&self) -> Vec<&'static str> {
        let names = Call::names(self.slot).iter().copied();
        names.filter(|name| *name != "quotas").collect()
    }

    /// Whether calls depend on those before.
    fn has_state(&self) -> bool {
        matches!(self.slot, Slot::RateLimit | Slot::ToolStop)
    }

    /// A changed copy. `other` is another input, of which it may take a part.
    pub(super) fn change(&mut self, script: &Script, other: &Script) -> Script {
        let mut script = script.clone();
        for _ in 0..=self.dice.below(CHANGES) {
            match self.dice.below(16) {
                0..=6 => self.change_field(&mut script),
                7..=9 => self.adopt(&mut script),
                10 => self.clear_field(&mut script),
                11 => self.change_time(&mut script),
                12 if !self.has_state() => self.change_question(&mut script),
                12 | 13 if self.has_state() => self.repeat(&mut script),
                14 if self.has_state() => self.change_cost(&mut script),
                15 if self.has_state() => self.join(&mut script, other),
                _ => self.change_field(&mut script),
            }
        }
        script
    }

    /// One of the calls; often the last one.
    fn at(&mut self, script: &Script) -> usize {
        let last = script.steps.len().saturating_sub(1);
        match self.dice.one_in(2) {
            true => last,
            false => self.dice.below(last + 1),
        }
    }

    /// The fields of a call's question.
    fn fields(&self, step: &Step) -> Vec<Field> {
        let question = step.call.as_deref().unwrap_or(Call::names(self.slot)[0]);
        let fields = self.fields.iter();
        fields
            .filter(|field| field.question == question)
            .copied()
            .collect()
    }

    fn change_field(&mut self, script: &mut Script) {
        let at = self.at(script);
        let Some(step) = script.steps.get_mut(at) else {
            return;
        };
        let fields = self.fields(step);
        if let Some(field) = self.dice.pick(&fields).copied() {
            let before = step.input.pointer(field.place).cloned();
            let value = self.value(&field, before.as_ref());
            put(&mut step.input, field.place, value);
        }
    }

    /// Takes the values of all fields that an object of the settings names.
    fn adopt(&mut self, script: &mut Script) {
        let at = self.at(script);
        let Some(object) = self.words.object(&mut self.dice).cloned() else {
            return self.change_field(script);
        };
        let Some(step) = script.steps.get_mut(at) else {
            return;
        };
        for field in self.fields(step) {
            let known = field.names.iter().filter_map(|name| object.get(*name));
            let texts: Vec<_> = known.flatten().cloned().collect();
            let Some(text) = self.dice.pick(&texts).cloned() else {
                continue;
            };
            let text = text.replace('*', "");
            let value = match field.kind {
                Kind::Text(_) => Some(json!(text)),
                Kind::Texts => Some(json!([text])),
                Kind::Fingerprint => fingerprint(&text).map(Value::from),
                Kind::Number => text.parse::<u64>().ok().map(Value::from),
                Kind::Flag | Kind::Headers | Kind::Null | Kind::Event => None,
            };
            if let Some(value) = value {
                put(&mut step.input, field.place, value);
            }
        }
        if self.dice.one_in(3) {
            self.adopt_time(script, &object);
        }
    }

    /// A time that an object of the settings has as a number, in seconds or milliseconds, or just before.
    fn adopt_time(&mut self, script: &mut Script, object: &Named) {
        let numbers = object.values().flatten();
        let numbers: Vec<u64> = numbers.filter_map(|text| text.parse().ok()).collect();
        if let Some(number) = self.dice.pick(&numbers).copied() {
            let ms = [number, number.saturating_mul(1_000)][self.dice.below(2)];
            let before = [0, 1, 1_000][self.dice.below(3)];
            begin_at(script, ms.saturating_sub(before));
        }
    }

    fn clear_field(&mut self, script: &mut Script) {
        let at = self.at(script);
        if let Some(step) = script.steps.get_mut(at) {
            let fields = self.fields(step);
            if let Some(field) = self.dice.pick(&fields) {
                remove(&mut step.input, field.place);
            }
        }
    }

    fn change_question(&mut self, script: &mut Script) {
        let questions = self.questions();
        let question = self.dice.pick(&questions).copied();
        if let Some(step) = script.steps.first_mut() {
            let before = step.call.as_deref().unwrap_or_default();
            // Both questions about a request have the same input.
            if self.slot != Slot::Auth && Some(before) != question {
                step.input = Value::Null;
            }
            step.call = question.map(str::to_owned);
        }
    }

    /// A length of time: a number of the settings as milliseconds or seconds, or a part of one.
    fn length(&mut self) -> u64 {
        let number = self.number();
        let ms = match self.dice.below(4) {
            0 => number.saturating_mul(1_000),
            1 => number / self.number().max(1),
            _ => number,
        };
        let beside = [ms, ms.saturating_sub(1), ms.saturating_add(1)];
        beside[self.dice.below(3)]
    }

    pub(super) fn number(&mut self) -> u64 {
        let known = match self.dice.one_in(3) {
            true => None,
            false => self.words.number(&mut self.dice),
        };
        let any = NUMBERS[self.dice.below(NUMBERS.len())];
        known.unwrap_or(any)
    }

    /// Moves the beginning or, of calls that depend on those before, one of them and all after it.
    fn change_time(&mut self, script: &mut Script) {
        let by = self.length();
        let at = self.at(script);
        if at == 0 || !self.has_state() {
            let ms = match self.dice.one_in(4) {
                true => self.start_ms.saturating_add(by),
                false => by,
            };
            return begin_at(script, ms);
        }
        let before = script.steps.get(at - 1).map_or(0, |step| step.now_ms);
        let Some(now) = script.steps.get(at).map(|step| step.now_ms) else {
            return;
        };
        let to = before.saturating_add(by).min(LATEST_MS);
        for step in script.steps.iter_mut().skip(at) {
            step.now_ms = step.now_ms.saturating_sub(now).saturating_add(to);
        }
    }

    /// The tokens that a request used, and how long it lasts.
    fn change_cost(&mut self, script: &mut Script) {
        let (at, number, length) = (self.at(script), self.number(), self.length());
        let uses_tokens = self.dice.one_in(2);
        if let Some(step) = script
            .steps
            .get_mut(at)
            .filter(|_| self.slot == Slot::RateLimit)
        {
            match uses_tokens {
                true => step.tokens = Some(number),
                false => step.lasts_ms = length,
            }
        }
    }

    /// Makes a call once more, or as often as a number of the settings says.
    fn repeat(&mut self, script: &mut Script) {
        let at = self.at(script);
        let Some(step) = script.steps.get(at).cloned() else {
            return;
        };
        let length = script.steps.len();
        let many = usize::try_from(self.number()).unwrap_or(usize::MAX);
        let times = match self.dice.one_in(12) {
            true if many <= MOST_CALLS => many.min(MOST_CALLS.saturating_sub(length)),
            _ => USUAL_CALLS
                .saturating_sub(length)
                .min(1 + self.dice.below(2)),
        };
        for _ in 0..times {
            script.steps.insert(at, step.clone());
        }
    }

    /// Adds the calls of another script.
    fn join(&mut self, script: &mut Script, other: &Script) {
        let end = script
            .steps
            .last()
            .map_or(script.start_ms, |step| step.now_ms);
        let room = USUAL_CALLS.saturating_sub(script.steps.len());
        let more = other.steps.iter().take(room).cloned();
        script.steps.extend(more.map(|step| {
            Step {
                now_ms: step
                    .now_ms
                    .saturating_sub(other.start_ms)
                    .saturating_add(end),
                ..step
            }
        }));
    }
}

/// A call without any input.
fn step(call: Option<&str>, now_ms: u64) -> Step {
    Step {
        call: call.map(str::to_owned),
        input: json!({}),
        now_ms,
        tokens: None,
        lasts_ms: 0,
        expect: Value::Null,
    }
}

/// The fingerprint that a text is.
pub(super) fn fingerprint(text: &str) -> Option<String> {
    let is_one = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_one.then(|| text.to_ascii_lowercase())
}

/// Moves a script as a whole.
pub(super) fn begin_at(script: &mut Script, ms: u64) {
    let (from, to) = (script.start_ms, ms.min(LATEST_MS));
    script.start_ms = to;
    for step in &mut script.steps {
        step.now_ms = step.now_ms.saturating_sub(from).saturating_add(to);
    }
}

/// Sets the value at a JSON pointer whose parts are names of members.
fn put(input: &mut Value, place: &str, value: Value) {
    let mut at = input;
    for name in place.split('/').skip(1) {
        if !at.is_object() {
            *at = json!({});
        }
        at = &mut at[name];
    }
    *at = value;
}

/// Removes the member at such a pointer.
fn remove(input: &mut Value, place: &str) {
    if let Some((around, name)) = place.rsplit_once('/')
        && let Some(Value::Object(members)) = input.pointer_mut(around)
    {
        members.remove(name);
    }
}
