//! Which conversations go on from an answer, and which are others.

use serde_json::json;

use super::*;
use crate::codex::Usage;
use crate::codex::tests::{call, output, said};

fn plan(history: Vec<Item>) -> Plan {
    let tool = |name: &str| Tool {
        name: name.to_owned(),
        description: None,
        parameters: json!({"type": "object"}),
    };
    Plan {
        caller: "ann".to_owned(),
        model: "m".to_owned(),
        tools: vec![tool("f"), tool("g")],
        history,
        ..Plan::default()
    }
}

fn question() -> Vec<Item> {
    vec![said(Role::Developer, "Be terse."), said(Role::User, "hi")]
}

/// The rest that a turn with this history and these events comes to.
fn rest(history: Vec<Item>, events: &[Event]) -> Option<(Digest, Rest)> {
    let plan = plan(history);
    let mut recorder = Recorder::new(&Conversation::of(&plan)?, &plan.tools)?;
    for event in events {
        recorder.hear(event);
    }
    recorder.rest()
}

fn text(text: &str) -> Event {
    Event::Text(text.to_owned())
}

fn called(id: &str, name: &str, arguments: &str) -> Event {
    Event::Call {
        id: id.to_owned(),
        name: name.to_owned(),
        arguments: arguments.to_owned(),
    }
}

fn sampled() -> Event {
    Event::Sampled(Usage::default())
}

const DONE: Event = Event::Ended(TurnOutcome::Completed);

/// Whether a request with this history goes on from that rest, and with which items.
fn goes_on(plan: &Plan, digest: Digest) -> Option<usize> {
    let conversation = Conversation::of(plan).unwrap();
    let answers = conversation.answers.iter();
    answers
        .rev()
        .find(|(_, answer)| *answer == digest)
        .map(|(from, _)| *from)
}

fn then(items: &[Item]) -> Plan {
    let mut history = question();
    history.extend(items.iter().cloned());
    plan(history)
}

#[test]
fn the_answer_that_the_client_repeats_is_recognised() {
    let events = [
        text("yes "),
        text(" sir"),
        Event::TextBreak,
        text("ok\n"),
        sampled(),
        DONE,
    ];
    let (digest, state) = rest(question(), &events).unwrap();
    assert_eq!(state, Rest::Idle);
    for repeated in ["yes  sir\n\nok\n", "yes  sir\n\nok", "\n yes  sir\n\nok  "] {
        let next = then(&[said(Role::Assistant, repeated), said(Role::User, "go on")]);
        assert_eq!(goes_on(&next, digest), Some(3), "{repeated:?}");
    }
    let two = [
        said(Role::Assistant, "yes  sir"),
        said(Role::Assistant, "ok"),
        said(Role::User, "go on"),
    ];
    assert_eq!(goes_on(&then(&two), digest), Some(4));
    for other in ["yes sir\n\nok", "yes  sir ok", "", "Yes  sir\n\nok"] {
        let next = then(&[said(Role::Assistant, other), said(Role::User, "go on")]);
        assert_eq!(goes_on(&next, digest), None, "{other:?}");
    }
}

#[test]
fn another_caller_model_tool_or_question_is_another_conversation() {
    let (digest, _) = rest(question(), &[text("yes"), DONE]).unwrap();
    let next = then(&[said(Role::Assistant, "yes"), said(Role::User, "go on")]);
    assert_eq!(goes_on(&next, digest), Some(3));
    let changes: [fn(&mut Plan); 9] = [
        |plan| plan.caller = "bob".to_owned(),
        |plan| plan.model = "n".to_owned(),
        |plan| plan.provider = Some("p".to_owned()),
        |plan| plan.verbosity = Some("low".to_owned()),
        |plan| plan.service_tier = Some("flex".to_owned()),
        |plan| plan.tools.truncate(1),
        |plan| plan.tools[0].parameters = json!({"type": "object", "required": []}),
        |plan| plan.history[1] = said(Role::User, "ho"),
        |plan| plan.history[0] = said(Role::User, "Be terse."),
    ];
    for (n, change) in changes.iter().enumerate() {
        let mut other = next.clone();
        change(&mut other);
        assert_eq!(goes_on(&other, digest), None, "change {n}");
    }
    let mut same = next;
    same.effort = Some("high".to_owned());
    same.output_schema = Some(json!({}));
    assert_eq!(
        goes_on(&same, digest),
        Some(3),
        "these hold for a turn only"
    );
}

#[test]
fn calls_are_recognised_with_new_ids_and_rewritten_arguments() {
    let events = [
        text("Let me see."),
        called("c1", "f", "{\"a\": 1}"),
        called("c2", "g", "{}"),
        sampled(),
    ];
    let (digest, state) = rest(question(), &events).unwrap();
    assert_eq!(state, Rest::Calls(vec!["c1".to_owned(), "c2".to_owned()]));
    let next = |first: &str, arguments: &str| {
        then(&[
            said(Role::Assistant, "Let me see."),
            call("x", first, arguments),
            call("y", "g", "{}"),
            output("y", "2"),
            output("x", "1"),
        ])
    };
    assert_eq!(goes_on(&next("f", "{\"a\":1}"), digest), Some(5));
    assert_eq!(goes_on(&next("f", "{\"a\":2}"), digest), None);
    assert_eq!(goes_on(&next("g", "{\"a\":1}"), digest), None);
}

#[test]
fn outputs_count_by_the_place_of_their_call() {
    let history = |first: &str, one: &str, two: &str| {
        let mut history = question();
        history.extend([call(one, "f", "{}"), call(two, "f", "{}")]);
        history.extend([output(one, first), output(two, "2")]);
        history
    };
    let (digest, _) = rest(history("1", "a", "b"), &[text("yes"), DONE]).unwrap();
    let next = |history: Vec<Item>| {
        let more = [said(Role::Assistant, "yes"), said(Role::User, "go on")];
        plan(history.into_iter().chain(more).collect())
    };
    assert_eq!(goes_on(&next(history("1", "p", "q")), digest), Some(7));
    assert_eq!(goes_on(&next(history("9", "a", "b")), digest), None);
}

#[test]
fn a_branch_goes_on_from_the_last_answer_it_shares() {
    let (digest, _) = rest(question(), &[text("yes"), DONE]).unwrap();
    let branch = then(&[
        said(Role::Assistant, "yes"),
        said(Role::User, "one"),
        said(Role::Assistant, "from another thread"),
        said(Role::User, "two"),
    ]);
    assert_eq!(goes_on(&branch, digest), Some(3));
}

#[test]
fn a_turn_that_the_client_does_not_know_whole_comes_to_no_rest() {
    let failed = Event::Ended(TurnOutcome::Interrupted);
    let turns: [&[Event]; 10] = [
        &[text("half")],
        &[text("half"), failed],
        &[DONE],
        &[
            text("a"),
            Event::Retrying("cut".to_owned()),
            text("a"),
            DONE,
        ],
        &[called("c", "f", "{"), sampled()],
        &[called("c", "unknown", "{}"), sampled()],
        &[called("c", "f", "{}"), called("c", "f", "{}"), sampled()],
        &[called("c", "f", "{}")],
        &[called("c", "f", "{}"), DONE],
        &[
            called("c", "f", "{}"),
            sampled(),
            text("Codex answered itself"),
        ],
    ];
    for (n, events) in turns.iter().enumerate() {
        assert_eq!(rest(question(), events), None, "turn {n}");
    }
    let mut prefilled = question();
    prefilled.push(said(Role::Assistant, "The answer is"));
    assert_eq!(rest(prefilled, &[text("42"), DONE]), None);
}

#[test]
fn a_very_long_conversation_is_not_recognised() {
    let long = |bytes| plan(vec![said(Role::User, &"x".repeat(bytes))]);
    assert!(Conversation::of(&long(LONGEST - ITEM)).is_some());
    assert!(Conversation::of(&long(LONGEST)).is_none());
    let many = |items| plan(vec![call("c", "", ""); items]);
    assert!(Conversation::of(&many(LONGEST / ITEM)).is_some());
    assert!(Conversation::of(&many(LONGEST / ITEM + 1)).is_none());
}

#[tokio::test]
async fn a_long_conversation_is_read_the_same() {
    let mut history = question();
    history.push(said(Role::User, &"x".repeat(LONG)));
    history.extend([said(Role::Assistant, "yes"), said(Role::User, "go on")]);
    let plan = plan(history);
    let read = Conversation::read(&Arc::new(plan.clone())).await;
    assert_eq!(
        read.unwrap().answers,
        Conversation::of(&plan).unwrap().answers
    );
}

#[test]
fn a_conversation_goes_on_from_one_of_the_latest_answers() {
    let mut history = question();
    for n in 0..ANSWERS + 3 {
        history.extend([
            said(Role::Assistant, &n.to_string()),
            said(Role::User, "go on"),
        ]);
    }
    let answers = Conversation::of(&plan(history.clone())).unwrap().answers;
    assert_eq!(answers.len(), ANSWERS);
    assert_eq!(answers.back().unwrap().0, history.len() - 1);
}

#[test]
fn the_gateways_own_instructions_are_no_part_of_the_conversation_but_must_stay_the_same() {
    let with = |mut plan: Plan, instruction: &str| {
        plan.history.push(said(Role::Developer, instruction));
        plan.closing = 1;
        plan
    };
    let first = with(plan(question()), "Answer in JSON.");
    let mut recorder = Recorder::new(&Conversation::of(&first).unwrap(), &first.tools).unwrap();
    for event in [text("{}"), sampled(), DONE] {
        recorder.hear(&event);
    }
    let (digest, _) = recorder.rest().unwrap();
    let next = || then(&[said(Role::Assistant, "{}"), said(Role::User, "more")]);
    // All after the answer is sent: the question, and the instruction again.
    let from = goes_on(&with(next(), "Answer in JSON."), digest);
    assert_eq!(from, Some(question().len() + 1));
    assert_eq!(goes_on(&with(next(), "Call a function."), digest), None);
    assert_eq!(goes_on(&next(), digest), None);
}
