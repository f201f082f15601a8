//! Properties that clients rely on, for any events from Codex in any pieces.

mod calls;
mod text;

use super::*;
use crate::codex::{self, Cause};
use crate::turn::Timer;

const USAGE: Usage = Usage {
    input: 100,
    cached_input: 40,
    output: 10,
    reasoning: 3,
};

/// Events in short form: `:word` for one without content, `(reasoning)`, `[call]`, and plain text.
fn script(words: &[&str]) -> Vec<Event> {
    words.iter().map(|word| event(word)).collect()
}

fn event(word: &str) -> Event {
    let failed = |cause| {
        Event::Ended(TurnOutcome::Failed(codex::Error::Upstream {
            cause,
            status: None,
            message: "words".to_owned(),
            named: codex::Named::default(),
        }))
    };
    match word {
        ":break" => Event::TextBreak,
        "(:break)" => Event::ReasoningBreak,
        ":withheld" => Event::Withheld,
        ":sampled" => Event::Sampled(USAGE),
        ":retrying" => Event::Retrying("cut".to_owned()),
        ":completed" => Event::Ended(TurnOutcome::Completed),
        ":interrupted" => Event::Ended(TurnOutcome::Interrupted),
        ":max" => Event::Ended(TurnOutcome::MaxOutputTokens),
        ":filter" => Event::Ended(TurnOutcome::ContentFilter),
        ":busy" => Event::Ended(TurnOutcome::Failed(codex::Error::Busy)),
        ":cut" => failed(Cause::Disconnected),
        _ => match (word.strip_prefix('('), word.strip_prefix('[')) {
            (Some(text), _) => Event::Reasoning(text.trim_end_matches(')').to_owned()),
            (_, Some(name)) => call(name.trim_end_matches(']')),
            _ => Event::Text(word.to_owned()),
        },
    }
}

fn call(name: &str) -> Event {
    Event::Call {
        id: format!("call_{name}"),
        name: name.to_owned(),
        arguments: "{}".to_owned(),
    }
}

fn json_object() -> Rules {
    Rules {
        json_object: true,
        tools: true,
        ..Rules::default()
    }
}

fn overrun(timer: Timer) -> Error {
    Error::Timeout { timer, after_ms: 5 }
}

fn tools() -> Rules {
    Rules {
        tools: true,
        ..Rules::default()
    }
}

fn textual() -> Rules {
    Rules {
        textual_tools: Textual::Text,
        ..Rules::default()
    }
}

fn stopping_at(words: &[&str]) -> Rules {
    Rules {
        stop: words.iter().map(|&word| word.to_owned()).collect(),
        ..Rules::default()
    }
}

fn limited(tokens: u64) -> Rules {
    Rules {
        max_tokens: Some(tokens),
        ..Rules::default()
    }
}

/// Carries out the machine's outputs as the driver does: no event while a question is open, every question is answered at once.
fn play_with(
    rules: Rules,
    events: Vec<Event>,
    mut policy: impl FnMut(&tool_stop::Event) -> Reaction,
) -> Vec<Output> {
    let (mut machine, mut all) = (Machine::new(rules), Vec::new());
    for event in events {
        let mut next = Some(Input::Event(event));
        while let Some(input) = next.take() {
            let from = all.len();
            machine.step(input, &mut all);
            next = all[from..].iter().find_map(|output| match output {
                Output::Ask(question) => Some(Input::Verdict(policy(question))),
                _ => None,
            });
            assert_eq!(machine.is_asking(), next.is_some());
        }
    }
    all
}

fn play(rules: Rules, words: &[&str]) -> Vec<Output> {
    play_with(rules, script(words), |_| Reaction::GoOn)
}

/// The outputs in short form: plain text, `(reasoning)`, `[index call]`, and how the turn ended; `!` where Codex is interrupted.
fn told(outputs: &[Output]) -> String {
    let tell = |output: &Output| match output {
        Output::Emit(Delta::Text(text)) => text.clone(),
        Output::Emit(Delta::Reasoning(text)) => format!("({text})"),
        Output::Emit(Delta::Call { index, name, .. }) => format!("[{index} {name}]"),
        Output::Emit(Delta::End { finish, .. }) => format!("#{finish:?}"),
        Output::Emit(Delta::Failed(error)) => format!("#{}", error.code()),
        Output::Interrupt => "!".to_owned(),
        Output::Emit(Delta::Activity(activity)) => format!("<{}>", activity.id),
        Output::Ask(_) | Output::Arm(_) => String::new(),
    };
    outputs.iter().map(tell).collect()
}

/// The questions in short form: `index call`, `text bytes`, `quiet ms`.
fn questions(outputs: &[Output]) -> Vec<String> {
    let ask = |output: &Output| match output {
        Output::Ask(tool_stop::Event::Called(tool_stop::Call {
            name,
            textual,
            index,
            ..
        })) => Some(format!("{index} {name}{}", if *textual { "*" } else { "" })),
        Output::Ask(tool_stop::Event::TextAfterCalls(bytes)) => Some(format!("text {bytes}")),
        Output::Ask(tool_stop::Event::Quiet(ms)) => Some(format!("quiet {ms}")),
        _ => None,
    };
    outputs.iter().filter_map(ask).collect()
}

/// Usage as (input, cached input, output, reasoning), and whether it is estimated.
fn cost(outputs: &[Output]) -> ([u64; 4], bool) {
    let end = outputs.iter().find_map(|output| match output {
        Output::Emit(Delta::End {
            usage, estimated, ..
        }) => Some((
            [
                usage.input,
                usage.cached_input,
                usage.output,
                usage.reasoning,
            ],
            *estimated,
        )),
        _ => None,
    });
    end.expect("the turn ended well")
}

#[test]
fn an_answer_that_codex_dropped_is_filtered_not_empty() {
    for (rules, words, expected) in [
        (
            Rules::default(),
            &[":withheld", ":sampled"][..],
            "#ContentFilter",
        ),
        (
            json_object(),
            &["(a)", ":withheld", ":sampled"],
            "(a)#ContentFilter",
        ),
        // Only the last response of a turn counts.
        (
            Rules::default(),
            &["a", ":sampled", ":withheld", ":sampled"],
            "a#ContentFilter",
        ),
        (
            Rules::default(),
            &[":withheld", ":sampled", "a", ":sampled"],
            "a#Stop",
        ),
    ] {
        let words = [words, &[":completed"]].concat();
        assert_eq!(told(&play(rules, &words)), expected, "{words:?}");
    }
}

#[test]
fn every_turn_ends_as_codex_says() {
    let plain = Rules::default;
    let held = || stopping_at(&["END"]);
    for (rules, words, expected) in [
        (
            plain(),
            &["Hel", "lo", ":sampled", ":completed"][..],
            "Hello#Stop",
        ),
        (plain(), &[":sampled", ":completed"], "#Stop"),
        (plain(), &[":completed"], "#Stop"),
        (plain(), &["a", ":max"], "a#Length"),
        (plain(), &["a", ":filter"], "a#ContentFilter"),
        (plain(), &["a", ":interrupted"], "a#turn_interrupted"),
        (plain(), &["a", ":cut"], "a#upstream_error"),
        (plain(), &["a", ":sampled", ":busy"], "a#worker_busy"),
        (tools(), &["[f]", ":cut"], "[0 f]#upstream_error"),
        (tools(), &["[f]", ":completed"], "[0 f]#ToolCalls"),
        (tools(), &["[f]", ":max"], "[0 f]#Length"),
        (tools(), &["[f]", ":filter"], "[0 f]#ContentFilter"),
        (held(), &["a E", ":cut"], "a #upstream_error"),
        (held(), &["a E", ":max"], "a E#Length"),
    ] {
        assert_eq!(told(&play(rules, words)), expected, "{words:?}");
    }
}

#[test]
fn usage_is_what_the_provider_counted_else_an_estimate() {
    let stop = || stopping_at(&["END"]);
    let known = [100, 40, 10, 3];
    for (rules, words, expected) in [
        (
            tools(),
            &["abc", ":sampled", ":completed"][..],
            (known, false),
        ),
        (
            tools(),
            &["a", ":sampled", "b", ":sampled", ":completed"],
            ([200, 80, 20, 6], false),
        ),
        (tools(), &["[f]", ":sampled"], (known, false)),
        (tools(), &["abcde", ":completed"], ([7, 0, 2, 0], true)),
        (tools(), &["abcde", ":max"], ([7, 0, 2, 0], true)),
        (tools(), &["(abcde)", "a", ":max"], ([7, 0, 3, 2], true)),
        (tools(), &["[ff]", ":completed"], ([7, 0, 1, 0], true)),
        (stop(), &["abcdEND of it"], ([7, 0, 1, 0], true)),
        (limited(2), &["a long answer"], ([7, 0, 2, 0], true)),
        // The provider counted the first upstream response; the second is cut off.
        (stop(), &["a", ":sampled", "bEND"], ([107, 40, 11, 3], true)),
        // Text that was held back until its response was counted is not counted again.
        (
            stop(),
            &["aaaaaaaE", ":sampled", ":completed"],
            (known, false),
        ),
    ] {
        let rules = Rules {
            prompt_tokens_estimate: 7,
            ..rules
        };
        assert_eq!(cost(&play(rules, words)), expected, "{words:?}");
    }
}

#[test]
fn a_retry_is_unseen_until_something_was_sent() {
    let plain = Rules::default;
    for (rules, before, expected) in [
        (plain(), &[][..], "again#Stop"),
        (stopping_at(&["END"]), &["E"], "again#Stop"),
        (textual(), &["<use_tool>x"], "again#Stop"),
        (plain(), &["ag"], "ag!#upstream_restarted"),
        (plain(), &["(r)"], "(r)!#upstream_restarted"),
        (tools(), &["[f]"], "[0 f]!#upstream_restarted"),
        // Only the present upstream response is repeated.
        (stopping_at(&["END"]), &["E", ":sampled"], "Eagain#Stop"),
        (plain(), &["first, ", ":sampled"], "first, again#Stop"),
        (
            plain(),
            &["first, ", ":sampled", "ag"],
            "first, ag!#upstream_restarted",
        ),
    ] {
        let words = [before, &[":retrying", "again", ":sampled", ":completed"]].concat();
        assert_eq!(told(&play(rules, &words)), expected, "{before:?}");
    }
    let words = script(&["[f]", ":retrying", "a", ":sampled", ":completed"]);
    let dropped = play_with(tools(), words, |_| Reaction::Drop);
    assert_eq!(told(&dropped), "a#Stop");
}

#[test]
fn limits_and_faults_fail_the_turn_and_stop_codex() {
    for (input, expected) in [
        (Input::Fail(overrun(Timer::Total)), "a!#request_timeout"),
        (Input::Fail(overrun(Timer::Idle)), "a!#idle_timeout"),
        (
            Input::Fail(Error::Policy("trap".to_owned())),
            "a!#policy_unavailable",
        ),
        (Input::Fail(Error::Draining), "a!#shutting_down"),
        (Input::ClientGone, "a!"),
    ] {
        let (mut machine, mut out) = (Machine::new(tools()), Vec::new());
        machine.step(Input::Event(event("a")), &mut out);
        machine.step(Input::Event(event("[f]")), &mut out);
        machine.step(input, &mut out);
        assert_eq!(told(&out), expected);
        assert!(machine.is_done() && !machine.is_asking());
    }
}

#[test]
fn nothing_follows_the_end() {
    let anything = || {
        [
            Input::Event(event("b")),
            Input::Event(event("[g]")),
            Input::Event(event(":completed")),
            Input::Verdict(Reaction::Stop),
            Input::Quiet,
            Input::Fail(Error::Draining),
            Input::ClientGone,
        ]
    };
    let last = [
        Input::Event(event(":completed")),
        Input::Event(event(":cut")),
        Input::Event(event("END")),
        Input::Fail(overrun(Timer::Total)),
        Input::ClientGone,
    ];
    for last in last {
        let (mut machine, mut out) = (Machine::new(stopping_at(&["END"])), Vec::new());
        machine.step(Input::Event(event("a")), &mut out);
        machine.step(last.clone(), &mut out);
        assert!(machine.is_done(), "{last:?}");
        let length = out.len();
        for input in anything() {
            machine.step(input, &mut out);
        }
        assert_eq!(out.len(), length, "after {last:?}");
    }
}

#[test]
fn every_delta_leaves_through_the_function_that_counts_it() {
    let sources = [
        include_str!("../machine.rs"),
        include_str!("answer.rs"),
        include_str!("progress.rs"),
    ];
    let emits = sources.map(|source| source.matches("push(Output::Emit(").count());
    assert_eq!(emits, [0, 1, 0], "`AnswerText::emit` is that function");
}
