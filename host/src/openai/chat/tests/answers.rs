//! The bytes of answers, against the files in `tests/fixtures/golden/chat`: `NAME.sse` streamed, `NAME.json` in one piece.

use super::*;
use crate::codex::Usage;
use crate::openai::tests::golden::{assert_golden, busy, call, end, head, says};
use crate::turn::Delta;

fn form(include_usage: bool, functions: bool) -> Form {
    Form {
        stream: true,
        include_usage,
        functions,
        one_call: functions,
        ..Form::default()
    }
}

fn chunks(form: Form, deltas: &[Delta]) -> Vec<String> {
    let (mut chunks, mut out) = (Chunks::new(head("chatcmpl-golden"), form), Vec::new());
    chunks.begin(&mut out);
    for delta in deltas {
        chunks.push(0, delta.clone(), &mut out);
    }
    out
}

fn completion(form: Form, deltas: &[Delta]) -> Result<String, ApiError> {
    let mut completion = Completion::new(head("chatcmpl-golden"), form);
    for delta in deltas {
        completion.push(0, delta.clone());
    }
    completion.into_json()
}

#[test]
fn answers_are_written_as_the_goldens() {
    let reasoning = |text: &str| Delta::Reasoning(text.to_owned());
    let (plain, usage, functions) = (form(false, false), form(true, false), form(false, true));
    let calls = [
        call(0, "{\"city\":\"Paris\"}"),
        call(1, ""),
        end(Finish::ToolCalls),
    ];
    for (name, form, deltas) in [
        (
            "text",
            plain,
            vec![says("Hel"), says("lo \"wörld\"\n"), end(Finish::Stop)],
        ),
        ("usage", usage, vec![says("Hi"), end(Finish::Stop)]),
        ("empty", plain, vec![end(Finish::Stop)]),
        (
            "reasoning",
            plain,
            vec![
                reasoning("**Hm"),
                reasoning("**"),
                says("Yes"),
                end(Finish::Stop),
            ],
        ),
        ("length", plain, vec![says("Once"), end(Finish::Length)]),
        (
            "content-filter",
            plain,
            vec![says("Once"), end(Finish::ContentFilter)],
        ),
        ("tool-calls", usage, calls.to_vec()),
        (
            "text-and-tool-call",
            plain,
            vec![says("I look."), call(0, "{}"), end(Finish::ToolCalls)],
        ),
        ("function-call", functions, calls.to_vec()),
    ] {
        let frames = chunks(form, &deltas)
            .into_iter()
            .map(|data| format!("data: {data}\n\n"));
        assert_golden(&format!("chat/{name}.sse"), &frames.collect::<String>());
        let whole = completion(form, &deltas).expect("an answer") + "\n";
        assert_golden(&format!("chat/{name}.json"), &whole);
    }
    let frames = chunks(plain, &[says("Hel"), busy()])
        .into_iter()
        .map(|data| format!("data: {data}\n\n"));
    assert_golden("chat/failure.sse", &frames.collect::<String>());
}

#[test]
fn who_wants_no_parallel_calls_gets_one() {
    let form = Form {
        one_call: true,
        ..form(false, false)
    };
    let deltas = [call(0, "{}"), call(1, "{}"), end(Finish::ToolCalls)];
    let whole = completion(form, &deltas).expect("an answer");
    assert_eq!(whole.matches("\"type\":\"function\"").count(), 1, "{whole}");
    let streamed = chunks(form, &deltas).concat();
    assert_eq!(streamed.matches("\"type\":\"function\"").count(), 1);
    assert!(streamed.contains("\"tool_calls\"") && streamed.ends_with("[DONE]"));
}

#[test]
fn an_answer_that_fails_or_breaks_off_is_never_told_as_complete() {
    let failed = completion(form(false, false), &[says("Hel"), busy()]);
    assert_eq!(failed.expect_err("the failure").code, "worker_busy");
    let cut = completion(form(false, false), &[says("Hel")]);
    assert_eq!(cut.expect_err("a failure").status, 502);
    let streamed = chunks(
        form(true, false),
        &[says("Hel"), busy(), says("lo"), end(Finish::Stop)],
    );
    assert!(
        streamed
            .last()
            .expect("a failure")
            .starts_with("{\"error\":")
    );
    assert!(
        !streamed
            .iter()
            .any(|data| data.contains("[DONE]") || data.contains("\"stop\""))
    );
}

#[test]
fn the_role_comes_first_and_once() {
    let mut chunks = Chunks::new(head("chatcmpl-golden"), Form::default());
    let mut out = Vec::new();
    chunks.push(0, says("a"), &mut out);
    chunks.begin(&mut out);
    chunks.push(0, says("b"), &mut out);
    let roles: Vec<bool> = out
        .iter()
        .map(|data| data.contains("\"role\":\"assistant\""))
        .collect();
    assert_eq!(roles, [true, false, false]);
}

#[test]
fn nothing_follows_the_end() {
    let streamed = chunks(
        form(false, false),
        &[end(Finish::Stop), says("a"), busy(), end(Finish::Length)],
    );
    assert_eq!(streamed.len(), 3, "role, finish, done: {streamed:?}");
}

/// Rules whose violation broke clients of other gateways, checked for every chunk of every answer.
#[test]
fn every_chunk_keeps_the_rules_clients_rely_on() {
    let deltas = [
        says("a"),
        call(0, "{}"),
        call(1, "{}"),
        end(Finish::ToolCalls),
    ];
    for include_usage in [false, true] {
        let streamed = chunks(form(include_usage, false), &deltas);
        let (done, streamed) = streamed.split_last().expect("chunks");
        assert_eq!(done, "[DONE]");
        let chunks: Vec<Value> = streamed
            .iter()
            .map(|data| serde_json::from_str(data).expect("JSON"))
            .collect();
        for chunk in &chunks {
            assert_eq!(chunk["id"], "chatcmpl-golden");
            assert_eq!(chunk["created"], 1_800_000_000);
            assert_eq!(chunk["model"], "codex-5");
            let choices = chunk["choices"].as_array().expect("choices");
            assert!(
                choices
                    .iter()
                    .all(|choice| choice.get("finish_reason").is_some())
            );
            assert_eq!(chunk.get("usage").is_some(), include_usage);
            assert_eq!(choices.is_empty(), chunk["usage"].is_object());
        }
        let finishes = chunks
            .iter()
            .filter(|chunk| chunk["choices"][0]["finish_reason"].is_string());
        assert_eq!(finishes.count(), 1);
    }
}

/// The fragments of a stream, joined as SDKs join them, give the same calls as the completion.
#[test]
fn fragments_of_calls_join_to_the_calls() {
    let deltas = [
        call(0, "{\"city\":\"Paris\"}"),
        call(1, ""),
        end(Finish::ToolCalls),
    ];
    let mut joined = vec![(String::new(), String::new(), String::new()); 2];
    for data in chunks(form(false, false), &deltas) {
        let Ok(chunk) = serde_json::from_str::<Value>(&data) else {
            continue;
        };
        for part in chunk["choices"][0]["delta"]["tool_calls"]
            .as_array()
            .into_iter()
            .flatten()
        {
            let call = &mut joined[usize::try_from(part["index"].as_u64().unwrap()).unwrap()];
            assert_eq!(
                part["type"] == "function",
                call.0.is_empty(),
                "the first fragment has the type"
            );
            call.0.push_str(part["id"].as_str().unwrap_or_default());
            call.1
                .push_str(part["function"]["name"].as_str().unwrap_or_default());
            call.2
                .push_str(part["function"]["arguments"].as_str().unwrap());
        }
    }
    let whole: Value =
        serde_json::from_str(&completion(form(false, false), &deltas).unwrap()).unwrap();
    for (at, (id, name, arguments)) in joined.iter().enumerate() {
        let call = &whole["choices"][0]["message"]["tool_calls"][at];
        assert_eq!(
            [
                &call["id"],
                &call["function"]["name"],
                &call["function"]["arguments"]
            ],
            [id, name, arguments]
        );
    }
    assert_eq!(joined[1].2, "{}");
}

#[test]
fn every_choice_is_told_by_its_index_and_the_usage_is_that_of_all() {
    let form = Form {
        include_usage: true,
        choices: 2,
        ..Form::default()
    };
    let end = |output| Delta::End {
        stop: None,
        finish: Finish::Stop,
        usage: Usage {
            input: 10,
            output,
            ..Usage::default()
        },
        estimated: false,
    };
    let deltas = [(1, says("b")), (0, says("a")), (1, end(1)), (0, end(2))];
    let (mut chunks, mut out) = (Chunks::new(head("chatcmpl-golden"), form), Vec::new());
    let mut completion = Completion::new(head("chatcmpl-golden"), form);
    chunks.begin(&mut out);
    for (choice, delta) in deltas {
        chunks.push(choice, delta.clone(), &mut out);
        completion.push(choice, delta);
    }
    let done = out.pop();
    assert_eq!(done.as_deref(), Some("[DONE]"));
    let parsed: Vec<Value> = out
        .iter()
        .map(|json| serde_json::from_str(json).unwrap())
        .collect();
    let told: Vec<(&Value, &Value)> = parsed
        .iter()
        .map(|chunk| &chunk["choices"][0])
        .map(|choice| (&choice["index"], &choice["finish_reason"]))
        .collect();
    let (zero, one, stop, null) = (json!(0), json!(1), json!("stop"), Value::Null);
    assert_eq!(
        told,
        [
            (&zero, &null),
            (&one, &null),
            (&one, &null),
            (&zero, &null),
            (&one, &stop),
            (&zero, &stop),
            (&null, &null)
        ]
    );
    assert_eq!(parsed[6]["usage"]["total_tokens"], 23);
    let whole: Value = serde_json::from_str(&completion.into_json().unwrap()).unwrap();
    assert_eq!(whole["choices"][1]["message"]["content"], "b");
    assert_eq!(whole["usage"]["completion_tokens"], 3);
}
