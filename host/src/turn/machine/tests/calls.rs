//! Calls: when the client gets them, how they end the turn, and how the tool-stop policy's reactions are carried out.

use Reaction::{Drop, GoOn, HideTail, Stop};

use super::*;

#[test]
fn a_block_beyond_the_end_of_the_answer_is_nobodys_question() {
    let block = "12345<use_tool><name>a</name></use_tool>";
    let rules = [
        Rules {
            textual_tools: Textual::Calls {
                id_prefix: "call_".to_owned(),
            },
            ..limited(1)
        },
        Rules {
            stop: vec!["5".to_owned()],
            ..textual()
        },
    ];
    for rules in rules {
        let outputs = play_with(rules, script(&[block, ":completed"]), |question| {
            panic!("{question:?}")
        });
        assert!(outputs.contains(&Output::Emit(Delta::Text("1234".to_owned()))));
    }
}

/// Plays a script with these answers in order, then `GoOn`. Returns the questions and the outputs.
fn judged(rules: Rules, words: &[&str], answers: &[Reaction]) -> (String, String) {
    let mut answers = answers.iter().copied();
    let outputs = play_with(rules, script(words), |_| answers.next().unwrap_or(GoOn));
    (questions(&outputs).join(", "), told(&outputs))
}

#[test]
fn calls_end_the_turn_when_the_upstream_response_is_complete() {
    let words = [
        "I look.",
        "[f]",
        "[g]",
        ":sampled",
        "never seen",
        ":completed",
    ];
    let outputs = play(tools(), &words);
    assert_eq!(told(&outputs), "I look.[0 f][1 g]!#ToolCalls");
    let call = Output::Emit(Delta::Call {
        index: 0,
        id: "call_f".to_owned(),
        name: "f".to_owned(),
        arguments: "{}".to_owned(),
    });
    assert!(outputs.contains(&call), "a call is given as it was made");
}

#[test]
fn a_call_reaches_the_client_as_soon_as_its_verdict_allows() {
    let (mut machine, mut out) = (Machine::new(tools()), Vec::new());
    machine.step(Input::Event(event("[f]")), &mut out);
    assert_eq!((told(&out).as_str(), machine.calls()), ("", 1));
    // One question at a time: events in the meantime wait, in order.
    machine.step(Input::Event(event("[g]")), &mut out);
    machine.step(Input::Event(event(":sampled")), &mut out);
    assert_eq!(questions(&out), ["0 f"]);
    machine.step(Input::Verdict(GoOn), &mut out);
    assert_eq!((told(&out).as_str(), machine.calls()), ("[0 f]", 2));
    assert_eq!(questions(&out), ["0 f", "1 g"]);
    machine.step(Input::Verdict(Drop), &mut out);
    assert_eq!(told(&out), "[0 f]!#ToolCalls");
    assert_eq!(machine.calls(), 1);
}

#[test]
fn what_comes_while_a_question_is_open_waits_in_order() {
    let words = [
        "[f]",
        "1<use_tool>x</use_tool>2",
        "3",
        "[g]",
        "4",
        ":sampled",
    ];
    let rules = Rules {
        textual_tools: Textual::Text,
        ..tools()
    };
    let one_by_one = told(&play(rules.clone(), &words));
    assert_eq!(
        one_by_one,
        "[0 f]1<use_tool>x</use_tool>23[1 g]4!#ToolCalls"
    );
    let (mut machine, mut out) = (Machine::new(rules), Vec::new());
    for event in script(&words) {
        machine.step(Input::Event(event), &mut out);
    }
    while machine.is_asking() {
        machine.step(Input::Verdict(GoOn), &mut out);
    }
    assert_eq!(told(&out), one_by_one);
}

#[test]
fn text_that_was_held_back_comes_before_the_call() {
    let rules = |rules: Rules| Rules {
        tools: true,
        ..rules
    };
    let (held, block) = (rules(stopping_at(&["END"])), rules(textual()));
    for (rules, words, answers, expected) in [
        (
            &held,
            &["a E", "[f]", ":sampled"][..],
            &[GoOn][..],
            "a E[0 f]!#ToolCalls",
        ),
        (
            &block,
            &["a <use_tool>", "[f]", ":sampled"],
            &[GoOn],
            "a <use_tool>[0 f]!#ToolCalls",
        ),
        (
            &held,
            &["[f]", "b E", "[g]", ":sampled"],
            &[HideTail],
            "[0 f]b E[1 g]!#ToolCalls",
        ),
        // The limit also applies to withheld text: the call after it is cut off.
        (
            &rules(limited(1)),
            &["[f]", "abcde", "[g]"],
            &[HideTail],
            "[0 f]abcd!#Length",
        ),
    ] {
        assert_eq!(
            judged(rules.clone(), words, answers).1,
            expected,
            "{words:?}"
        );
    }
}

#[test]
fn without_offered_tools_a_call_is_codexs_own_affair() {
    let words = ["[f]", ":sampled", "a", ":sampled", ":completed"];
    let outputs = play(Rules::default(), &words);
    assert_eq!(told(&outputs), "a#Stop");
    assert_eq!(questions(&outputs), [""; 0]);
}

/// Every reaction to every question, in one script: two calls with text before, between and after.
#[test]
fn the_tool_stop_policy_is_obeyed() {
    let words = ["a", "[f]", "b", "c", "[g]", "d", ":sampled", ":completed"];
    let all = "0 f, text 1, 1 g, text 1";
    for (answers, asked, expected) in [
        (&[][..], all, "a[0 f]bc[1 g]d!#ToolCalls"),
        (&[Stop], "0 f", "a[0 f]!#ToolCalls"),
        (&[GoOn, Stop], "0 f, text 1", "a[0 f]!#ToolCalls"),
        (
            &[GoOn, GoOn, Stop],
            "0 f, text 1, 1 g",
            "a[0 f]bc[1 g]!#ToolCalls",
        ),
        (&[Drop], "0 f, 0 g, text 1", "abc[0 g]d!#ToolCalls"),
        (&[Drop, Drop], "0 f, 0 g", "abcd!#Stop"),
        (&[Drop, Stop], "0 f, 0 g", "abc[0 g]!#ToolCalls"),
        (&[GoOn, Drop], all, "a[0 f][1 g]d!#ToolCalls"),
        (
            &[GoOn, GoOn, Drop],
            "0 f, text 1, 1 g",
            "a[0 f]bcd!#ToolCalls",
        ),
        (&[HideTail], "0 f, 1 g, text 1", "a[0 f]bc[1 g]d!#ToolCalls"),
        (
            &[HideTail, HideTail],
            "0 f, 1 g",
            "a[0 f]bc[1 g]!#ToolCalls",
        ),
        (&[HideTail, Drop], "0 f, 1 g", "a[0 f]!#ToolCalls"),
        (
            &[GoOn, HideTail, GoOn, HideTail],
            all,
            "a[0 f]bc[1 g]!#ToolCalls",
        ),
    ] {
        let expected = (asked.to_owned(), expected.to_owned());
        assert_eq!(judged(tools(), &words, answers), expected, "{answers:?}");
    }
}

#[test]
fn a_wait_counts_from_its_verdict_and_text_does_not_prolong_it() {
    let (mut machine, mut out) = (Machine::new(tools()), Vec::new());
    let mut last = |input| {
        out.clear();
        machine.step(input, &mut out);
        out.last().cloned()
    };
    let ask = |question| Some(Output::Ask(question));
    last(Input::Event(event("[f]")));
    assert_eq!(last(Input::Quiet), None, "the policy is thinking");
    let armed = Some(Output::Arm(300));
    assert_eq!(last(Input::Verdict(Reaction::Wait(300))), armed);
    let reasoning = Some(Output::Emit(Delta::Reasoning("r".to_owned())));
    assert_eq!(last(Input::Event(event("(r)"))), reasoning);
    let text = ask(tool_stop::Event::TextAfterCalls(1));
    assert_eq!(last(Input::Event(event("b"))), text);
    assert_eq!(last(Input::Quiet), None, "the policy is thinking again");
    let shown = Some(Output::Emit(Delta::Text("b".to_owned())));
    assert_eq!(last(Input::Verdict(GoOn)), shown);
    assert_eq!(last(Input::Quiet), ask(tool_stop::Event::Quiet(300)));
    let again = Some(Output::Arm(50));
    assert_eq!(last(Input::Verdict(Reaction::Wait(50))), again);
    assert_eq!(last(Input::Quiet), ask(tool_stop::Event::Quiet(50)));
    assert_eq!(last(Input::Verdict(GoOn)), None);
    assert_eq!(last(Input::Quiet), None, "nobody waits any more");
    assert_eq!(last(Input::Verdict(Stop)), None, "nothing was asked");
    last(Input::Event(event(":sampled")));
    assert_eq!(told(&out), "!#ToolCalls");
}

#[test]
fn quiet_may_end_the_turn_with_what_there_is() {
    let rules = Rules {
        stop: vec!["END".to_owned()],
        prompt_tokens_estimate: 7,
        ..tools()
    };
    let (mut machine, mut out) = (Machine::new(rules), Vec::new());
    for input in [
        Input::Event(event("[f]")),
        Input::Verdict(Reaction::Wait(300)),
        Input::Event(event("bE")),
        Input::Verdict(GoOn),
        Input::Quiet,
        Input::Verdict(Stop),
    ] {
        machine.step(input, &mut out);
    }
    assert_eq!(told(&out), "[0 f]bE!#ToolCalls");
    assert_eq!(cost(&out), ([7, 0, 2, 0], true));
}

#[test]
fn hiding_what_is_hidden_loses_nothing() {
    let (mut machine, mut out) = (Machine::new(tools()), Vec::new());
    for input in [
        Input::Event(event("[f]")),
        Input::Verdict(Reaction::Wait(300)),
        Input::Event(event("b")),
        Input::Verdict(HideTail),
        Input::Quiet,
        Input::Verdict(HideTail),
        Input::Event(event("[g]")),
        Input::Verdict(GoOn),
    ] {
        machine.step(input, &mut out);
    }
    assert_eq!(told(&out), "[0 f]b[1 g]");
}

#[test]
fn blocks_in_the_text_are_calls_where_the_client_has_such() {
    let f = "<use_tool name=\"f\">1</use_tool>";
    let g = "<use_tool><name>g</name></use_tool>";
    let (one, two) = (format!("a{f}b"), format!("c{g}d<use_"));
    let words = [one.as_str(), &two, ":sampled", ":completed"];
    let (all, neither) = (format!("a{f}bc{g}d<use_#Stop"), "abcd<use_#Stop".to_owned());
    for (answers, asked, expected) in [
        (&[][..], "0 f*, text 1, 1 g*, text 6", all.clone()),
        (&[Stop], "0 f*", format!("a{f}!#Stop")),
        (&[GoOn, Stop], "0 f*, text 1", format!("a{f}!#Stop")),
        (&[Drop], "0 f*, 0 g*, text 6", format!("abc{g}d<use_#Stop")),
        (&[Drop, Drop], "0 f*, 0 g*", neither),
        (
            &[HideTail, HideTail],
            "0 f*, 1 g*",
            format!("a{f}bc{g}#Stop"),
        ),
    ] {
        let expected = (asked.to_owned(), expected);
        assert_eq!(judged(textual(), &words, answers), expected, "{answers:?}");
    }
    assert_eq!(judged(Rules::default(), &words, &[]), (String::new(), all));
}

#[test]
fn text_after_a_block_is_read_on_where_it_stands() {
    let f = "<use_tool name=\"f\">1</use_tool>";
    let (mut machine, mut out) = (Machine::new(textual()), Vec::new());
    let text = [f, "b", f, f].concat();
    let at = text.as_ptr();
    machine.step(Input::Event(Event::Text(text)), &mut out);
    while machine.is_asking() {
        let Some(Event::Text(rest)) = machine.queue.front() else {
            panic!("the rest of the text waits");
        };
        assert_eq!(rest.as_ptr(), at, "it is not copied");
        machine.step(Input::Verdict(Reaction::GoOn), &mut out);
    }
    assert_eq!(told(&out), format!("{f}b{f}{f}"));
    assert_eq!(
        questions(&out),
        ["0 f*", "text 63", "1 f*", "text 31", "2 f*"]
    );
}

#[test]
fn a_stop_sequence_may_reach_into_a_block() {
    let block = "a\n<use_tool name=\"f\">1</use_tool>b";
    let judged = |stop: &str, answer| {
        let rules = Rules {
            textual_tools: Textual::Text,
            ..stopping_at(&[stop])
        };
        judged(rules, &[block, ":completed"], &[answer])
    };
    for (stop, answer, asked, expected) in [
        ("\n<use_tool", GoOn, "", "a!#Stop"),
        ("</use_tool>", GoOn, "", "a\n<use_tool name=\"f\">1!#Stop"),
        // A call is a boundary: no stop sequence extends beyond its end.
        (
            ">b",
            GoOn,
            "0 f*, text 1",
            "a\n<use_tool name=\"f\">1</use_tool>b#Stop",
        ),
        // A dropped block leaves the text before it in the answer.
        ("\n<use_tools", Drop, "0 f*", "a\nb#Stop"),
    ] {
        let expected = (asked.to_owned(), expected.to_owned());
        assert_eq!(judged(stop, answer), expected, "{stop:?}");
    }
}

#[test]
fn a_written_call_becomes_a_call_where_the_client_wants_that() {
    let rules = || Rules {
        textual_tools: Textual::Calls {
            id_prefix: "call_x_".to_owned(),
        },
        ..Rules::default()
    };
    let text =
        "Look: <use_tool><name>f</name><q>1</q></use_tool> and <use_tool>nameless</use_tool>";
    for at in 0..=text.len() {
        let (mut machine, mut out) = (Machine::new(rules()), Vec::new());
        let pieces = [&text[..at], &text[at..]].map(|piece| Event::Text(piece.to_owned()));
        let ended = Event::Ended(TurnOutcome::Completed);
        for event in pieces.into_iter().chain([ended]) {
            machine.step(Input::Event(event), &mut out);
            while machine.is_asking() {
                machine.step(Input::Verdict(GoOn), &mut out);
            }
        }
        let (mut shown, mut calls) = (String::new(), Vec::new());
        for output in out {
            match output {
                Output::Emit(Delta::Text(text)) => shown.push_str(&text),
                Output::Emit(Delta::Call {
                    id,
                    name,
                    arguments,
                    ..
                }) => calls.push([id, name, arguments]),
                Output::Emit(Delta::End { finish, .. }) => assert_eq!(finish, Finish::ToolCalls),
                _ => {}
            }
        }
        assert_eq!(
            shown, "Look:  and <use_tool>nameless</use_tool>",
            "cut at {at}"
        );
        assert_eq!(calls, [["call_x_0", "f", r#"{"q":"1"}"#]], "cut at {at}");
    }
}

#[test]
fn a_delimiter_stands_between_blocks_that_follow_each_other_and_nowhere_else() {
    let f = "<use_tool name=\"f\">1</use_tool>";
    let rules = || Rules {
        block_delimiter: Some("--".to_owned()),
        ..textual()
    };
    let follow = |between: &[&str]| {
        let mut words = vec!["a ", f];
        words.extend(between);
        words.extend([f, " \n", ":completed"]);
        told(&play(rules(), &words))
    };
    for blank in [&[][..], &["\n"], &[" ", "\n\n"]] {
        assert_eq!(follow(blank), format!("a {f}--{f} \n#Stop"), "{blank:?}");
    }
    for said in [&["\nthen\n"][..], &["\n", "then", "\n"]] {
        assert_eq!(follow(said), format!("a {f}\nthen\n{f} \n#Stop"));
    }
    let plain = told(&play(textual(), &[f, "\n", f, ":completed"]));
    assert_eq!(plain, format!("{f}\n{f}#Stop"));
}
