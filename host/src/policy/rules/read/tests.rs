//! The rules are read as their JSON Schema says, and every mistake is named with its place and what is expected there.

use serde_json::Value;

use super::super::super::digest::Digest;
use super::super::super::manifest::{schema, tests::mistakes_of};
use super::*;

/// How a document is judged.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Judged {
    Good,
    Bad,
    /// Only the reader finds it: JSON Schema cannot compare times.
    TimeOutOfRange,
}

use Judged::{Bad, Good, TimeOutOfRange};

/// Documents, as a `rollout.toml`.
#[rustfmt::skip]
const DOCUMENTS: &[(&str, Judged)] = &[
    ("", Good),
    ("probation = \"10m\"\nmax_denials = 0", Good),
    ("probation = \"1h 30m\"", Good),
    ("probation = \"0s\"", Good),
    ("probation = \"7days\"", Good),
    ("probation = \"8d\"", TimeOutOfRange),
    ("probation = \"soon\"", Bad),
    ("probation = \"\"", Bad),
    ("probation = 600", Bad),
    ("max_denials = 4294967295", Good),
    ("max_denials = 4294967296", Bad),
    ("max_denials = -1", Bad),
    ("max_denials = 1.5", Bad),
    ("max_denials = \"1\"", Bad),
    ("promote = false", Good),
    ("promote = \"yes\"", Bad),
    ("promote = true", Bad),
    ("keep = 3", Bad),
    ("for = \"10m\"", Bad),
    ("shadow = true", Bad),
    ("canary = []", Bad),
    ("[shadow]", Good),
    ("[shadow]\nfor = \"10m\"\nmin_decisions = 1000\nmax_differ = 5\nmax_faults = 0", Good),
    ("promote = true\n[shadow]", Good),
    ("[shadow]\nfor = \"30d\"\nmin_decisions = 0", Good),
    ("[shadow]\nfor = \"31d\"", TimeOutOfRange),
    ("[shadow]\nfor = \"0s\"", TimeOutOfRange),
    ("[shadow]\nfor = 10", Bad),
    ("[shadow]\nmin_decisions = 1000000001", Bad),
    ("[shadow]\nmax_differ = -3", Bad),
    ("[shadow]\nmax_faults = true", Bad),
    ("[shadow]\npromote = true", Bad),
    ("[shadow]\nmax_denials = 1", Bad),
    ("[canary]\ncallers = [\"ann\"]", Good),
    ("[canary]\ntenants = [\"acme\"]\nfor = \"1h\"\nmin_requests = 20", Good),
    ("[canary]\npercent = 5", Good),
    ("[canary]\npercent = 100\ncallers = []", Good),
    ("[canary]", Bad),
    ("[canary]\npercent = 0\ncallers = []", Bad),
    ("[canary]\npercent = 101", Bad),
    ("[canary]\npercent = -1", Bad),
    ("[canary]\ncallers = [\"\"]", Bad),
    ("[canary]\ncallers = [1]", Bad),
    ("[canary]\ncallers = \"ann\"", Bad),
    ("[canary]\ngroups = [\"a\"]", Bad),
    ("[canary]\npercent = 5\nmin_requests = 20", Bad),
    ("[canary]\npercent = 5\nfor = \"31d\"", TimeOutOfRange),
    ("promote = true\n[canary]\npercent = 5\nfor = \"1h\"", Good),
    ("promote = true\n[canary]\npercent = 5", Bad),
    ("promote = true\n[shadow]\n[canary]\npercent = 5", Bad),
    ("promote = true\n[shadow]\n[canary]\npercent = 5\nfor = \"10m\"", Good),
];

/// The same rules in `policies.toml`.
fn in_policies(text: &str) -> String {
    format!("[rollout]\n{text}").replace("\n[", "\n[rollout.")
}

fn is_valid(schema: &Value, text: &str) -> bool {
    let document: Value = toml::from_str(text).unwrap();
    jsonschema::validator_for(schema)
        .unwrap()
        .is_valid(&document)
}

#[test]
fn the_reader_and_the_schema_judge_alike() {
    let (of_policies, of_rollout) = (schema(false), schema(true));
    assert!(jsonschema::meta::is_valid(&of_policies) && jsonschema::meta::is_valid(&of_rollout));
    for (text, judged) in DOCUMENTS {
        let read = Own::read(text.as_bytes());
        assert_eq!(read.is_ok(), *judged == Good, "{text}: {read:?}");
        assert_eq!(is_valid(&of_rollout, text), *judged != Bad, "{text}");
        let text = in_policies(text);
        let mistakes = mistakes_of(&text);
        assert_eq!(mistakes.is_empty(), *judged == Good, "{text}: {mistakes:?}");
        assert_eq!(is_valid(&of_policies, &text), *judged != Bad, "{text}");
    }
}

#[test]
fn only_the_folder_accepts_digests() {
    let text = "accept = [\"9c1e41ab02f3\"]";
    assert!(Own::read(text.as_bytes()).is_err() && !is_valid(&schema(true), text));
    let text = in_policies(text);
    assert!(mistakes_of(&text).is_empty() && is_valid(&schema(false), &text));
    for wrong in [
        "[\"9c1e\"]",
        "[\"9C1E41AB02F3\"]",
        "\"9c1e41ab02f3\"",
        "[7]",
    ] {
        let text = in_policies(&format!("accept = {wrong}"));
        assert!(!mistakes_of(&text).is_empty(), "{text}");
        assert!(!is_valid(&schema(false), &text), "{text}");
    }
}

#[test]
fn all_mistakes_are_told_with_their_places_and_what_is_expected() {
    let text = "promote = true\nprobation = 7\nkeep = true\n\n[shadow]\nfor = \"31d\"\nmin_decisions = \"many\"\n\n\
                [canary]\ncallers = [\"\"]\npercent = 200\nmin_requests = 5\n";
    let expected = [
        "line 2, probation: expected a time as \"10m\", at most \"7d\", or \"0s\" for none, found 7",
        "line 3, keep: expected one of shadow, canary, promote, probation, max_denials, found another name",
        "line 6, [shadow] for: expected a time as \"10m\", from \"1s\" to \"30d\", found \"31d\"",
        "line 7, [shadow] min_decisions: expected a whole number from 0 to 1000000000, found \"many\"",
        "line 10, [canary] callers: expected a list of at most 256 names, each of 1 to 256 characters, in quotes, found a \
         list of \"\"",
        "line 11, [canary] percent: expected a whole number from 0 to 100, found 200",
        "line 12, [canary] min_requests: expected a member `for` beside it, at whose end requests are counted, found none",
        "line 9, canary: expected a member `for`, since with `promote` it ends by itself, found none",
    ];
    assert_eq!(Own::read(text.as_bytes()).unwrap_err(), expected);
    let in_folder = mistakes_of(&in_policies(text));
    assert_eq!(
        in_folder[2],
        expected[2].replace("line 6, [shadow]", "line 7, [rollout.shadow]")
    );
    let promoted = Own::read(b"promote = true").unwrap_err();
    let expected = "line 1, promote: expected a table `shadow` or `canary` that the candidate passes before, found none";
    assert_eq!(promoted, [expected]);
    let nobody = Own::read(b"[canary]\nfor = \"1h\"").unwrap_err();
    let expected =
        "line 1, canary: expected `callers`, `tenants`, or a `percent` above 0, found none";
    assert_eq!(nobody, [expected]);
}

#[test]
fn a_text_that_is_no_toml_or_too_long_is_told() {
    let error = Own::read(b"[shadow\n").unwrap_err().join("; ");
    assert!(error.starts_with("line 1: expected TOML"), "{error}");
    let error = Own::read(b"# \xe9").unwrap_err().join("; ");
    assert!(
        error.starts_with("line 1: expected text in UTF-8"),
        "{error}"
    );
    let error = Own::read(&vec![b'\n'; MAX_BYTES + 1])
        .unwrap_err()
        .join("; ");
    assert!(error.contains("at most 65536 bytes"), "{error}");
    let many = (0..1_000).map(|number| format!("x{number} = 1\n"));
    let mistakes = Own::read(many.collect::<String>().as_bytes()).unwrap_err();
    assert_eq!(mistakes.len(), 65);
    assert_eq!(mistakes[64], "936 further mistakes");
}

#[test]
fn the_last_step_is_the_one_that_promotes() {
    let read = |text: &str| Own::read(text.as_bytes()).unwrap().steps;
    let Steps { shadow, canary, .. } = read("promote = true\n[shadow]\nfor = \"5m\"");
    let expected = Gate {
        duration: Duration::from_secs(300),
        promote: true,
        ..Gate::default()
    };
    assert_eq!((shadow, canary), (Some(expected), None));
    let steps = read("promote = true\n[shadow]\n[canary]\npercent = 5\nfor = \"1h\"");
    assert_eq!(steps.shadow, Some(Gate::default()));
    let canary = steps.canary.unwrap();
    assert!(canary.promote && canary.who.percent == 5 && canary.min_requests == 1);
    assert_eq!(canary.duration, Some(Duration::from_secs(3_600)));
    let steps = read("[shadow]\n[canary]\npercent = 5");
    assert!(!steps.canary.unwrap().promote && !steps.shadow.unwrap().promote);
}

#[test]
fn rules_of_a_candidate_take_the_place_of_the_folders() {
    let folder = Rules {
        steps: Steps {
            shadow: Some(Gate::default()),
            ..Steps::default()
        },
        probation: Duration::from_secs(60),
        max_denials: Some(3),
        accept: vec!["9c1e41ab02f3".to_owned()],
    };
    let rules = folder.clone().with(Own::read(b"").unwrap());
    let expected = Rules {
        steps: Steps::default(),
        ..folder.clone()
    };
    assert_eq!(rules, expected);
    let own = Own::read(b"probation = \"0s\"\nmax_denials = 9").unwrap();
    let rules = folder.with(own);
    assert_eq!(
        (rules.probation, rules.max_denials),
        (Duration::ZERO, Some(9))
    );
}

#[test]
fn accepted_digests_are_named_by_their_first_digits() {
    let digest = |byte| Digest::of_generation([Digest::from([byte; 32]); 4]);
    let rules = Rules {
        accept: vec![digest(1).short()],
        ..Rules::default()
    };
    assert!(rules.accepts(digest(1)) && !rules.accepts(digest(2)));
    assert!(!Rules::default().accepts(digest(1)));
}
