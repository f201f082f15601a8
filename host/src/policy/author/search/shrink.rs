//! Shrinks an input on which two policies differ: fewer calls, fewer members, shorter texts, smaller numbers.

use serde_json::{Value, json};

use super::super::case::Step;
use super::super::diff::{Script, Sides, difference};
use super::START_MS;
use super::mutate::begin_at;

/// The most calls that are made with both.
const MOST: usize = 40_000;
/// The most calls of all inputs that are smaller in one place: they are in memory together.
const HELD: usize = 40_000;
/// The inputs that are tried at once.
const AT_ONCE: usize = 16;

/// The smallest input found on which both differ at the last call. `script` is one on which they do.
pub(super) async fn shrink(sides: &Sides, script: Script) -> Script {
    let mut best = script;
    let mut tried = 0;
    'again: loop {
        let smaller = smaller(&best);
        for several in smaller.chunks(AT_ONCE) {
            if tried > MOST {
                break 'again;
            }
            tried += several.iter().map(|other| other.steps.len()).sum::<usize>();
            let played = sides.play(several.to_vec()).await;
            for (candidate, played) in several.iter().zip(&played) {
                let Some(at) = difference(played) else {
                    continue;
                };
                let mut candidate = candidate.clone();
                candidate.steps.truncate(at + 1);
                if size(&candidate) < size(&best)
                    && sides.confirm(&candidate, &cut(played, at)).await
                {
                    best = candidate;
                    continue 'again;
                }
            }
        }
        break;
    }
    best
}

/// The part of what was played up to a call.
fn cut(played: &[super::super::diff::Played; 2], at: usize) -> [super::super::diff::Played; 2] {
    played.clone().map(|mut played| {
        played.truncate(at + 1);
        played
    })
}

/// The size of an input: its calls first, then everything that is written of it.
fn size(script: &Script) -> (usize, usize) {
    let of_step = |step: &Step, before_ms: u64| {
        let after = step.now_ms.saturating_sub(before_ms);
        let numbers = [Some(after), step.tokens, Some(step.lasts_ms)];
        let numbers = numbers.into_iter().flatten();
        let digits = numbers.map(|number| {
            if number == 0 {
                0
            } else {
                8 + number.to_string().len()
            }
        });
        weight(&step.input) + digits.sum::<usize>()
    };
    let mut before = script.start_ms;
    let mut total = usize::from(script.start_ms != START_MS) * 20;
    for step in &script.steps {
        total += of_step(step, before);
        before = step.now_ms;
    }
    (script.steps.len(), total)
}

/// The weight of a value: its JSON, and more for characters that are seldom typed.
fn weight(value: &Value) -> usize {
    let text = value.to_string();
    text.len()
        + 3 * text
            .bytes()
            .filter(|byte| !(32..127).contains(byte))
            .count()
}

/// Inputs that are smaller in one place.
fn smaller(script: &Script) -> Vec<Script> {
    let mut all = Vec::new();
    let last = script.steps.len().saturating_sub(1);
    // Halves first: a long script becomes short soon.
    let mut part = last;
    while part > 0 {
        for from in (0..last).step_by(part) {
            let mut shorter = script.clone();
            shorter.steps.drain(from..last.min(from + part));
            all.push(shorter);
        }
        part /= 2;
    }
    if script.start_ms != START_MS {
        let mut usual = script.clone();
        begin_at(&mut usual, START_MS);
        all.push(usual);
    }
    for (index, step) in script.steps.iter().enumerate() {
        if all.len() * script.steps.len() > HELD {
            break;
        }
        for other in smaller_steps(step) {
            let mut changed = script.clone();
            changed.steps[index] = other;
            all.push(changed);
        }
        let before = index
            .checked_sub(1)
            .map_or(script.start_ms, |before| script.steps[before].now_ms);
        let after = step.now_ms.saturating_sub(before);
        for less in numbers(after) {
            let mut sooner = script.clone();
            for step in sooner.steps.iter_mut().skip(index) {
                step.now_ms = step.now_ms.saturating_sub(after - less);
            }
            all.push(sooner);
        }
    }
    all
}

fn smaller_steps(step: &Step) -> Vec<Step> {
    let inputs = smaller_values(&step.input).into_iter();
    let mut steps: Vec<_> = inputs
        .map(|input| Step {
            input,
            ..step.clone()
        })
        .collect();
    if step.tokens.is_some() {
        steps.push(Step {
            tokens: None,
            ..step.clone()
        });
    }
    steps.extend(numbers(step.lasts_ms).into_iter().map(|lasts_ms| Step {
        lasts_ms,
        ..step.clone()
    }));
    steps
}

fn smaller_values(value: &Value) -> Vec<Value> {
    match value {
        Value::Object(members) => {
            let mut all = Vec::new();
            for (name, inner) in members {
                let mut without = members.clone();
                without.remove(name);
                all.push(Value::Object(without));
                for other in smaller_values(inner) {
                    let mut with = members.clone();
                    with.insert(name.clone(), other);
                    all.push(Value::Object(with));
                }
            }
            all
        }
        Value::Array(items) => {
            let mut all = Vec::new();
            for (index, inner) in items.iter().enumerate() {
                let mut without = items.clone();
                without.remove(index);
                all.push(Value::Array(without));
                for other in smaller_values(inner) {
                    let mut with = items.clone();
                    with[index] = other;
                    all.push(Value::Array(with));
                }
            }
            all
        }
        Value::String(text) => texts(text),
        Value::Number(number) => number.as_u64().map_or(Vec::new(), |number| {
            numbers(number).into_iter().map(Value::from).collect()
        }),
        Value::Bool(true) => vec![json!(false)],
        Value::Bool(false) | Value::Null => Vec::new(),
    }
}

fn texts(text: &str) -> Vec<Value> {
    let half = text.floor_char_boundary(text.len() / 2);
    let mut all = vec![
        String::new(),
        text[..half].to_owned(),
        text[half..].to_owned(),
    ];
    let places = text.char_indices().map(|(at, _)| at);
    all.extend(places.map(|at| {
        let mut shorter = text.to_owned();
        shorter.remove(at);
        shorter
    }));
    all.retain(|other| other.len() < text.len());
    all.into_iter().map(Value::from).collect()
}

/// Smaller numbers, in the order in which they are tried.
fn numbers(number: u64) -> Vec<u64> {
    let mut all = vec![0, 1, number / 10, number / 2, number.saturating_sub(1)];
    all.retain(|other| *other < number);
    all.dedup();
    all
}
