//! The bytes of answers, against the files in `tests/fixtures/golden/messages`: `NAME.sse` streamed, `NAME.json` in one piece.

use super::*;
use crate::openai::tests::golden::{assert_golden, busy, call, end, head, says};
use crate::turn::{Delta, Finish};

fn form(thinking: bool, one_call: bool) -> Form {
    Form {
        thinking,
        one_call,
        names: Forms::default(),
    }
}

fn streamed(form: Form, deltas: &[Delta]) -> String {
    let events = Events::new(head("msg_golden"), form, "req_golden".to_owned(), 99);
    let (mut events, mut out) = (events, Vec::new());
    for delta in deltas {
        events.push(delta.clone(), &mut out);
    }
    let frames = out.into_iter().map(|Event { name, data }| {
        assert!(data.starts_with(&format!(r#"{{"type":"{name}""#)), "{data}");
        format!("event: {name}\ndata: {data}\n\n")
    });
    frames.collect()
}

fn whole(form: Form, deltas: &[Delta]) -> Result<String, ApiError> {
    let mut message = Message::new(head("msg_golden"), form);
    for delta in deltas {
        message.push(delta.clone());
    }
    message.into_json()
}

fn stopped_at(word: &str) -> Delta {
    match end(Finish::Stop) {
        Delta::End {
            finish,
            usage,
            estimated,
            ..
        } => Delta::End {
            finish,
            stop: Some(word.to_owned()),
            usage,
            estimated,
        },
        other => other,
    }
}

#[test]
fn answers_are_written_as_the_goldens() {
    let thinks = |text: &str| Delta::Reasoning(text.to_owned());
    let plain = form(false, false);
    let calls = [
        says("I look."),
        call(0, "{\"city\": \"Paris\", \"n\": 1.0}"),
        call(1, ""),
        end(Finish::ToolCalls),
    ];
    for (name, form, deltas) in [
        (
            "text",
            plain.clone(),
            vec![says("Hel"), says("lo \"wörld\"\n"), end(Finish::Stop)],
        ),
        ("empty", plain.clone(), vec![end(Finish::Stop)]),
        (
            "thinking",
            form(true, false),
            vec![
                thinks("**Hm"),
                thinks("**"),
                says("Yes"),
                thinks("More"),
                end(Finish::Stop),
            ],
        ),
        (
            "thinking-unasked",
            plain.clone(),
            vec![thinks("Hm"), says("Yes"), end(Finish::Stop)],
        ),
        (
            "length",
            plain.clone(),
            vec![says("Once"), end(Finish::Length)],
        ),
        ("refusal", plain.clone(), vec![end(Finish::ContentFilter)]),
        (
            "stop-sequence",
            plain.clone(),
            vec![says("Once"), stopped_at("END")],
        ),
        ("tool-calls", plain.clone(), calls.to_vec()),
        ("one-tool-call", form(false, true), calls.to_vec()),
        (
            "odd-arguments",
            plain,
            vec![call(0, "[1]"), end(Finish::ToolCalls)],
        ),
    ] {
        assert_golden(
            &format!("messages/{name}.sse"),
            &streamed(form.clone(), &deltas),
        );
        let json = whole(form, &deltas).expect("an answer") + "\n";
        assert_golden(&format!("messages/{name}.json"), &json);
    }
}

#[test]
fn a_failure_is_the_last_event_and_no_message() {
    let deltas = [says("Once"), busy(), says("more"), end(Finish::Stop)];
    assert_golden("messages/failure.sse", &streamed(Form::default(), &deltas));
    let error = whole(Form::default(), &deltas[..2]).unwrap_err();
    assert_eq!(error.code, "worker_busy");
    assert!(
        whole(Form::default(), &deltas[..1]).is_err(),
        "it did not end"
    );
}

#[test]
fn activity_is_told_beside_the_answer() {
    use crate::codex::{Action, Activity, Progress};
    let query = "birds".to_owned();
    let searched = Delta::Activity(Activity {
        id: "1".to_owned(),
        status: Progress::Completed,
        action: Action::WebSearch { query },
    });
    let deltas = [says("On"), searched, says("ce"), end(Finish::Stop)];
    let stream = streamed(Form::default(), &deltas);
    let ping = stream
        .split("\n\n")
        .find(|frame| frame.starts_with("event: ping"));
    assert!(
        ping.unwrap().contains(r#""x_codex":{"activity":[{"#),
        "{stream}"
    );
    let told: Value = serde_json::from_str(&whole(Form::default(), &deltas).unwrap()).unwrap();
    assert_eq!(told["x_codex"]["activity"][0]["query"], "birds");
    assert_eq!(told["content"], json!([{"type": "text", "text": "Once"}]));
    assert_eq!(Event::ping().data, r#"{"type":"ping"}"#);
}
