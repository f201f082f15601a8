//! Prompts that are parsed, requests that are refused, and the bytes of answers, against the files in
//! `tests/fixtures/golden/completions`: `NAME.sse` streamed, `NAME.json` in one piece.

use serde_json::json;

use super::*;
use crate::openai::tests::golden::{assert_golden, busy, end, head, says};
use crate::turn::Delta;

const TYPE: &str = "invalid_type";
const UNSUPPORTED: &str = "unsupported_value";

fn body_with(members: &Value) -> Value {
    let mut body = json!({"prompt": "Once"});
    let members = members.as_object().expect("members").clone();
    body.as_object_mut().expect("an object").extend(members);
    body
}

fn once_with(members: &Value) -> CompletionRequest {
    let body = body_with(members).to_string();
    CompletionRequest::parse(body.as_bytes()).unwrap_or_else(|error| panic!("{error}: {body}"))
}

#[test]
fn a_prompt_is_what_the_user_says() {
    for prompt in [json!("Once"), json!(["Once"])] {
        let request = once_with(&json!({ "prompt": prompt }));
        let target = Target {
            model: "gpt-6-sol".to_owned(),
            effort: Some("low".to_owned()),
            provider: None,
        };
        let (plan, rules) = request.into_plans(&target).pop().expect("a plan");
        let expected = Plan {
            model: "gpt-6-sol".to_owned(),
            effort: Some("low".to_owned()),
            history: vec![Item::Message {
                role: Role::User,
                parts: vec![Part::Text("Once".to_owned())],
            }],
            ..Plan::default()
        };
        assert_eq!(plan, expected);
        let expected = Rules {
            prompt_tokens_estimate: 1,
            ..Rules::default()
        };
        assert_eq!(rules, expected, "no limit unless the client names one");
    }
}

#[test]
fn the_model_the_form_and_the_limits_are_read() {
    let request = once_with(&json!({
        "model": "codex-5", "stream": true, "stream_options": {"include_usage": true},
        "max_tokens": 16, "stop": ["\n"],
    }));
    assert_eq!(request.model.as_deref(), Some("codex-5"));
    let expected = Form {
        stream: true,
        include_usage: true,
        ..Form::default()
    };
    assert_eq!(request.form, expected);
    let (_, rules) = request
        .into_plans(&Target::default())
        .pop()
        .expect("a plan");
    assert_eq!(rules.max_tokens, Some(16));
    assert_eq!(rules.stop, ["\n"]);
}

#[test]
fn what_means_nothing_to_codex_is_ignored() {
    let values = json!({
        "best_of": 1, "echo": false, "frequency_penalty": 0, "logit_bias": {}, "logprobs": false,
        "n": 1, "presence_penalty": 0.1, "seed": 7, "suffix": "", "temperature": 0.2, "top_p": 1,
        "no_such_thing": [],
    });
    let names = values.as_object().expect("an object").keys();
    let names = names.map(String::as_str);
    let names = names.chain([
        "model",
        "stream",
        "stream_options",
        "max_tokens",
        "stop",
        "user",
    ]);
    let nulls: Value = names.map(|name| (name.to_owned(), Value::Null)).collect();
    let plain = once_with(&json!({}));
    assert_eq!(once_with(&values), plain);
    assert_eq!(once_with(&nulls), plain);
}

#[test]
fn what_codex_cannot_do_is_refused() {
    for (members, code, param) in [
        (
            json!({"prompt": null}),
            "missing_required_parameter",
            "prompt",
        ),
        (json!({"prompt": 1}), TYPE, "prompt"),
        (json!({"prompt": []}), "empty_array", "prompt"),
        (json!({"prompt": [null]}), TYPE, "prompt[0]"),
        (json!({"prompt": ["a", null]}), TYPE, "prompt[1]"),
        (json!({"prompt": ["a", [1]]}), UNSUPPORTED, "prompt"),
        (json!({"prompt": [1, 2]}), UNSUPPORTED, "prompt"),
        (json!({"prompt": [[1, 2]]}), UNSUPPORTED, "prompt"),
        (json!({"suffix": "the end"}), UNSUPPORTED, "suffix"),
        (json!({"suffix": 1}), TYPE, "suffix"),
        (json!({"best_of": 2}), UNSUPPORTED, "best_of"),
        (json!({"best_of": 3, "n": 2}), UNSUPPORTED, "best_of"),
        (json!({"best_of": 1, "n": 3}), UNSUPPORTED, "best_of"),
        (json!({"logprobs": 0}), UNSUPPORTED, "logprobs"),
        (json!({"logprobs": 5}), UNSUPPORTED, "logprobs"),
        (json!({"echo": true}), UNSUPPORTED, "echo"),
        (json!({"n": 0}), "integer_below_min_value", "n"),
        (json!({"n": "2"}), TYPE, "n"),
        (
            json!({"max_tokens": 0}),
            "integer_below_min_value",
            "max_tokens",
        ),
        (json!({"stop": ""}), "empty_string", "stop"),
        (json!({"stream": "yes"}), TYPE, "stream"),
        (json!({"model": 1}), TYPE, "model"),
    ] {
        let body = body_with(&members).to_string();
        let error = CompletionRequest::parse(body.as_bytes()).expect_err(&body);
        let found = (error.status, &*error.code, error.param.as_deref());
        assert_eq!(found, (400, code, Some(param)), "{members}: {error}");
        assert!(error.message.ends_with('.'), "{error}");
    }
}

#[test]
fn several_prompts_are_plans_with_the_same_rules() {
    let request = once_with(&json!({
        "prompt": ["Once", "", "Upon a time"], "n": 2, "best_of": 2, "stop": ["."],
    }));
    assert_eq!((request.form.prompts, request.form.samples), (3, 2));
    assert_eq!(request.form.choices(), 6);
    let plans = request.into_plans(&Target::default());
    let said: Vec<_> = plans.iter().map(|(plan, _)| plan.history.clone()).collect();
    let user = |text: &str| Item::Message {
        role: Role::User,
        parts: vec![Part::Text(text.to_owned())],
    };
    assert_eq!(said, [[user("Once")], [user("")], [user("Upon a time")]]);
    assert!(plans.iter().all(|(_, rules)| rules.stop == ["."]));
    let estimates = plans.iter().map(|(_, rules)| rules.prompt_tokens_estimate);
    assert_eq!(estimates.collect::<Vec<_>>(), [1, 0, 3]);
}

#[test]
fn the_answers_to_one_request_are_bounded() {
    for (prompts, samples, most, param) in [
        (1, 3, 3, None),
        (3, 1, 3, None),
        (2, 2, 3, Some("n")),
        (4, 1, 3, Some("prompt")),
        (1, u64::MAX, 128, Some("n")),
        (usize::MAX, u64::MAX, 128, Some("n")),
    ] {
        let form = Form {
            prompts,
            samples,
            ..Form::default()
        };
        let refused = bound_choices(form, most).err();
        assert_eq!(
            refused.and_then(|error| error.param.clone()).as_deref(),
            param
        );
    }
}

#[test]
fn the_answers_to_several_prompts_are_told_apart_and_summed() {
    let form = Form {
        stream: true,
        include_usage: true,
        prompts: 2,
        samples: 1,
    };
    let (mut stream, mut out) = (Chunks::new(head("cmpl-golden"), form), Vec::new());
    let mut whole = Completion::new(head("cmpl-golden"), form);
    for (choice, delta) in [
        (1, says("b")),
        (0, says("a")),
        (1, end(Finish::Length)),
        (0, says("a")),
        (0, end(Finish::Stop)),
    ] {
        stream.push(choice, delta.clone(), &mut out);
        whole.push(choice, delta);
    }
    assert_golden("completions/two-prompts.sse", &sse(out));
    let whole = whole.into_json().expect("an answer") + "\n";
    assert_golden("completions/two-prompts.json", &whole);
}

#[test]
fn one_failed_answer_fails_them_all() {
    let form = Form {
        prompts: 2,
        ..Form::default()
    };
    let (mut stream, mut out) = (Chunks::new(head("cmpl-golden"), form), Vec::new());
    let mut whole = Completion::new(head("cmpl-golden"), form);
    for (choice, delta) in [
        (0, says("a")),
        (0, end(Finish::Stop)),
        (1, busy()),
        (1, says("b")),
    ] {
        stream.push(choice, delta.clone(), &mut out);
        whole.push(choice, delta);
    }
    assert_eq!(out.len(), 3, "text, finish, error, nothing else: {out:?}");
    assert!(out[2].starts_with("{\"error\":"));
    assert_eq!(
        whole.into_json().expect_err("the failure").code,
        "worker_busy"
    );
    let mut cut = Completion::new(head("cmpl-golden"), form);
    cut.push(0, end(Finish::Stop));
    assert_eq!(cut.into_json().expect_err("a failure").status, 502);
}

fn chunks(include_usage: bool, deltas: &[Delta]) -> Vec<String> {
    let form = Form {
        stream: true,
        include_usage,
        ..Form::default()
    };
    let (mut chunks, mut out) = (Chunks::new(head("cmpl-golden"), form), Vec::new());
    for delta in deltas {
        chunks.push(0, delta.clone(), &mut out);
    }
    out
}

fn sse(chunks: Vec<String>) -> String {
    let frames = chunks.into_iter().map(|data| format!("data: {data}\n\n"));
    frames.collect()
}

fn completion(deltas: &[Delta]) -> Result<String, ApiError> {
    let mut completion = Completion::new(head("cmpl-golden"), Form::default());
    for delta in deltas {
        completion.push(0, delta.clone());
    }
    completion.into_json()
}

#[test]
fn answers_are_written_as_the_goldens() {
    let thinks = Delta::Reasoning("Hm.".to_owned());
    for (name, include_usage, deltas) in [
        (
            "text",
            false,
            vec![
                thinks,
                says(" upon"),
                says(" a \"time\"\n"),
                end(Finish::Stop),
            ],
        ),
        ("usage", true, vec![says(" upon"), end(Finish::Stop)]),
        ("empty", false, vec![end(Finish::Stop)]),
        ("length", false, vec![says(" upon"), end(Finish::Length)]),
        (
            "content-filter",
            false,
            vec![says(" upon"), end(Finish::ContentFilter)],
        ),
    ] {
        let streamed = sse(chunks(include_usage, &deltas));
        assert_golden(&format!("completions/{name}.sse"), &streamed);
        let whole = completion(&deltas).expect("an answer") + "\n";
        assert_golden(&format!("completions/{name}.json"), &whole);
    }
    let failed = sse(chunks(false, &[says(" upon"), busy()]));
    assert_golden("completions/failure.sse", &failed);
}

#[test]
fn an_answer_that_fails_or_breaks_off_is_never_told_as_complete() {
    let failed = completion(&[says("a"), busy()]);
    assert_eq!(failed.expect_err("the failure").code, "worker_busy");
    let cut = completion(&[says("a")]);
    assert_eq!(cut.expect_err("a failure").status, 502);
    let streamed = chunks(true, &[says("a"), busy(), says("b"), end(Finish::Stop)]);
    assert_eq!(streamed.len(), 2, "nothing follows: {streamed:?}");
    assert!(streamed[1].starts_with("{\"error\":"));
}

#[test]
fn nothing_follows_the_end() {
    let streamed = chunks(
        false,
        &[end(Finish::Stop), says("a"), busy(), end(Finish::Length)],
    );
    assert_eq!(streamed.len(), 2, "finish, done: {streamed:?}");
}

/// Rules whose violation broke clients of other gateways, checked for every chunk.
#[test]
fn every_chunk_keeps_the_rules_clients_rely_on() {
    for include_usage in [false, true] {
        let streamed = chunks(include_usage, &[says("a"), says("b"), end(Finish::Length)]);
        let (done, streamed) = streamed.split_last().expect("chunks");
        assert_eq!(done, "[DONE]");
        let mut finishes = Vec::new();
        for data in streamed {
            let chunk: Value = serde_json::from_str(data).expect("JSON");
            assert_eq!(chunk["id"], "cmpl-golden");
            assert_eq!(chunk["object"], "text_completion");
            assert_eq!(chunk["model"], "codex-5");
            assert_eq!(chunk.get("usage").is_some(), include_usage);
            let choices = chunk["choices"].as_array().expect("choices");
            assert_eq!(choices.is_empty(), chunk["usage"].is_object());
            finishes.extend(choices.iter().map(|choice| choice["finish_reason"].clone()));
        }
        assert_eq!(finishes, [json!(null), json!(null), json!("length")]);
    }
}
