//! All orders of activations, faults and time; `table` has every state with every input.

mod table;

use proptest::prelude::*;

use super::*;

const MINUTE: Duration = Duration::from_secs(60);

fn digest(name: u8) -> Digest {
    Digest::of_generation([Digest::from([name; 32]); 4])
}

fn activated(name: u8, before: u8) -> Input {
    Input::Activated {
        digest: digest(name),
        before: digest(before),
        probation: MINUTE,
        max_denials: None,
    }
}

fn blamed(name: u8) -> Input {
    Input::Blamed {
        digest: digest(name),
        charge: Charge::Fault,
        why: format!("fault of {name}"),
    }
}

#[test]
fn the_first_fault_on_probation_takes_back_and_the_digest_stays_refused() {
    let mut rollout = Rollout::default();
    assert_eq!(rollout.step(Duration::ZERO, activated(2, 1)), None);
    assert_eq!(rollout.on_probation_until(), Some(MINUTE));
    let back = Output::TakeBack {
        digest: digest(2),
        to: digest(1),
    };
    let late = MINUTE - Duration::from_millis(1);
    assert_eq!(rollout.step(late, blamed(2)), Some(back));
    assert_eq!(rollout.step(late, blamed(2)), None, "once");
    assert_eq!(rollout.on_probation_until(), None);
    let verdict = Verdict::TakenBack("fault of 2".to_owned());
    assert_eq!(rollout.verdict(digest(2)), Some(&verdict));
    assert_eq!(rollout.verdict(digest(1)), None);
    // Somebody accepts it all the same.
    rollout.step(2 * MINUTE, activated(2, 1));
    assert_eq!(rollout.verdict(digest(2)), None);
}

#[test]
fn after_the_probation_a_policy_is_kept_whatever_it_does() {
    let mut rollout = Rollout::default();
    rollout.step(Duration::ZERO, activated(2, 1));
    assert_eq!(rollout.step(MINUTE / 2, Input::Looked), None);
    assert_eq!(rollout.step(MINUTE, blamed(2)), None);
    let kept = Some(Output::Keep(digest(2)));
    assert_eq!(rollout.step(MINUTE, Input::Looked), kept);
    assert_eq!(rollout.step(MINUTE, Input::Looked), None);
    assert_eq!(rollout.step(MINUTE, blamed(2)), None);
}

#[test]
fn the_operator_ends_a_probation() {
    let mut rollout = Rollout::default();
    rollout.step(Duration::ZERO, activated(2, 1));
    let accepted = |name| Input::Accepted {
        digest: digest(name),
    };
    assert_eq!(rollout.step(Duration::ZERO, accepted(1)), None);
    let kept = Some(Output::Keep(digest(2)));
    assert_eq!(rollout.step(Duration::ZERO, accepted(2)), kept);
    assert_eq!(rollout.step(Duration::ZERO, blamed(2)), None);
}

#[test]
fn denials_count_only_if_they_are_limited_and_are_let_pass_up_to_the_limit() {
    for (max_denials, passing) in [(None, 1_000), (Some(0), 0), (Some(3), 3)] {
        let mut rollout = Rollout::default();
        let input = Input::Activated {
            digest: digest(2),
            before: digest(1),
            probation: MINUTE,
            max_denials,
        };
        rollout.step(Duration::ZERO, input);
        let denied = |name, count| Input::Blamed {
            digest: digest(name),
            charge: Charge::Denials(count),
            why: "denied".to_owned(),
        };
        for count in 1..=passing {
            let next = rollout.step(MINUTE / 2, denied(2, count));
            assert_eq!(next, None, "{max_denials:?}");
            let another = rollout.step(MINUTE / 2, denied(3, u64::MAX));
            assert_eq!(another, None);
        }
        let next = rollout.step(MINUTE / 2, denied(2, passing + 1));
        assert_eq!(next.is_some(), max_denials.is_some(), "{max_denials:?}");
    }
}

#[test]
fn without_a_probation_or_a_change_there_is_none() {
    for (before, probation) in [(1, Duration::ZERO), (2, MINUTE)] {
        let mut rollout = Rollout::default();
        let input = Input::Activated {
            digest: digest(2),
            before: digest(before),
            probation,
            max_denials: None,
        };
        rollout.step(Duration::ZERO, input);
        assert_eq!(rollout.step(Duration::ZERO, blamed(2)), None);
    }
}

#[test]
fn as_many_refused_digests_are_kept_as_fit_the_newest_first() {
    let names = 0..=MOST_REFUSED as u8;
    let failed = |why: &str| Verdict::Failed(why.to_owned());
    let mut rollout = Rollout::new(names.map(|name| (digest(name), failed(&name.to_string()))));
    assert_eq!(rollout.verdict(digest(0)), None);
    assert_eq!(rollout.verdict(digest(1)), Some(&failed("1")));
    for (name, verdict) in [(1, failed("again")), (99, failed(""))] {
        let digest = digest(name);
        rollout.step(Duration::ZERO, Input::Refused { digest, verdict });
    }
    assert_eq!(rollout.verdict(digest(1)), Some(&failed("again")));
    assert_eq!(rollout.refused.len(), MOST_REFUSED);
}

proptest! {
    /// Whatever happens: only what serves on probation is taken back, to what served before it, and never twice.
    #[test]
    fn what_is_taken_back_was_on_probation(
        steps in prop::collection::vec((0..4u8, 0..4u8, 0..3u8, 0..90u64), 0..60)
    ) {
        let mut rollout = Rollout::default();
        let (mut now, mut trial) = (Duration::ZERO, None::<(u8, u8, Duration)>);
        for (name, before, kind, seconds) in steps {
            now += Duration::from_secs(seconds);
            let lasting = trial.filter(|(.., until)| now < *until);
            match kind {
                0 => {
                    prop_assert_eq!(rollout.step(now, activated(name, before)), None);
                    trial = (name != before).then_some((name, before, now + MINUTE));
                    prop_assert_eq!(rollout.verdict(digest(name)), None);
                }
                1 => {
                    let expected = lasting.filter(|(on, ..)| *on == name).map(|(on, to, _)| {
                        Output::TakeBack { digest: digest(on), to: digest(to) }
                    });
                    let found = rollout.step(now, blamed(name));
                    prop_assert_eq!(&found, &expected);
                    if found.is_some() {
                        trial = None;
                        prop_assert!(rollout.verdict(digest(name)).is_some());
                    }
                }
                _ => {
                    let over = trial.filter(|(.., until)| now >= *until);
                    let expected = over.map(|(on, ..)| Output::Keep(digest(on)));
                    prop_assert_eq!(rollout.step(now, Input::Looked), expected);
                    if over.is_some() {
                        trial = None;
                    }
                }
            }
            prop_assert_eq!(rollout.on_probation_until(), trial.map(|(.., until)| until));
        }
    }
}
