//! Draws and their results, returned reservations, and the cost of a flood of keys.

use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::quota::Unit;

/// Buckets whose clock stands still until the test moves it.
fn at_rest() -> (Memory, Arc<AtomicU64>) {
    let time = Arc::new(AtomicU64::new(0));
    let clock = Arc::clone(&time);
    let memory = Memory::with_clock(move || clock.load(Ordering::Relaxed));
    (memory, time)
}

fn quota(unit: Unit, limit: u64, cost: u64) -> Quota {
    Quota {
        name: format!("{unit:?}"),
        key: "alice".to_owned(),
        unit,
        limit,
        window_ms: 60_000,
        cost,
    }
}

fn remaining(memory: &Memory, unit: Unit, limit: u64) -> u64 {
    memory.draw(&[quota(unit, limit, 0)]).0[0].remaining
}

#[test]
fn a_bucket_pays_its_limit_and_refills_evenly() {
    let (memory, time) = at_rest();
    let one = [quota(Unit::Requests, 60, 1)];
    for _ in 0..60 {
        assert!(memory.draw(&one).1.is_some());
    }
    let (statuses, hold) = memory.draw(&one);
    assert!(hold.is_none());
    let expected = BucketStatus {
        granted: false,
        remaining: 0,
        reset_ms: 1_000,
    };
    assert_eq!(statuses, [expected]);
    time.store(999, Ordering::Relaxed);
    assert!(memory.draw(&one).1.is_none());
    time.store(1_000, Ordering::Relaxed);
    assert!(memory.draw(&one).1.is_some());
}

#[test]
fn all_or_none() {
    let (memory, _) = at_rest();
    let both = [quota(Unit::Requests, 60, 1), quota(Unit::Concurrent, 1, 1)];
    let (_, first) = memory.draw(&both);
    let (statuses, second) = memory.draw(&both);
    assert!(first.is_some() && second.is_none());
    assert!(statuses[0].granted && !statuses[1].granted);
    assert_eq!(
        statuses[0].remaining, 59,
        "the refused request spent nothing"
    );
    drop(first);
    assert!(memory.draw(&both).1.is_some());
}

#[tokio::test]
async fn a_look_shows_what_is_left_and_changes_nothing() {
    let (memory, time) = at_rest();
    let one = quota(Unit::Requests, 60, 1);
    let left =
        async |quota: &Quota| memory.look(std::slice::from_ref(quota)).await.unwrap()[0].remaining;
    assert_eq!((left(&one).await, memory.buckets()), (60, 0));
    for _ in 0..60 {
        assert!(memory.draw(std::slice::from_ref(&one)).1.is_some());
    }
    assert_eq!(left(&one).await, 0);
    time.store(30_000, Ordering::Relaxed);
    assert_eq!(left(&one).await, 30);
    let smaller = Quota { limit: 10, ..one };
    assert_eq!(left(&smaller).await, 0, "as the rule has it now");
    assert_eq!(
        memory.draw(&[quota(Unit::Requests, 60, 30)]).0[0].remaining,
        0
    );
}

#[test]
fn a_request_that_is_refused_after_all_cost_nothing() {
    let (memory, _) = at_rest();
    let units = [Unit::Requests, Unit::Tokens, Unit::Concurrent];
    let hold = memory.draw(&units.map(|unit| quota(unit, 60, 7))).1;
    hold.unwrap().refuse();
    for unit in units {
        assert_eq!(remaining(&memory, unit, 60), 60, "{unit:?}");
    }
}

#[test]
fn two_quotas_of_one_bucket_are_both_paid_from_it() {
    let (memory, _) = at_rest();
    let twice = [quota(Unit::Requests, 3, 2), quota(Unit::Requests, 3, 2)];
    let (statuses, hold) = memory.draw(&twice);
    assert!(hold.is_none() && statuses[0].granted && !statuses[1].granted);
    assert_eq!(remaining(&memory, Unit::Requests, 3), 3);
}

#[test]
fn tokens_are_held_by_estimate_and_spent_as_used() {
    let (memory, time) = at_rest();
    let left = |memory: &Memory| remaining(memory, Unit::Tokens, 1_000);
    let mut hold = memory.draw(&[quota(Unit::Tokens, 1_000, 400)]).1.unwrap();
    time.store(60_000, Ordering::Relaxed);
    assert_eq!(left(&memory), 600, "an estimate is not refilled meanwhile");
    hold.settle(100);
    drop(hold);
    assert_eq!(left(&memory), 900);
    drop(memory.draw(&[quota(Unit::Tokens, 1_000, 100)]).1);
    assert_eq!(left(&memory), 800, "without better knowledge it stands");
}

#[test]
fn an_answer_that_cost_more_leaves_a_debt() {
    let (memory, time) = at_rest();
    let mut hold = memory.draw(&[quota(Unit::Tokens, 1_000, 10)]).1.unwrap();
    hold.settle(2_500);
    drop(hold);
    let (statuses, refused) = memory.draw(&[quota(Unit::Tokens, 1_000, 1)]);
    assert!(refused.is_none());
    // 1,501 tokens too many, at a rate of a thousand a minute.
    assert_eq!((statuses[0].remaining, statuses[0].reset_ms), (0, 90_060));
    time.store(90_060, Ordering::Relaxed);
    assert!(memory.draw(&[quota(Unit::Tokens, 1_000, 1)]).1.is_some());
}

#[test]
fn a_resized_rule_keeps_what_was_spent() {
    let (memory, _) = at_rest();
    drop(memory.draw(&[quota(Unit::Requests, 10, 10)]));
    let resized = Quota {
        window_ms: 1_000,
        ..quota(Unit::Requests, 12, 1)
    };
    assert_eq!(memory.draw(&[resized]).0[0].remaining, 1);
}

#[test]
fn absurd_limits_and_costs_are_still_limits() {
    let (memory, _) = at_rest();
    for unit in [Unit::Requests, Unit::Tokens, Unit::Concurrent] {
        let most = Quota {
            window_ms: u64::MAX,
            ..quota(unit, u64::MAX, u64::MAX)
        };
        let most = [most];
        let (_, first) = memory.draw(&most);
        assert!(first.is_some() && memory.draw(&most).1.is_none());
        let mut hold = first.unwrap();
        hold.settle(u64::MAX);
        drop(hold);
        assert_eq!(memory.draw(&[quota(unit, 0, 1)]).0[0].remaining, 0);
    }
}

fn stranger(number: usize) -> Quota {
    Quota {
        key: format!("stranger-{number}"),
        ..quota(Unit::Requests, 2, 1)
    }
}

#[test]
fn a_flood_of_keys_is_a_bounded_number_of_buckets_and_takes_nobodys_limit_away() {
    let (memory, time) = at_rest();
    let known = [quota(Unit::Requests, 60, 1)];
    for _ in 0..50 {
        drop(memory.draw(&known));
    }
    for number in 0..1_000_000 {
        time.store(number as u64 / 1_000, Ordering::Relaxed);
        let hold = memory.draw(&[stranger(number)]).1;
        assert!(
            hold.is_some(),
            "an honest one among them is served: {number}"
        );
    }
    assert_eq!(memory.buckets(), MAX_BUCKETS);
    assert_eq!(
        remaining(&memory, Unit::Requests, 60),
        10,
        "what was spent still is"
    );
    let Counts {
        shared, evicted, ..
    } = memory.counts();
    assert_eq!((shared, evicted), (0, 900_001));
}

/// A rule of one request in a window that never passes here.
fn slow(key: &str) -> [Quota; 1] {
    [Quota {
        name: "slow".to_owned(),
        key: key.to_owned(),
        window_ms: u64::MAX,
        ..quota(Unit::Requests, 1, 1)
    }]
}

#[test]
fn addresses_that_spent_all_they_may_shut_nobody_out_of_a_slow_rule() {
    let (memory, time) = at_rest();
    assert!(memory.draw(&slow("refused")).1.is_some());
    assert!(memory.draw(&slow("refused")).1.is_none());
    let tenant = Quota {
        name: "tenant".to_owned(),
        window_ms: u64::MAX,
        ..quota(Unit::Requests, 100, 40)
    };
    drop(memory.draw(std::slice::from_ref(&tenant)));
    for number in 0..MAX_BUCKETS + 1_000 {
        assert!(memory.draw(&slow(&number.to_string())).1.is_some());
    }
    assert!(memory.draw(&slow("honest")).1.is_some());
    assert_eq!(memory.counts().shared, 0);
    time.store(30_000, Ordering::Relaxed);
    assert!(
        memory.draw(&slow("refused")).1.is_none(),
        "it is short of it"
    );
    let left = memory.draw(&[Quota { cost: 0, ..tenant }]).0[0].remaining;
    assert_eq!(left, 60, "a flood makes room among its own");
}

#[test]
fn where_everybody_is_short_new_keys_share_and_that_is_counted_until_nobody_waits() {
    let (memory, time) = at_rest();
    for number in 0..MAX_BUCKETS {
        let [one] = slow(&number.to_string());
        assert!(memory.draw(std::slice::from_ref(&one)).1.is_some());
        assert!(memory.draw(&[one]).1.is_none());
    }
    assert!(memory.draw(&slow("first")).1.is_some());
    assert!(
        memory.draw(&slow("second")).1.is_none(),
        "it shares with the first"
    );
    assert_eq!(memory.counts().shared, 2);
    assert_eq!(memory.buckets(), MAX_BUCKETS + 1);
    time.store(60_000, Ordering::Relaxed);
    assert!(memory.draw(&slow("third")).1.is_some());
    assert_eq!(memory.counts().shared, 2);
}

#[test]
fn full_buckets_give_way_before_others_and_the_least_recently_used_first() {
    let time = Arc::new(AtomicU64::new(0));
    let clock = Arc::clone(&time);
    let memory = Memory::with_room(3, move || clock.load(Ordering::Relaxed));
    let take = |key: &str, cost| {
        let key = key.to_owned();
        memory
            .draw(&[Quota {
                key,
                ..quota(Unit::Requests, 60, cost)
            }])
            .0[0]
            .remaining
    };
    take("large", 30);
    take("small", 5);
    take("later", 5);
    time.store(10_000, Ordering::Relaxed);
    take("new", 1);
    assert_eq!(
        take("large", 0),
        40,
        "it was used before, but is not full again"
    );
    assert_eq!(
        take("later", 1),
        59,
        "full, but used later than the one that gave way"
    );
    let evicted = memory.counts().evicted;
    assert_eq!(evicted, 0);
    take("another", 1);
    assert_eq!((take("large", 0), memory.counts().evicted), (40, 1));
}

#[test]
fn a_bucket_with_places_that_are_held_never_gives_way() {
    let memory = Memory::with_room(2, || 0);
    let place = |key: &str| {
        let key = key.to_owned();
        memory
            .draw(&[Quota {
                key,
                ..quota(Unit::Concurrent, 1, 1)
            }])
            .1
    };
    let (first, second) = (place("a"), place("b"));
    assert!(first.is_some() && second.is_some() && place("a").is_none());
    let shared = place("c");
    assert!(shared.is_some() && place("d").is_none());
    drop(first);
    assert!(place("d").is_some(), "a's gives way");
    assert!(place("b").is_none());
}

#[test]
fn what_is_placed_for_a_request_is_not_forgotten_to_make_room_for_its_next_rule() {
    let (memory, _) = at_rest();
    for number in 1..MAX_BUCKETS {
        drop(memory.draw(&[stranger(number)]));
    }
    let both = [stranger(0), quota(Unit::Requests, 60, 1)];
    assert!(memory.draw(&both).1.is_some());
}

#[test]
fn rules_without_end_are_refused() {
    let (memory, _) = at_rest();
    let rule = |number: usize| Quota {
        name: format!("rule-{number}"),
        ..quota(Unit::Concurrent, 5, 1)
    };
    let mut holds = Vec::new();
    for number in 0..MAX_BUCKETS + MAX_SHARED {
        holds.push(memory.draw(&[rule(number)]).1.unwrap());
    }
    let (statuses, hold) = memory.draw(&[rule(usize::MAX)]);
    assert!(hold.is_none());
    assert_eq!(statuses, [NO_ROOM]);
}

#[test]
fn a_long_key_is_kept_short() {
    let (memory, _) = at_rest();
    let long = |end: &str| Quota {
        key: "x".repeat(1 << 20) + end,
        ..quota(Unit::Requests, 1, 1)
    };
    assert!(memory.draw(&[long("a")]).1.is_some());
    assert!(memory.draw(&[long("a")]).1.is_none());
    assert!(
        memory.draw(&[long("b")]).1.is_some(),
        "and still told apart"
    );
    let kept: usize = memory.save().iter().map(|(id, _)| id.key.len()).sum();
    assert_eq!(kept, 2 * 64);
}
