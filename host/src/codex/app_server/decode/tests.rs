//! Recorded turns of Codex 0.169.0, replayed.

use super::omitted::{OMITTED, REASONS};
use super::*;
use crate::codex::app_server::protocol::Incoming;
use crate::codex::tests::{outcome, told};
use crate::codex::{Cause, Usage};

macro_rules! recorded {
    ($name:literal) => {
        recorded!($name, Decoder::default())
    };
    ($name:literal, $decoder:expr) => {
        replay(
            include_str!(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/../tests/fixtures/turns/",
                $name,
                ".jsonl"
            )),
            $decoder,
        )
    };
}

fn replay(lines: &str, mut decoder: Decoder) -> Vec<Event> {
    let mut events = Vec::new();
    for line in lines.lines() {
        let incoming: Incoming<'_> = serde_json::from_str(line).unwrap();
        let (Some(method), Some(params)) = (incoming.method, incoming.params) else {
            panic!("{line}");
        };
        if let Some(what) = Notification::of(&method) {
            let params = serde_json::from_str(params.get()).unwrap();
            decoder.accept(what, params, &mut |event| events.push(event));
        }
    }
    events
}

#[test]
fn a_tool_call_comes_whole_after_reasoning_and_text_and_ends_by_interrupt() {
    let events = recorded!("tool-calls");
    let expected = "(Two )(cities.)Let me look.\
        [get_weather {\"city\": \"Paris\"}][get_weather {\"city\":\"Oslo\"}]$.";
    assert_eq!(told(&events), expected);
    assert_eq!(*outcome(&events), TurnOutcome::Interrupted);
    let usage = Usage {
        input: 120,
        cached_input: 40,
        output: 30,
        reasoning: 7,
    };
    assert!(events.contains(&Event::Sampled(usage)));
    assert_eq!(
        told(&recorded!("text-then-call")),
        "let me call[get_weather {\"city\":\"Paris\"}]$."
    );
}

#[test]
fn injected_calls_are_not_taken_for_the_models() {
    assert_eq!(told(&recorded!("tool-results")), "18C and 3C.$.");
}

#[test]
fn parts_of_reasoning_and_messages_are_set_apart() {
    let expected = "(raw )(chain )(of thought)(|)(**Step 0** )(thinking )(about it)\
        (|)(**Step 1** )(thinking )(about it)w0 w1 w2 w3 w4 .";
    assert_eq!(told(&recorded!("reasoning")), expected);
    assert_eq!(
        told(&recorded!("two-messages")),
        "first message|second message."
    );
    assert_eq!(told(&recorded!("two-responses")), "part one|part one.");
}

#[test]
fn a_message_without_deltas_is_told_whole_and_others_only_once() {
    assert_eq!(told(&recorded!("whole-message")), "no deltas$.");
    assert_eq!(told(&recorded!("empty")), ".");
}

#[test]
fn a_refusal_which_codex_drops_is_told_from_an_empty_answer() {
    assert_eq!(told(&recorded!("refusal")), "?$.");
    let after = |item: &str, reasoning: u64| {
        let usage = format!(
            r#"rawResponse/completed {{"turnId":"k","usage":{{"outputTokens":9,"reasoningOutputTokens":{reasoning}}}}}"#
        );
        told(&feed(&mut Decoder::default(), &[STARTED, item, &usage]))
    };
    let message =
        r#"item/completed {"turnId":"k","item":{"type":"agentMessage","id":"m","text":""}}"#;
    let thought = r#"rawResponseItem/completed {"turnId":"k","item":{"type":"reasoning","id":"r","summary":[]}}"#;
    assert_eq!(after(message, 2), "$", "the message is empty");
    assert_eq!(after(thought, 9), "$", "the model only thought");
    assert_eq!(after(thought, 2), "?$");
}

#[test]
fn a_retry_is_announced_and_what_is_repeated_is_no_new_message() {
    assert_eq!(told(&recorded!("retry")), "w0 w1 ^w0 w1 w2 w3 w4 .");
}

#[test]
fn failures_and_cut_answers_end_as_what_they_are() {
    let cause = |events: &[Event]| match outcome(events) {
        TurnOutcome::Failed(Error::Upstream { cause, .. }) => *cause,
        other => panic!("{other:?}"),
    };
    assert_eq!(cause(&recorded!("cut")), Cause::Disconnected);
    assert_eq!(cause(&recorded!("unauthorized")), Cause::Credential);
    assert_eq!(cause(&recorded!("invalid-request")), Cause::InvalidRequest);
    assert_eq!(cause(&recorded!("refused-connection")), Cause::Unreachable);
    assert_eq!(
        *outcome(&recorded!("incomplete")),
        TurnOutcome::MaxOutputTokens
    );
    assert_eq!(*outcome(&recorded!("filtered")), TurnOutcome::ContentFilter);
}

/// Feeds notifications of turn `k` on thread `t`, in the short form `method params`.
fn feed(decoder: &mut Decoder, lines: &[&str]) -> Vec<Event> {
    let mut events = Vec::new();
    for line in lines {
        let (method, params) = line.split_once(' ').unwrap();
        if let Some(what) = Notification::of(method) {
            let params = serde_json::from_str(params).unwrap();
            decoder.accept(what, params, &mut |event| events.push(event));
        }
    }
    events
}

const STARTED: &str = r#"turn/started {"threadId":"t","turn":{"id":"k","status":"inProgress"}}"#;

#[test]
fn other_turns_of_the_thread_are_not_heard() {
    let mut decoder = Decoder::default();
    let early = feed(
        &mut decoder,
        &[r#"item/agentMessage/delta {"turnId":"other","itemId":"m","delta":"early"}"#],
    );
    assert_eq!(told(&early), "");
    let events = feed(
        &mut decoder,
        &[
            STARTED,
            r#"item/agentMessage/delta {"turnId":"other","itemId":"m","delta":"no"}"#,
            r#"item/agentMessage/delta {"turnId":"k","itemId":"m","delta":"yes"}"#,
            r#"turn/started {"threadId":"t","turn":{"id":"other","status":"inProgress"}}"#,
            r#"turn/completed {"turn":{"id":"other","status":"completed"}}"#,
            r#"item/agentMessage/delta {"turnId":"k","itemId":"m","delta":"!"}"#,
            r#"turn/completed {"turn":{"id":"k","status":"completed"}}"#,
            r#"item/agentMessage/delta {"turnId":"k","itemId":"m","delta":"late"}"#,
        ],
    );
    assert_eq!(told(&events), "yes!.");
    assert_eq!(decoder.turn_id(), Some("k"));
}

#[test]
fn messages_that_share_an_id_are_still_two() {
    let events = feed(
        &mut Decoder::default(),
        &[
            STARTED,
            r#"item/agentMessage/delta {"turnId":"k","itemId":"m","delta":"one"}"#,
            r#"item/completed {"turnId":"k","item":{"type":"agentMessage","id":"m","text":"one"}}"#,
            r#"item/completed {"turnId":"k","item":{"type":"agentMessage","id":"m","text":"two"}}"#,
        ],
    );
    assert_eq!(told(&events), "one|two");
}

#[test]
fn a_retry_repeats_only_what_came_after_the_last_response() {
    let events = feed(
        &mut Decoder::default(),
        &[
            STARTED,
            r#"item/agentMessage/delta {"turnId":"k","itemId":"a","delta":"first"}"#,
            r#"item/completed {"turnId":"k","item":{"type":"agentMessage","id":"a","text":"first"}}"#,
            r#"rawResponse/completed {"turnId":"k","usage":null}"#,
            r#"item/agentMessage/delta {"turnId":"k","itemId":"b","delta":"sec"}"#,
            r#"error {"turnId":"k","willRetry":true,"error":{"message":"Reconnecting... 1/5"}}"#,
            r#"item/agentMessage/delta {"turnId":"k","itemId":"c","delta":"second"}"#,
        ],
    );
    assert_eq!(told(&events), "first$|sec^|second");
}

#[test]
fn a_message_that_only_the_end_tells_is_told() {
    let end = r#"turn/completed {"turn":{"id":"k","status":"completed","items":[{"type":"agentMessage","id":"m","text":"whole"}]}}"#;
    assert_eq!(
        told(&feed(&mut Decoder::default(), &[STARTED, end])),
        "whole."
    );
}

#[test]
fn unexpected_shapes_are_passed_over() {
    let events = feed(
        &mut Decoder::default(),
        &[
            STARTED,
            r#"item/completed {"turnId":"k","item":{"type":"somethingNew","text":3}}"#,
            r#"item/completed {"turnId":"k","item":[]}"#,
            r#"item/completed {"turnId":"k"}"#,
            r#"rawResponseItem/completed {"turnId":"k","item":{"type":"function_call"}}"#,
            r#"item/agentMessage/delta {"turnId":"k","delta":"no item"}"#,
            r#"something/new {"turnId":"k"}"#,
            r#"turn/completed {}"#,
            r#"turn/completed {"turn":{"id":"k","status":"exploded"}}"#,
        ],
    );
    assert_eq!(events.len(), 1);
    assert!(matches!(
        outcome(&events),
        TurnOutcome::Failed(Error::Upstream {
            cause: Cause::Internal,
            ..
        })
    ));
}

#[test]
fn a_closed_thread_ends_its_turn() {
    let events = feed(
        &mut Decoder::default(),
        &[STARTED, r#"thread/closed {"threadId":"t"}"#],
    );
    assert!(matches!(
        outcome(&events),
        TurnOutcome::Failed(Error::WorkerExited(_))
    ));
}

#[test]
fn a_conversation_codex_would_shorten_is_refused_instead() {
    let mut decoder = Decoder::default();
    let compaction = r#"item/started {"turnId":"k","item":{"type":"contextCompaction","id":"c"}}"#;
    let text = r#"item/agentMessage/delta {"turnId":"k","itemId":"m","delta":"from memory"}"#;
    let events = feed(&mut decoder, &[STARTED, compaction, text]);
    assert_eq!(told(&events), ".");
    assert!(matches!(
        outcome(&events),
        TurnOutcome::Failed(Error::Upstream {
            cause: Cause::ContextLength,
            ..
        })
    ));
    assert!(decoder.is_given_up(), "it is to be interrupted");
    let end = r#"turn/completed {"turn":{"id":"k","status":"interrupted","items":[]}}"#;
    assert_eq!(told(&feed(&mut decoder, &[end])), "");
    assert!(decoder.is_over());
}

#[test]
fn a_picture_that_codex_left_out_fails_the_turn_before_it_begins() {
    let echo = |list: &str, text: &str| {
        format!(
            r#"rawResponseItem/completed {{"turnId":"auto-compact-0","item":{{"type":"message","role":"user","{list}":[{{"type":"input_text","text":"{text}"}}]}}}}"#
        )
    };
    let failure = [Event::Ended(TurnOutcome::Failed(unreadable_image()))];
    for list in ["content", "output"] {
        for reason in REASONS {
            let mut decoder = Decoder::default();
            let mark = format!("{OMITTED}{reason}");
            assert_eq!(feed(&mut decoder, &[&echo(list, &mark)]), failure);
            assert!(decoder.is_given_up());
        }
    }
    // A text that only mentions the mark is no left-out picture, and an answer may contain any text.
    let mark = format!("{OMITTED}{}", REASONS[0]);
    for mention in [format!("Codex says: {mark}"), format!("{mark}, it says")] {
        let mention = echo("content", &mention);
        assert_eq!(feed(&mut Decoder::default(), &[&mention, STARTED]), []);
    }
    let late = echo("content", &mark);
    assert_eq!(feed(&mut Decoder::default(), &[STARTED, &late]), []);
}

mod agent;
