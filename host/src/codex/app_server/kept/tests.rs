//! Which threads are kept, found again, and given up.

use futures_util::FutureExt;

use super::*;
use crate::codex::tests::{self as items, output, said};
use crate::codex::{Config, Plan};

fn call(id: &str) -> Item {
    items::call(id, "f", "{}")
}

/// A request after one answer, with the digest of that answer.
fn after(items: &[Item]) -> (Conversation, Vec<Item>, Digest) {
    let mut history = vec![said(Role::User, "hi")];
    history.extend(items.iter().cloned());
    let plan = Plan {
        history,
        ..Plan::default()
    };
    let conversation = Conversation::of(&plan).unwrap();
    let digest = conversation.answers[0].1;
    (conversation, plan.history, digest)
}

fn spoken(answer: &str) -> (Conversation, Vec<Item>, Digest) {
    after(&[said(Role::Assistant, answer), said(Role::User, "go on")])
}

/// As many as are kept at least.
const MANY: usize = *MOST.start();

fn stamp() -> ConfigStamp {
    ConfigStamp::now(&Config::default())
}

fn kept(digest: Digest, thread: &str) -> Kept {
    Kept {
        digest,
        thread: thread.to_owned(),
        forked_with: None,
        open: None,
        stamp: stamp(),
        bytes: 1,
        workspace: None,
        has_effort: false,
        went_on: false,
        since: Instant::now(),
    }
}

fn open(conversation: &Conversation, calls: usize) -> Option<OpenTurn> {
    Some(OpenTurn {
        id: "k".to_owned(),
        requests: vec![Value::Null; calls],
        options: conversation.options,
        ended: CancellationToken::new(),
    })
}

impl KeptThreads {
    fn find(
        &self,
        (conversation, history, _): &(Conversation, Vec<Item>, Digest),
    ) -> Option<String> {
        let found = self.take(conversation, history, stamp()).now_or_never();
        found
            .expect("nothing is awaited")
            .map(|found| found.kept.thread)
    }
}

#[tokio::test]
async fn a_thread_is_found_once_and_by_its_own_conversation() {
    let threads = KeptThreads::new(Mode::Chat, 0);
    let (yes, no) = (spoken("yes"), spoken("no"));
    assert!(threads.settle(yes.2, Some(kept(yes.2, "t"))).is_empty());
    assert!(threads.has(&yes.0) && !threads.has(&no.0));
    assert_eq!(threads.find(&no), None);
    assert_eq!(threads.find(&yes), Some("t".to_owned()));
    assert_eq!(
        threads.find(&yes),
        None,
        "two turns cannot run on one thread"
    );
}

#[test]
fn the_oldest_go_beyond_the_limits() {
    let threads = KeptThreads::new(Mode::Chat, 0);
    let digest = |n: usize| spoken(&n.to_string()).2;
    for n in 0..MANY {
        assert!(
            threads
                .settle(digest(n), Some(kept(digest(n), &n.to_string())))
                .is_empty()
        );
    }
    let gone = threads.settle(digest(MANY), Some(kept(digest(MANY), "new")));
    assert_eq!(gone.len(), 1);
    assert_eq!(gone[0].thread, "0");
    let large = Kept {
        bytes: MOST_BYTES,
        ..kept(digest(MANY + 1), "large")
    };
    assert_eq!(threads.settle(digest(MANY + 1), Some(large)).len(), MANY);
    let again = threads.settle(digest(MANY + 1), Some(kept(digest(MANY + 1), "same")));
    assert_eq!(again[0].thread, "large", "one conversation has one thread");
}

#[tokio::test]
async fn old_ones_and_those_of_another_login_are_given_up() {
    let threads = KeptThreads::new(Mode::Chat, 0);
    let (yes, no) = (spoken("yes"), spoken("no"));
    let old = Kept {
        since: Instant::now().checked_sub(LONGEST).unwrap(),
        ..kept(yes.2, "old")
    };
    threads.settle(yes.2, Some(old));
    threads.settle(no.2, Some(kept(no.2, "t")));
    assert_eq!(threads.find(&yes), None);
    assert_eq!(threads.tidy(stamp()).len(), 1);
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("auth.json"), "{}").unwrap();
    let signed_in = ConfigStamp::now(&Config {
        home: Some(home.path().to_owned()),
        ..Config::default()
    });
    assert_eq!(threads.tidy(signed_in)[0].thread, "t");
}

#[tokio::test]
async fn an_open_turn_goes_on_with_all_outputs_and_nothing_else() {
    let calls = [call("a"), call("b")];
    let with = |items: &[Item]| after(&[&calls, items].concat());
    let all = with(&[output("b", "2"), output("a", "1")]);
    let image = Item::CallOutput {
        id: "a".to_owned(),
        parts: vec![Part::Image {
            url: "data:x".to_owned(),
            detail: None,
        }],
    };
    for (n, items) in [
        vec![output("a", "1")],
        vec![output("a", "1"), output("a", "1")],
        vec![output("a", "1"), output("b", "2"), said(Role::User, "and?")],
        vec![output("a", ""), output("b", "2")],
        vec![image, output("b", "2")],
    ]
    .iter()
    .enumerate()
    {
        let threads = KeptThreads::new(Mode::Chat, 0);
        let other = with(items);
        let thread = Kept {
            open: open(&other.0, 2),
            ..kept(other.2, "t")
        };
        threads.settle(other.2, Some(thread));
        assert_eq!(threads.find(&other), None, "{n}");
        assert_eq!(threads.find(&all), Some("t".to_owned()), "{n}: it waits on");
    }
    assert_eq!(
        outputs(&all.1, 3),
        Some(vec![vec!["1"], vec!["2"]]),
        "in the calls' order"
    );
}

#[tokio::test]
async fn an_open_turn_keeps_its_options_and_may_end_meanwhile() {
    let next = after(&[call("a"), output("a", "1")]);
    let threads = KeptThreads::new(Mode::Chat, 0);
    let mut other = open(&next.0, 1).unwrap();
    other.options = [0; 32];
    let thread = Kept {
        open: Some(other),
        ..kept(next.2, "t")
    };
    threads.settle(next.2, Some(thread));
    assert_eq!(threads.find(&next), None);
    let ended = open(&next.0, 1).unwrap();
    ended.ended.cancel();
    let thread = Kept {
        open: Some(ended),
        ..kept(next.2, "u")
    };
    assert_eq!(threads.settle(next.2, Some(thread))[0].thread, "t");
    assert_eq!(threads.find(&next), None);
}

#[tokio::test(start_paused = true)]
async fn a_turn_waits_for_the_thread_that_the_one_before_is_about_to_leave() {
    let threads = KeptThreads::new(Mode::Chat, 0);
    let (conversation, history, digest) = spoken("yes");
    threads.expect(digest);
    let mut taking = std::pin::pin!(threads.take(&conversation, &history, stamp()));
    assert!(taking.as_mut().now_or_never().is_none());
    threads.settle(digest, Some(kept(digest, "t")));
    assert_eq!(taking.await.unwrap().kept.thread, "t");

    threads.expect(digest);
    let mut taking = std::pin::pin!(threads.take(&conversation, &history, stamp()));
    assert!(taking.as_mut().now_or_never().is_none());
    threads.settle(digest, None);
    assert!(taking.await.is_none());

    threads.expect(digest);
    let late = threads.take(&conversation, &history, stamp()).await;
    assert!(late.is_none(), "and not for ever");
}

#[tokio::test]
async fn a_thread_that_was_used_once_gives_way_before_one_that_is_used() {
    let threads = KeptThreads::new(Mode::Chat, 0);
    let digest = |n: usize| spoken(&n.to_string()).2;
    let used = Kept {
        went_on: true,
        ..kept(digest(0), "used")
    };
    threads.settle(digest(0), Some(used));
    for n in 1..MANY {
        threads.settle(digest(n), Some(kept(digest(n), &n.to_string())));
    }
    let gone = threads.settle(digest(MANY), Some(kept(digest(MANY), "new")));
    assert_eq!(gone[0].thread, "1");
    assert_eq!(threads.find(&spoken("0")), Some("used".to_owned()));
}

#[tokio::test]
async fn a_request_without_an_effort_does_not_get_that_of_an_earlier_turn() {
    let threads = KeptThreads::new(Mode::Chat, 0);
    let (conversation, history, digest) = spoken("yes");
    let thread = Kept {
        has_effort: true,
        ..kept(digest, "t")
    };
    threads.settle(digest, Some(thread));
    assert_eq!(
        threads.find(&(conversation.clone(), history.clone(), digest)),
        None
    );
    let mut named = conversation;
    named.has_effort = true;
    assert_eq!(
        threads.find(&(named, history, digest)),
        Some("t".to_owned())
    );
}

#[tokio::test]
async fn a_fork_gets_no_pictures() {
    let threads = KeptThreads::new(Mode::Chat, 0);
    let picture = Item::Message {
        role: Role::User,
        parts: vec![Part::Image {
            url: "data:x".to_owned(),
            detail: None,
        }],
    };
    let next = after(&[said(Role::Assistant, "yes"), picture]);
    let fork = Kept {
        forked_with: Some("k".to_owned()),
        ..kept(next.2, "fork")
    };
    threads.settle(next.2, Some(fork));
    assert_eq!(threads.find(&next), None);
    assert_eq!(threads.find(&spoken("yes")), Some("fork".to_owned()));
}

#[tokio::test]
async fn one_more_output_of_an_earlier_call_needs_the_whole_history() {
    let threads = KeptThreads::new(Mode::Chat, 0);
    let late = after(&[
        call("a"),
        output("a", "1"),
        said(Role::Assistant, "one"),
        output("a", "2"),
    ]);
    let digest = late.0.answers[1].1;
    threads.settle(digest, Some(kept(digest, "t")));
    assert_eq!(
        threads.find(&late),
        None,
        "in the thread the call has another id"
    );
    let new = [call("b"), output("b", "2"), said(Role::User, "go on")];
    let begun = [call("a"), output("a", "1"), said(Role::Assistant, "one")];
    let branch = after(&[&begun[..], &[said(Role::User, "more")], &new].concat());
    assert_eq!(threads.find(&branch), Some("t".to_owned()));
}

#[tokio::test]
async fn a_thread_that_was_not_used_after_all_is_kept_on() {
    let threads = KeptThreads::new(Mode::Chat, 0);
    let next = spoken("yes");
    threads.settle(next.2, Some(kept(next.2, "t")));
    let found = threads.take(&next.0, &next.1, stamp()).await.unwrap();
    threads.put_back(found.kept);
    assert_eq!(threads.find(&next), Some("t".to_owned()));
}
