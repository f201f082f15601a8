//! The inputs that a search makes, without any policy.

use serde_json::{Value, json};

use super::super::super::Slot;
use super::super::super::needs::Needs;
use super::super::diff::Script;
use super::dice::Dice;
use super::mutate::Maker;
use super::words::Words;

fn words(settings: [&Value; 2]) -> Words {
    Words::new(settings, [b"", b""])
}

fn maker(slot: Slot, seed: u64) -> Maker {
    let settings = json!({"rules": [{"callers": ["ann"], "models": ["gpt-*"], "limit": 3, "window_ms": 60_000}]});
    let needs = Needs::everything().words();
    Maker::new(slot, &needs, words([&settings, &settings]), Dice::new(seed))
}

fn made(slot: Slot, seed: u64, count: usize) -> Vec<Script> {
    let mut maker = maker(slot, seed);
    let mut scripts = maker.first();
    while scripts.len() < count {
        let at = maker.dice.below(scripts.len());
        let (script, other) = (scripts[at].clone(), scripts[0].clone());
        scripts.push(maker.change(&script, &other));
    }
    scripts
}

#[test]
fn every_input_can_be_put() {
    for slot in Slot::ALL {
        for script in made(slot, 3, 2_000) {
            let mut before = script.start_ms;
            for step in &script.steps {
                let read = step.read(slot, script.start_ms);
                assert!(read.is_ok(), "{slot}: {:?} {:#}", read.err(), step.input);
                assert!(step.now_ms >= before, "time does not run backwards");
                before = step.now_ms;
            }
        }
    }
}

#[test]
fn inputs_are_bounded() {
    for slot in Slot::ALL {
        for script in made(slot, 4, 2_000) {
            assert!(script.steps.len() <= 256, "{}", script.steps.len());
            let long = script.steps.iter().map(|step| step.input.to_string().len());
            assert!(long.max() < Some(16 << 10));
        }
    }
}

#[test]
fn the_same_seed_makes_the_same_inputs() {
    let inputs = |seed| -> Vec<String> {
        let scripts = made(Slot::RateLimit, seed, 300).into_iter();
        scripts.map(|script| format!("{script:?}")).collect()
    };
    assert_eq!(inputs(1), inputs(1));
    assert_ne!(inputs(1), inputs(2));
}

#[test]
fn words_that_only_one_of_the_settings_has_come_often() {
    let callers = |ids: Vec<String>| json!({"callers": ids});
    let many: Vec<_> = (0..1_000)
        .map(|number| format!("caller-{number}"))
        .collect();
    let more = [many.clone(), vec!["the-new-one".to_owned()]].concat();
    let words = words([&callers(many), &callers(more)]);
    let mut dice = Dice::new(1);
    let found = (0..100).filter_map(|_| words.named(&mut dice, &["caller"]));
    assert!(found.filter(|text| text == "the-new-one").count() > 20);
}

#[test]
fn a_number_comes_with_its_neighbours_and_a_pattern_with_texts_that_fit() {
    let words = words([&json!({"limit": 60}), &json!({"models": ["gpt-*"]})]);
    let mut dice = Dice::new(1);
    let mut numbers: Vec<_> = (0..100).filter_map(|_| words.number(&mut dice)).collect();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers, [59, 60, 61]);
    let mut models: Vec<_> = (0..100)
        .filter_map(|_| words.named(&mut dice, &["model"]))
        .collect();
    models.sort();
    models.dedup();
    assert_eq!(models, ["gpt-", "gpt-*", "gpt-x"]);
}
