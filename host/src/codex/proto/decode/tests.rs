//! Recorded turns of Codex 0.42.0, replayed.

use super::*;
use crate::codex::proto::protocol::{Incoming, TURN};
use crate::codex::tests::{outcome, told};
use crate::codex::{Cause, Error};

macro_rules! recorded {
    ($name:literal) => {
        replay(include_str!(concat!(
            "../../../../../tests/fixtures/turns/proto-",
            $name,
            ".jsonl"
        )))
    };
}

fn replay(lines: &str) -> Vec<Event> {
    let mut decoder = Decoder::default();
    let mut events = Vec::new();
    for line in lines.lines() {
        let incoming: Incoming<'_> = serde_json::from_str(line).unwrap();
        if incoming.id == TURN {
            decoder.accept(incoming.msg, &mut |event| events.push(event));
        }
    }
    assert!(decoder.is_over());
    events
}

/// Feeds messages, each in JSON without its braces.
fn feed(messages: &[&str]) -> Vec<Event> {
    let line = |message: &&str| format!("{{\"id\":\"turn\",\"msg\":{{\"type\":{message}}}}}");
    let lines = messages.iter().map(line).collect::<Vec<_>>().join("\n");
    replay(&(lines + "\n{\"id\":\"turn\",\"msg\":{\"type\":\"task_complete\"}}"))
}

#[test]
fn reasoning_and_text_come_in_order_with_their_parts_set_apart() {
    let events = recorded!("reasoning");
    let expected = "(**Step 0** )(thinking )(about it)(|)(**Step 1** )(thinking )(about it)\
        w0 w1 w2 w3 w4 $.";
    assert_eq!(told(&events), expected);
    assert_eq!(*outcome(&events), TurnOutcome::Completed);
    let expected = "(raw )(chain )(of thought)(|)(**Step 0** )(thinking )(about it)\
        (|)(**Step 1** )(thinking )(about it)w0 w1 w2 w3 w4 $.";
    assert_eq!(told(&recorded!("raw-reasoning")), expected);
    assert_eq!(
        told(&recorded!("two-messages")),
        "first message|second message$."
    );
    assert_eq!(told(&recorded!("schema")), "{\"answer\": 42}$.");
}

#[test]
fn usage_is_told_once_a_response_and_what_is_told_at_its_beginning_is_old() {
    let sampled = |events: Vec<Event>| {
        let usages = events.into_iter().filter_map(|event| match event {
            Event::Sampled(usage) => Some(usage),
            _ => None,
        });
        usages.collect::<Vec<_>>()
    };
    let usage = Usage {
        input: 120,
        cached_input: 40,
        output: 30,
        reasoning: 7,
    };
    assert_eq!(sampled(recorded!("reasoning")), [usage]);
    // The model tried the shell: two responses, four counts.
    assert_eq!(sampled(recorded!("two-responses")), [usage, usage]);
    assert_eq!(sampled(recorded!("cut")), []);
}

#[test]
fn a_message_without_deltas_is_told_whole_and_others_only_once() {
    let whole = [
        r#""agent_message","message":"one""#,
        r#""agent_message","message":"two""#,
    ];
    assert_eq!(told(&feed(&whole)), "one|two.");
    let thought = [
        r#""agent_reasoning","text":"a""#,
        r#""agent_reasoning","text":"b""#,
    ];
    assert_eq!(told(&feed(&thought)), "(a)(|)(b).");
    assert_eq!(told(&recorded!("empty")), "?$.");
    let last =
        replay(r#"{"id":"turn","msg":{"type":"task_complete","last_agent_message":"only here"}}"#);
    assert_eq!(told(&last), "only here.");
}

#[test]
fn a_retry_is_announced_and_what_is_repeated_is_no_new_message() {
    assert_eq!(told(&recorded!("retry")), "w0 w1 ^w0 w1 w2 w3 w4 $.");
    assert_eq!(
        told(&recorded!("no-completed")),
        "w0 w1 w2 ^w0 w1 w2 ^w0 w1 w2 ."
    );
}

#[test]
fn a_turn_ends_as_codex_says_and_nothing_follows() {
    let cause = |events: &[Event]| match outcome(events) {
        TurnOutcome::Failed(Error::Upstream { cause, .. }) => *cause,
        other => panic!("{other:?}"),
    };
    assert_eq!(cause(&recorded!("cut")), Cause::Disconnected);
    assert_eq!(cause(&recorded!("no-completed")), Cause::Disconnected);
    assert_eq!(cause(&recorded!("unauthorized")), Cause::Credential);
    assert_eq!(cause(&recorded!("no-key")), Cause::Credential);
    assert_eq!(cause(&recorded!("invalid-request")), Cause::InvalidRequest);
    assert_eq!(
        *outcome(&recorded!("interrupted")),
        TurnOutcome::Interrupted
    );
    let ends = |events: &[Event]| {
        let ended = |event: &&Event| matches!(event, Event::Ended(_));
        events.iter().filter(ended).count()
    };
    assert_eq!(ends(&recorded!("unauthorized")), 1, "task_complete follows");
}

#[test]
fn what_is_not_known_is_passed_over() {
    let odd = [
        r#""something_new","delta":3"#,
        r#""agent_message_delta","delta":"""#,
        r#""agent_message","message":"text""#,
        r#""token_count","info":null"#,
    ];
    assert_eq!(told(&feed(&odd)), "text.");
}
