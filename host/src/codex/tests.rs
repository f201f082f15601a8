//! Helpers for the tests of both protocols and of the dialects: items of a conversation, a shell script in place of Codex, the
//! events of a turn as one line.

use std::fmt::Display;
use std::time::Duration;

use tempfile::TempDir;
use tokio::sync::watch;

use super::binary::tests::script;
use super::{Config, Event, Item, Part, Role, Status, TurnOutcome, Usage};

/// A message of one text.
pub(crate) fn said(role: Role, text: &str) -> Item {
    Item::Message {
        role,
        parts: vec![Part::Text(text.to_owned())],
    }
}

/// A call that the model made earlier.
pub(crate) fn call(id: &str, name: &str, arguments: &str) -> Item {
    Item::Call {
        id: id.to_owned(),
        name: name.to_owned(),
        arguments: arguments.to_owned(),
    }
}

/// The output of a call, of one text.
pub(crate) fn output(id: &str, text: &str) -> Item {
    Item::CallOutput {
        id: id.to_owned(),
        parts: vec![Part::Text(text.to_owned())],
    }
}

/// The configuration for a shell script in place of Codex, with the folder as `CODEX_HOME`.
pub(super) fn scripted(home: &TempDir, text: &str) -> Config {
    let bin = home.path().join("codex");
    script(&bin, text);
    Config {
        bin,
        home: Some(home.path().to_owned()),
        parent_env: [("PATH".to_owned(), "/usr/bin:/bin".to_owned())].into(),
        lease_wait: Duration::from_secs(10),
        ..Config::default()
    }
}

/// Waits until a backend's status fulfils `so`.
pub(super) async fn until(
    mut status: watch::Receiver<Status>,
    so: impl Fn(&Status) -> bool,
) -> Status {
    let reached = status.wait_for(|status| so(status));
    let reached = tokio::time::timeout(Duration::from_secs(20), reached).await;
    reached.expect("it comes to that").unwrap().clone()
}

/// Waits until no turn runs. It polls, since a change of that count wakes no receiver.
pub(super) async fn idle(status: watch::Receiver<Status>) {
    let idle = async {
        while status.borrow().turns > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), idle)
        .await
        .expect("every lease is back");
}

pub(super) fn kill(pid: impl Display) {
    let killed = std::process::Command::new("kill")
        .args(["-9", &pid.to_string()])
        .status();
    assert!(killed.unwrap().success());
}

/// The events as one line: `|` for a break, reasoning in parentheses, `[name arguments]` for a call, `<id>` for an
/// activity, `$` for usage, `?` for a dropped answer, `^` for a retry, `.` for the end.
pub(super) fn told(events: &[Event]) -> String {
    let mut line = String::new();
    for event in events {
        match event {
            Event::Text(text) => line.push_str(text),
            Event::Withheld => line.push('?'),
            Event::TextBreak => line.push('|'),
            Event::Reasoning(text) => line.push_str(&format!("({text})")),
            Event::ReasoningBreak => line.push_str("(|)"),
            Event::Call {
                name, arguments, ..
            } => line.push_str(&format!("[{name} {arguments}]")),
            Event::Activity(activity) => line.push_str(&format!("<{}>", activity.id)),
            Event::Sampled(_) => line.push('$'),
            Event::Retrying(_) => line.push('^'),
            Event::Ended(_) => line.push('.'),
        }
    }
    line
}

pub(super) fn outcome(events: &[Event]) -> &TurnOutcome {
    match events.last() {
        Some(Event::Ended(outcome)) => outcome,
        other => panic!("{other:?}"),
    }
}

#[test]
fn absurd_counts_do_not_overflow() {
    let absurd = Usage {
        input: u64::MAX,
        output: 1,
        ..Usage::default()
    };
    let mut usage = absurd;
    usage += absurd;
    assert_eq!((usage.input, usage.output), (u64::MAX, 2));
    assert_eq!(usage.total(), u64::MAX);
}
