//! Tests the reactions to the events of a turn.

use super::*;

const OFF: Treatment = Treatment {
    mode: Mode::Off,
    grace_ms: 300,
    max_calls: 0,
    suppress_tail: false,
    dedup: false,
};

/// The reactions to these events in their order, with calls counted as the host counts them.
fn play(usual: Treatment, events: &[Event<'_>]) -> Vec<Reaction> {
    let rules = Rules {
        rules: Vec::new(),
        usual,
    };
    play_as(&rules, ANYBODY, events)
}

fn play_as(rules: &Rules, turn: Turn<'_>, events: &[Event<'_>]) -> Vec<Reaction> {
    let (mut calls, mut memo) = (0, Vec::new());
    let answer = |event: &Event<'_>| {
        let called = matches!(event, Event::Called { .. });
        calls += u32::from(called);
        let (reaction, remembered) = rules.observe(Turn { calls, ..turn }, *event, memo.clone());
        memo = remembered;
        calls -= u32::from(called && reaction == Reaction::Drop);
        reaction
    };
    events.iter().map(answer).collect()
}

const ANYBODY: Turn<'_> = Turn {
    caller: Caller {
        id: "anybody",
        tenant: None,
        groups: &[],
    },
    model: "codex-5",
    calls: 0,
};

#[expect(non_upper_case_globals, reason = "reads as the other events do")]
const Called: Event<'_> = call("search", "{}");

const fn call<'a>(name: &'a str, arguments: &'a str) -> Event<'a> {
    Event::Called { name, arguments }
}

use Event::{Quiet, Text};
use Reaction::{Drop, GoOn, HideTail, Stop, Wait};

#[test]
fn off_leaves_a_turn_alone() {
    assert_eq!(play(OFF, &[Called, Text, Called, Quiet]), [GoOn; 4]);
}

#[test]
fn first_stops_at_the_first_call() {
    let first = Treatment {
        mode: Mode::First,
        ..OFF
    };
    assert_eq!(play(first, &[Called]), [Stop]);
    let quietly = Treatment {
        suppress_tail: true,
        ..first
    };
    assert_eq!(play(quietly, &[Called]), [Stop]);
}

#[test]
fn a_burst_stops_when_no_call_follows_in_time() {
    let burst = Treatment {
        mode: Mode::Burst,
        grace_ms: 20,
        ..OFF
    };
    assert_eq!(
        play(burst, &[Called, Called, Quiet]),
        [Wait(20), Wait(20), Stop]
    );
}

#[test]
fn text_does_not_prolong_a_burst() {
    let burst = Treatment {
        mode: Mode::Burst,
        ..OFF
    };
    assert_eq!(
        play(burst, &[Called, Text, Called, Text, Quiet]),
        [Wait(300), GoOn, Wait(300), GoOn, Stop]
    );
    let quietly = Treatment {
        suppress_tail: true,
        ..burst
    };
    assert_eq!(
        play(quietly, &[Called, Text, Quiet]),
        [Wait(300), HideTail, Stop]
    );
}

#[test]
fn the_last_call_allowed_stops_a_turn_in_any_mode() {
    for mode in [Mode::Off, Mode::Burst] {
        for suppress_tail in [false, true] {
            let rules = Treatment {
                mode,
                max_calls: 2,
                suppress_tail,
                ..OFF
            };
            let reactions = play(rules, &[Called, Text, Called]);
            let stops: Vec<_> = reactions.iter().map(|reaction| *reaction == Stop).collect();
            assert_eq!(stops, [false, false, true], "{rules:?}");
        }
    }
    let first = Treatment {
        mode: Mode::First,
        max_calls: 2,
        ..OFF
    };
    assert_eq!(play(first, &[Called]), [Stop]);
}

#[test]
fn a_suppressed_tail_is_withheld_from_every_call_on() {
    let rules = Treatment {
        suppress_tail: true,
        ..OFF
    };
    assert_eq!(play(rules, &[Called, Text, Called]), [HideTail; 3]);
}

#[test]
fn a_repeated_call_is_left_out_and_not_counted() {
    let rules = Treatment {
        dedup: true,
        max_calls: 3,
        ..OFF
    };
    let events = [
        call("search", r#"{"q":1}"#),
        call("search", r#"{"q":1}"#),
        call("search", r#"{"q":2}"#),
        Text,
        call("search", r#"{"q":1}"#),
        call("find", r#"{"q":1}"#),
    ];
    assert_eq!(play(rules, &events), [GoOn, Drop, GoOn, GoOn, Drop, Stop]);
    assert_eq!(play(OFF, &events), [GoOn; 6], "only if that is asked for");
}

#[test]
fn a_repeated_call_does_not_prolong_a_burst() {
    let rules = Treatment {
        dedup: true,
        mode: Mode::Burst,
        ..OFF
    };
    assert_eq!(
        play(rules, &[Called, Called, Quiet]),
        [Wait(300), Drop, Stop]
    );
}

#[test]
fn what_is_remembered_is_bounded() {
    let rules = Rules {
        rules: Vec::new(),
        usual: Treatment { dedup: true, ..OFF },
    };
    let mut memo = Vec::new();
    for at in 0..3_000 {
        let arguments = at.to_string();
        let (reaction, remembered) = rules.observe(ANYBODY, call("f", &arguments), memo);
        assert_eq!(reaction, GoOn);
        memo = remembered;
    }
    assert_eq!(memo.len(), MOST_SEEN * 8);
    assert_eq!(rules.observe(ANYBODY, call("f", "0"), memo).0, Drop);
}

#[test]
fn the_first_rule_about_a_turn_applies_and_no_other() {
    let pattern = |text: &str| vec![Pattern::new(text)];
    let rules = Rules {
        rules: vec![
            Rule {
                who: Who::new(Vec::new(), pattern("obsidian"), Vec::new()),
                models: Vec::new(),
                treatment: Treatment {
                    mode: Mode::Burst,
                    ..OFF
                },
            },
            Rule {
                who: Who::default(),
                models: pattern("*-low"),
                treatment: Treatment {
                    mode: Mode::First,
                    ..OFF
                },
            },
        ],
        usual: OFF,
    };
    let groups = ["obsidian".to_owned()];
    let member = Caller {
        groups: &groups,
        ..ANYBODY.caller
    };
    let answer = |caller, model| {
        let turn = Turn {
            caller,
            model,
            calls: 1,
        };
        rules.observe(turn, Called, Vec::new()).0
    };
    assert_eq!(answer(member, "codex-5"), Wait(300));
    assert_eq!(answer(member, "codex-5-low"), Wait(300));
    assert_eq!(answer(ANYBODY.caller, "Codex-5-Low"), Stop);
    assert_eq!(answer(ANYBODY.caller, "codex-5"), GoOn);
}
