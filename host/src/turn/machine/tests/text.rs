//! Text: breaks, stop sequences, token limits, and that the borders of pieces make no difference.

use super::*;

#[test]
fn messages_and_reasoning_parts_are_kept_apart() {
    for (rules, words, expected) in [
        (Rules::default(), &["a", ":break", "b"][..], "a\n\nb#Stop"),
        (Rules::default(), &["a", ":break"], "a#Stop"),
        (Rules::default(), &["", ":break", "b"], "b#Stop"),
        (
            Rules::default(),
            &["(a)", "(:break)", "(b)", "c"],
            "(a)(\n\nb)c#Stop",
        ),
        (Rules::default(), &["(:break)", "(b)", "()"], "(b)#Stop"),
        (
            stopping_at(&["\n\n"]),
            &["one", ":break", "two"],
            "one!#Stop",
        ),
        // The first message is still held back when the second begins.
        (
            stopping_at(&["END"]),
            &["E", ":break", "two"],
            "E\n\ntwo#Stop",
        ),
        (
            textual(),
            &["<use_tool", ":break", "two"],
            "<use_tool\n\ntwo#Stop",
        ),
    ] {
        let words = [words, &[":completed"]].concat();
        assert_eq!(told(&play(rules, &words)), expected, "{words:?}");
    }
}

#[test]
fn text_ends_before_the_first_stop_sequence() {
    for (stop, pieces, expected) in [
        (&["END"][..], &["one EN", "D two"][..], "one !#Stop"),
        (&["END"], &["END"], "!#Stop"),
        (&["END"], &["one EN"], "one EN#Stop"),
        (&["END", "\nUser:"], &["one\nUs", "er: END"], "one!#Stop"),
        (&["abc", "b"], &["xabc"], "xa!#Stop"),
        (&["bc", "abc"], &["xabc"], "x!#Stop"),
        (&["日本"], &["a日", "本b"], "a!#Stop"),
        (&[], &["END"], "END#Stop"),
    ] {
        let words = [pieces, &[":completed"]].concat();
        assert_eq!(told(&play(stopping_at(stop), &words)), expected, "{stop:?}");
    }
}

#[test]
fn text_is_held_back_only_while_it_may_become_a_stop_sequence() {
    let (mut machine, mut out) = (Machine::new(stopping_at(&["\nUser:"])), Vec::new());
    for (piece, expected) in [("a\nUs", "a"), ("e", "a"), ("d\n", "a\nUsed")] {
        machine.step(Input::Event(event(piece)), &mut out);
        assert_eq!(told(&out), expected);
    }
}

#[test]
fn a_token_limit_cuts_at_four_bytes_a_token_and_never_inside_a_character() {
    for (tokens, pieces, expected) in [
        (1, &["abcd"][..], "abcd#Stop"),
        (1, &["abcde"], "abcd!#Length"),
        (1, &["ab", "cd", "e"], "abcd!#Length"),
        (1, &["abc", "é"], "abc!#Length"),
        (1, &["éé", "é"], "éé!#Length"),
        (1, &["日本語"], "日!#Length"),
        (
            1,
            &["(long reasoning)", "abcd"],
            "(long reasoning)abcd#Stop",
        ),
        (u64::MAX, &["abcd"], "abcd#Stop"),
    ] {
        let words = [pieces, &[":completed"]].concat();
        assert_eq!(told(&play(limited(tokens), &words)), expected, "{pieces:?}");
    }
}

#[test]
fn a_stop_sequence_after_a_call_leaves_the_call_to_be_answered() {
    let rules = Rules {
        tools: true,
        ..stopping_at(&["END"])
    };
    let words = ["a", "[f]", "b END", ":sampled", ":completed"];
    assert_eq!(told(&play(rules, &words)), "a[0 f]b !#ToolCalls");
}

/// The limit also applies to text that a stop sequence held back.
#[test]
fn of_a_limit_and_a_stop_sequence_the_earlier_ends_the_answer() {
    for (piece, expected) in [
        ("abcEN", "abcE#Length"),
        ("abcdEND", "abcd!#Stop"),
        ("abcdeEND", "abcd!#Length"),
        ("abcENDe", "abc!#Stop"),
    ] {
        let rules = Rules {
            stop: vec!["END".to_owned()],
            ..limited(1)
        };
        assert_eq!(told(&play(rules, &[piece, ":completed"])), expected);
    }
}

#[test]
fn a_limit_before_a_block_ends_the_answer_unasked() {
    for (stop, text) in [
        ("-", "abcdef<use_tool></use_tool>"),
        ("e\n", "abcde<use_tool></use_tool>"),
    ] {
        let rules = Rules {
            max_tokens: Some(1),
            textual_tools: Textual::Text,
            ..stopping_at(&[stop])
        };
        let outputs = play(rules, &[text]);
        assert_eq!(told(&outputs), "abcd!#Length");
        assert_eq!(questions(&outputs), [""; 0]);
    }
}

/// The same script with its text in other pieces gives the client the same answer.
#[test]
fn the_answer_does_not_depend_on_how_codex_cuts_its_text() {
    let script = script(&[
        "(think)",
        "Hello hel",
        ":break",
        "lo <use_tool name=\"f\">é日</use_tool> and \n\nUse",
        ":sampled",
        " more\n\nUser: <use_tool name=\"g\">2</use_tool> \n\nUser! tail",
        ":sampled",
        ":completed",
    ]);
    let everything = Rules {
        textual_tools: Textual::Text,
        max_tokens: Some(22),
        ..stopping_at(&["\n\nUser!", ">2<"])
    };
    for rules in [
        Rules::default(),
        textual(),
        limited(9),
        limited(16),
        stopping_at(&["\n\nUser!", "tail"]),
        stopping_at(&["lo\n\nl"]),
        everything,
    ] {
        for reaction in [
            Reaction::GoOn,
            Reaction::HideTail,
            Reaction::Drop,
            Reaction::Stop,
            Reaction::Wait(10),
        ] {
            let read = |script| told(&play_with(rules.clone(), script, |_| reaction));
            let whole = read(script.clone());
            assert!(whole.contains('#'), "{rules:?} {reaction:?}");
            for cut in cuts(&script) {
                assert_eq!(read(cut.clone()), whole, "{rules:?} {reaction:?} {cut:?}");
            }
        }
    }
}

/// The script with one of its texts in two pieces, cut at every place; and with every character as a piece of its own.
fn cuts(script: &[Event]) -> Vec<Vec<Event>> {
    let mut cuts = Vec::new();
    for (at, event) in script.iter().enumerate() {
        let Event::Text(text) = event else { continue };
        for (border, _) in text.char_indices() {
            let (one, two) = text.split_at(border);
            let pieces = [one, two].map(|piece| Event::Text(piece.to_owned()));
            let mut cut = script.to_vec();
            cut.splice(at..=at, pieces);
            cuts.push(cut);
        }
    }
    let characters = script.iter().flat_map(|event| match event {
        Event::Text(text) => text.chars().map(|c| Event::Text(c.into())).collect(),
        other => vec![other.clone()],
    });
    cuts.push(characters.collect());
    cuts
}

#[test]
fn an_answer_that_should_be_a_json_object_is_checked_when_it_is_complete() {
    let cut = Rules {
        max_tokens: Some(1),
        ..json_object()
    };
    let stopped = Rules {
        stop: vec![",".to_owned()],
        ..json_object()
    };
    for (rules, words, expected) in [
        (
            json_object(),
            &[" {\"a\"", ": [1, {}]}\n", ":completed"][..],
            " {\"a\": [1, {}]}\n#Stop",
        ),
        (json_object(), &["{}", ":sampled", ":completed"], "{}#Stop"),
        (
            json_object(),
            &["Sure: {}", ":completed"],
            "Sure: {}#answer_not_json",
        ),
        (
            json_object(),
            &["```json\n{}\n```", ":completed"],
            "```json\n{}\n```#answer_not_json",
        ),
        (
            json_object(),
            &["{}", ":break", "{}", ":completed"],
            "{}\n\n{}#answer_not_json",
        ),
        (json_object(), &["1", ":completed"], "1#answer_not_json"),
        (
            json_object(),
            &["{\"a\": 1", ":completed"],
            "{\"a\": 1#answer_not_json",
        ),
        (json_object(), &[":completed"], "#answer_not_json"),
        // A cut-off answer is not complete, and an answer with calls is not the final one.
        (json_object(), &["{\"a\"", ":max"], "{\"a\"#Length"),
        (
            json_object(),
            &["{\"a\"", ":filter"],
            "{\"a\"#ContentFilter",
        ),
        (
            json_object(),
            &["Hm.", "[f]", ":sampled"],
            "Hm.[0 f]!#ToolCalls",
        ),
        (cut, &["{\"a\": 1}", ":completed"], "{\"a\"!#Length"),
        (stopped, &["{\"a\": 1,", ":completed"], "{\"a\": 1!#Stop"),
        (Rules::default(), &["no JSON", ":completed"], "no JSON#Stop"),
    ] {
        assert_eq!(told(&play(rules, words)), expected, "{words:?}");
    }
}
