//! Every state of a candidate and of a probation, with every input: the next state, and the output after `>`; `=` is none of both.

use super::super::super::callers::Canary;
use super::*;

const HALF: Duration = Duration::from_secs(30);

/// The candidate that is looked at, and one beside it.
const IT: u8 = 7;
const OTHER: u8 = 8;

#[rustfmt::skip]
const CANDIDATE: &str = "
                   | absent | ready  | shadow         | shadow, canary  | shadow, promote  | canary         | canary, promote  | passed | failed         | unseen
prepared           | ready  | ready  | ready          | ready           | ready            | ready          | ready            | ready  | ready          | ready
shadowed           | =      | shadow | shadow         | shadow          | shadow           | shadow         | shadow           | shadow | shadow         | shadow
canaried           | =      | canary | canary         | canary          | canary           | canary         | canary           | canary | canary         | canary
steered            | =      | =      | =              | =               | =                | ready          | ready            | =      | =              | =
dropped            | =      | absent | absent         | absent          | absent           | absent         | absent           | absent | absent         | absent
failed             | =      | failed > untry | failed > untry | failed > untry | failed > untry | failed > untry | failed > untry | failed > untry | = | failed > untry
seen early         | =      | =      | =              | =               | =                | =              | =                | =      | =              | =
seen at the end    | =      | =      | passed > stay  | passed > canary | passed > promote | =              | =                | =      | =              | =
seen too few       | =      | =      | unseen > stay  | unseen > stay   | unseen > stay    | =              | =                | =      | =              | =
seen differing     | =      | =      | failed > stay  | failed > stay   | failed > stay    | =              | =                | =      | =              | =
seen failing       | =      | =      | failed > stay  | failed > stay   | failed > stay    | =              | =                | =      | =              | =
decided early      | =      | =      | =              | =               | =                | =              | =                | =      | =              | =
decided at the end | =      | =      | =              | =               | =                | passed > stay  | passed > promote | =      | =              | =
decided too few    | =      | =      | =              | =               | =                | unseen > stay  | unseen > stay    | =      | =              | =
activated          | =      | absent | absent         | absent          | absent           | absent         | absent           | absent | absent         | absent
taken back         | = > back | absent > back | absent > back | absent > back | absent > back | absent > back | absent > back | absent > back | absent > back | absent > back
blamed, serving no longer | = | =    | =              | =               | =                | =              | =                | =      | =              | =
accepted           | = > keep | = > keep | = > keep   | = > keep        | = > keep         | = > keep       | = > keep         | = > keep | = > keep     | = > keep
looked             | =      | =      | =              | =               | =                | =              | =                | =      | =              | =
";

#[rustfmt::skip]
const PROBATION: &str = "
                          | none  | lasts       | over
activated                 | lasts | lasts       | lasts
activated without         | none  | none        | none
activated again           | none  | none        | none
taken back                | =     | none > back | =
denials beyond            | =     | none > back | =
denials within            | =     | =           | =
blamed, serving no longer | =     | =           | =
accepted                  | =     | none > keep | none > keep
accepted, another         | =     | =           | =
looked                    | =     | =           | none > keep
prepared                  | =     | =           | =
shadowed                  | =     | =           | =
canaried                  | =     | =           | =
steered                   | =     | =           | =
dropped                   | =     | =           | =
failed                    | =     | =           | =
seen at the end           | =     | =           | =
decided at the end        | =     | =           | =
";

fn gate(promote: bool) -> Gate {
    Gate {
        duration: MINUTE,
        min_decisions: 10,
        max_differ: Some(3),
        max_faults: 1,
        promote,
    }
}

fn canary(promote: bool) -> CanaryStep {
    CanaryStep {
        who: Canary::default(),
        duration: Some(MINUTE),
        min_requests: 10,
        promote,
    }
}

/// The input of a row, and whether it comes when a minute is over.
#[expect(clippy::too_many_lines, reason = "a table")]
fn input(row: &str) -> (Input, bool) {
    let digest = digest(IT);
    let seen = |decisions, differ, faults| Input::Seen {
        digest,
        seen: Seen {
            slot: "auth",
            decisions,
            differ,
            faults,
        },
    };
    let decided = |requests| Input::Decided { digest, requests };
    let denials = |count| Input::Blamed {
        digest: super::digest(2),
        charge: Charge::Denials(count),
        why: String::new(),
    };
    let activation = |name, probation| Input::Activated {
        digest: super::digest(name),
        before: super::digest(2),
        probation,
        max_denials: None,
    };
    let input = match row {
        "prepared" => Input::Prepared { digest },
        "shadowed" => Input::Shadowed {
            digest,
            gate: gate(false),
            canary: None,
        },
        "canaried" => Input::Canaried {
            digest,
            step: canary(false),
        },
        "steered" => Input::Steered { digest },
        "dropped" => Input::Dropped { digest },
        "failed" => Input::Failed {
            digest,
            why: String::new(),
        },
        "seen early" => seen(10, 3, 1),
        "seen at the end" => return (seen(10, 3, 1), true),
        "seen too few" => return (seen(9, 0, 0), true),
        "seen differing" => seen(5, 4, 0),
        "seen failing" => seen(5, 0, 2),
        "decided early" => decided(10),
        "decided at the end" => return (decided(10), true),
        "decided too few" => return (decided(9), true),
        "activated" => activation(3, MINUTE),
        "activated without" => activation(3, Duration::ZERO),
        "activated again" => activation(2, MINUTE),
        "taken back" => blamed(2),
        "denials beyond" => denials(4),
        "denials within" => denials(3),
        "blamed, serving no longer" => blamed(3),
        "accepted" => Input::Accepted {
            digest: super::digest(2),
        },
        "accepted, another" => Input::Accepted {
            digest: super::digest(3),
        },
        "looked" => Input::Looked,
        other => panic!("no input: {other}"),
    };
    (input, false)
}

/// A machine whose candidate is in this state, beside another candidate, and whose policies are on a long probation.
fn with_candidate(state: &str) -> Rollout {
    let mut rollout = Rollout::default();
    let digest = digest(IT);
    let mut step = |input| rollout.step(Duration::ZERO, input);
    step(Input::Activated {
        digest: super::digest(2),
        before: super::digest(1),
        probation: 2 * MINUTE,
        max_denials: Some(3),
    });
    step(Input::Prepared {
        digest: super::digest(OTHER),
    });
    if state == "absent" {
        return rollout;
    }
    step(Input::Prepared { digest });
    let shadowed = |promote, canary| Input::Shadowed {
        digest,
        gate: gate(promote),
        canary,
    };
    let inputs = match state {
        "ready" => vec![],
        "shadow" => vec![shadowed(false, None)],
        "shadow, canary" => vec![shadowed(false, Some(canary(false)))],
        "shadow, promote" => vec![shadowed(true, None)],
        "canary" | "canary, promote" => {
            let step = canary(state.ends_with("promote"));
            vec![Input::Canaried { digest, step }]
        }
        "passed" | "unseen" => {
            let gate = Gate {
                duration: Duration::ZERO,
                min_decisions: if state == "passed" { 0 } else { 10 },
                ..gate(false)
            };
            let seen = Seen {
                decisions: 1,
                ..Seen::default()
            };
            let shadowed = Input::Shadowed {
                digest,
                gate,
                canary: None,
            };
            vec![shadowed, Input::Seen { digest, seen }]
        }
        "failed" => vec![input("failed").0],
        other => panic!("no state: {other}"),
    };
    for input in inputs {
        step(input);
    }
    rollout
}

fn with_probation(state: &str) -> Rollout {
    let mut rollout = Rollout::default();
    if state != "none" {
        let input = Input::Activated {
            digest: digest(2),
            before: digest(1),
            probation: if state == "lasts" { 2 * MINUTE } else { HALF },
            max_denials: Some(3),
        };
        rollout.step(Duration::ZERO, input);
    }
    rollout
}

fn stage(rollout: &Rollout) -> &'static str {
    match rollout.stage(digest(IT)) {
        None => "absent",
        Some(Stage::Ready) => "ready",
        Some(Stage::Shadow {
            canary: Some(_), ..
        }) => "shadow, canary",
        Some(Stage::Shadow { gate, .. }) if gate.promote => "shadow, promote",
        Some(Stage::Shadow { .. }) => "shadow",
        Some(Stage::Canary { step, .. }) if step.promote => "canary, promote",
        Some(Stage::Canary { .. }) => "canary",
        Some(Stage::Passed) => "passed",
        Some(Stage::Failed(_)) => "failed",
        Some(Stage::Unseen(_)) => "unseen",
    }
}

fn probation(rollout: &Rollout) -> &'static str {
    match rollout.on_probation_until() {
        None => "none",
        Some(until) if until == HALF => "over",
        Some(_) => "lasts",
    }
}

fn output(output: Option<Output>) -> &'static str {
    match output {
        None => "",
        Some(Output::Keep(_)) => " > keep",
        Some(Output::TakeBack { .. }) => " > back",
        Some(Output::Untry { .. }) => " > untry",
        Some(Output::Unshadow { next, .. } | Output::Uncanary { next, .. }) => match next {
            Next::Stay => " > stay",
            Next::Canary(_) => " > canary",
            Next::Promote => " > promote",
        },
    }
}

/// The cells of a table: state, input, and what is expected.
fn cells(table: &str) -> Vec<(&str, &str, &str)> {
    let mut rows = table.lines().skip(1).map(|row| {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        cells
    });
    let states = rows.next().unwrap();
    let mut found = Vec::new();
    for row in rows {
        assert_eq!(row.len(), states.len(), "{row:?}");
        let of_row = states.iter().zip(&row).skip(1);
        found.extend(of_row.map(|(state, cell)| (*state, row[0], *cell)));
    }
    found
}

#[test]
fn every_state_of_a_candidate_with_every_input() {
    let cells = cells(CANDIDATE);
    assert_eq!(cells.len(), 10 * 19);
    for (state, row, expected) in cells {
        let mut rollout = with_candidate(state);
        assert_eq!(stage(&rollout), state);
        let (input, is_over) = input(row);
        let now = if is_over { MINUTE } else { HALF };
        let output = output(rollout.step(now, input));
        let found = match stage(&rollout) {
            found if found == state && !expected.starts_with(found) => "=",
            found => found,
        };
        assert_eq!(format!("{found}{output}"), expected, "{state}, {row}");
        // The candidate beside it is only in the way of what ends them all.
        let is_ended = ["activated", "taken back"].contains(&row);
        let other = rollout.stage(digest(OTHER));
        assert_eq!(other.is_none(), is_ended, "{state}, {row}");
    }
}

#[test]
fn every_state_of_a_probation_with_every_input() {
    for (state, row, expected) in cells(PROBATION) {
        let mut rollout = with_probation(state);
        assert_eq!(probation(&rollout), state);
        let (input, _) = input(row);
        let output = output(rollout.step(HALF, input));
        let found = match probation(&rollout) {
            found if found == state && !expected.starts_with(found) => "=",
            found => found,
        };
        assert_eq!(format!("{found}{output}"), expected, "{state}, {row}");
        let is_refused = rollout.verdict(digest(2)).is_some();
        assert_eq!(is_refused, expected.ends_with("back"), "{state}, {row}");
    }
}

#[test]
fn a_canary_without_an_end_lasts() {
    let mut rollout = with_candidate("ready");
    let step = CanaryStep {
        duration: None,
        ..canary(false)
    };
    let digest = digest(IT);
    rollout.step(Duration::ZERO, Input::Canaried { digest, step });
    let requests = u64::MAX;
    let later = rollout.step(1_000 * MINUTE, Input::Decided { digest, requests });
    assert_eq!((later, stage(&rollout)), (None, "canary"));
}

#[test]
fn the_reasons_name_what_was_found_and_what_is_allowed() {
    for (row, why) in [
        ("seen too few", "9 decisions of auth seen (at least 10)"),
        ("seen differing", "4 decisions differ (at most 3)"),
        ("seen failing", "2 faults (at most 1)"),
    ] {
        let mut rollout = with_candidate("shadow");
        rollout.step(MINUTE, input(row).0);
        let (Some(Stage::Failed(found)) | Some(Stage::Unseen(found))) = rollout.stage(digest(IT))
        else {
            panic!("{row}");
        };
        assert_eq!(found, why);
    }
    let mut rollout = with_candidate("canary");
    rollout.step(MINUTE, input("decided too few").0);
    let expected = Stage::Unseen("9 requests decided (at least 10)".to_owned());
    assert_eq!(rollout.stage(digest(IT)), Some(&expected));
}
