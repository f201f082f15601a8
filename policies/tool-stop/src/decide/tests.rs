//! Tests the reactions to the events of a turn.

use codex_policy::Caller;

use super::*;

const OFF: Treatment = Treatment {
    mode: Mode::Off,
    grace_ms: 300,
    max_calls: 0,
    suppress_tail: false,
    dedup: false,
};

/// The reactions to these events in their order, with calls counted as the host counts them.
fn play(usual: Treatment, events: &[Event]) -> Vec<Reaction> {
    let rules = Rules {
        rules: Vec::new(),
        usual,
    };
    play_as(&rules, events)
}

fn play_as(rules: &Rules, events: &[Event]) -> Vec<Reaction> {
    let (mut calls, mut memo) = (0, Vec::new());
    let answer = |event: &Event| {
        let called = matches!(event, Event::Called(_));
        calls += u32::from(called);
        let progress = Progress { calls, ..anybody() };
        let (reaction, remembered) = rules.observe(&progress, event, memo.clone());
        memo = remembered;
        calls -= u32::from(called && reaction == Reaction::Drop);
        reaction
    };
    events.iter().map(answer).collect()
}

fn anybody() -> Progress {
    Progress {
        caller: Caller::new("anybody"),
        model: "codex-5".to_owned(),
        ..Progress::default()
    }
}

fn called() -> Event {
    call("search", "{}")
}

fn call(name: &str, arguments: &str) -> Event {
    Event::Called(Call {
        name: name.to_owned(),
        arguments: arguments.to_owned(),
        ..Call::default()
    })
}

#[expect(non_upper_case_globals, reason = "reads as the reactions do")]
const Text: Event = Event::TextAfterCalls(7);
#[expect(non_upper_case_globals, reason = "reads as the reactions do")]
const Quiet: Event = Event::Quiet(300);

use Reaction::{Drop, GoOn, HideTail, Stop, Wait};

#[test]
fn off_leaves_a_turn_alone() {
    assert_eq!(play(OFF, &[called(), Text, called(), Quiet]), [GoOn; 4]);
}

#[test]
fn first_stops_at_the_first_call() {
    let first = Treatment {
        mode: Mode::First,
        ..OFF
    };
    assert_eq!(play(first, &[called()]), [Stop]);
    let quietly = Treatment {
        suppress_tail: true,
        ..first
    };
    assert_eq!(play(quietly, &[called()]), [Stop]);
}

#[test]
fn a_burst_stops_when_no_call_follows_in_time() {
    let burst = Treatment {
        mode: Mode::Burst,
        grace_ms: 20,
        ..OFF
    };
    assert_eq!(
        play(burst, &[called(), called(), Quiet]),
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
        play(burst, &[called(), Text, called(), Text, Quiet]),
        [Wait(300), GoOn, Wait(300), GoOn, Stop]
    );
    let quietly = Treatment {
        suppress_tail: true,
        ..burst
    };
    assert_eq!(
        play(quietly, &[called(), Text, Quiet]),
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
            let reactions = play(rules, &[called(), Text, called()]);
            let stops: Vec<_> = reactions.iter().map(|reaction| *reaction == Stop).collect();
            assert_eq!(stops, [false, false, true], "{rules:?}");
        }
    }
    let first = Treatment {
        mode: Mode::First,
        max_calls: 2,
        ..OFF
    };
    assert_eq!(play(first, &[called()]), [Stop]);
}

#[test]
fn a_suppressed_tail_is_withheld_from_every_call_on() {
    let rules = Treatment {
        suppress_tail: true,
        ..OFF
    };
    assert_eq!(play(rules, &[called(), Text, called()]), [HideTail; 3]);
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
        play(rules, &[called(), called(), Quiet]),
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
        let (reaction, remembered) = rules.observe(&anybody(), &call("f", &arguments), memo);
        assert_eq!(reaction, GoOn);
        memo = remembered;
    }
    assert_eq!(memo.len(), MOST_SEEN * 8);
    assert_eq!(rules.observe(&anybody(), &call("f", "0"), memo).0, Drop);
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
    let member = Caller {
        groups: vec!["obsidian".to_owned()],
        ..anybody().caller
    };
    let answer = |caller: &Caller, model: &str| {
        let turn = Progress {
            caller: caller.clone(),
            model: model.to_owned(),
            calls: 1,
            ..Progress::default()
        };
        rules.observe(&turn, &called(), Vec::new()).0
    };
    assert_eq!(answer(&member, "codex-5"), Wait(300));
    assert_eq!(answer(&member, "codex-5-low"), Wait(300));
    assert_eq!(answer(&anybody().caller, "Codex-5-Low"), Stop);
    assert_eq!(answer(&anybody().caller, "codex-5"), GoOn);
}
