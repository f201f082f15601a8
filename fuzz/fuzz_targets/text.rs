//! Cuts an answer's text into any pieces: the answer stays the same, with blocks, stop sequences, limits and policies.

#![no_main]

use arbitrary::Arbitrary;
use codex_gateway::codex::{Event, TurnOutcome, Usage};
use codex_gateway::policy::tool_stop::{Event as Question, Reaction};
use codex_gateway::turn::machine::{Input, Machine, Output};
use codex_gateway::turn::{Delta, Rules, Textual};
use libfuzzer_sys::fuzz_target;

#[derive(Debug, Arbitrary)]
struct Turn {
    text: String,
    cuts: Vec<u16>,
    stop: Vec<String>,
    max_tokens: Option<u8>,
    textual: Kind,
    /// The policy's reactions to its questions, in order; after the last one it lets everything pass.
    verdicts: Vec<Verdict>,
}

#[derive(Debug, Clone, Copy, Arbitrary)]
enum Kind {
    Ignored,
    Text,
    Calls,
}

#[derive(Debug, Clone, Copy, Arbitrary)]
enum Verdict {
    GoOn,
    Wait,
    Drop,
    HideTail,
    Stop,
}

/// The client's deltas, with text joined, and the questions the policy was asked.
#[derive(Debug, PartialEq)]
struct Told {
    deltas: Vec<Delta>,
    questions: Vec<Question>,
}

fuzz_target!(|turn: Turn| {
    let whole = tell(&turn, &[&turn.text]);
    assert_eq!(tell(&turn, &pieces(&turn)), whole);
    let characters: Vec<&str> = turn
        .text
        .split("")
        .filter(|text| !text.is_empty())
        .collect();
    assert_eq!(tell(&turn, &characters), whole);
    let plain = matches!(turn.textual, Kind::Ignored) && turn.stop.iter().all(String::is_empty);
    if plain && turn.max_tokens.is_none() {
        assert_eq!(text(&whole.deltas), turn.text, "nothing is lost");
    }
    assert!(
        turn.text.starts_with(&text(&whole.deltas)) || !plain,
        "nothing is invented"
    );
});

fn pieces(turn: &Turn) -> Vec<&str> {
    let text = turn.text.as_str();
    let mut cuts: Vec<usize> = turn
        .cuts
        .iter()
        .map(|cut| text.floor_char_boundary(usize::from(*cut) % (text.len() + 1)))
        .collect();
    cuts.extend([0, text.len()]);
    cuts.sort_unstable();
    cuts.windows(2)
        .map(|pair| &text[pair[0]..pair[1]])
        .collect()
}

fn tell(turn: &Turn, pieces: &[&str]) -> Told {
    let mut machine = Machine::new(Rules {
        stop: turn.stop.clone(),
        max_tokens: turn.max_tokens.map(u64::from),
        textual_tools: match turn.textual {
            Kind::Ignored => Textual::Ignored,
            Kind::Text => Textual::Text,
            Kind::Calls => Textual::Calls {
                id_prefix: "call_".to_owned(),
            },
        },
        ..Rules::default()
    });
    let mut told = Told {
        deltas: Vec::new(),
        questions: Vec::new(),
    };
    let texts = pieces.iter().map(|piece| Event::Text((*piece).to_owned()));
    let end = [
        Event::Sampled(Usage::default()),
        Event::Ended(TurnOutcome::Completed),
    ];
    for event in texts.chain(end) {
        if machine.is_done() {
            break;
        }
        let mut input = Some(Input::Event(event));
        while let Some(next) = input.take() {
            let mut outputs = Vec::new();
            machine.step(next, &mut outputs);
            for output in outputs {
                match output {
                    Output::Emit(delta) => emit(&mut told.deltas, delta),
                    Output::Ask(question) => {
                        input = Some(Input::Verdict(told.answer(question, turn)))
                    }
                    Output::Arm(_) | Output::Interrupt => {}
                }
            }
        }
    }
    assert!(machine.is_done(), "a turn has an end");
    told
}

/// Adds a delta, and joins text: the answer does not depend on its pieces.
fn emit(deltas: &mut Vec<Delta>, delta: Delta) {
    let ended = matches!(deltas.last(), Some(Delta::End { .. } | Delta::Failed(_)));
    assert!(!ended, "something follows the end");
    match (deltas.last_mut(), delta) {
        (Some(Delta::Text(text)), Delta::Text(more)) => text.push_str(&more),
        (_, delta) => deltas.push(delta),
    }
}

impl Told {
    fn answer(&mut self, question: Question, turn: &Turn) -> Reaction {
        let reaction = match turn.verdicts.get(self.questions.len()) {
            None | Some(Verdict::GoOn) => Reaction::GoOn,
            Some(Verdict::Wait) => Reaction::Wait(1),
            Some(Verdict::Drop) => Reaction::Drop,
            Some(Verdict::HideTail) => Reaction::HideTail,
            Some(Verdict::Stop) => Reaction::Stop,
        };
        self.questions.push(match question {
            // The size of a piece depends on the cuts, so it is not compared.
            Question::TextAfterCalls(_) => Question::TextAfterCalls(0),
            other => other,
        });
        reaction
    }
}

fn text(deltas: &[Delta]) -> String {
    let texts = deltas.iter().filter_map(|delta| match delta {
        Delta::Text(text) => Some(text.as_str()),
        _ => None,
    });
    texts.collect()
}
