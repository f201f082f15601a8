//! Input: its translation for Codex, and the input that is refused.

use super::*;

fn history(input: &Value) -> Vec<Item> {
    let request = parse(&json!({ "input": input })).unwrap_or_else(|error| panic!("{error}"));
    planned(request).0.history
}

fn assert_input_refused(cases: &[(Value, &str, &str)]) {
    for (input, code, param) in cases {
        assert_refusal(&json!({ "input": input }), code, param);
    }
}

#[test]
fn each_role_is_told_as_codex_knows_it() {
    let answer = json!([{"type": "output_text", "text": "a", "annotations": [], "logprobs": []}]);
    let refusal = json!([{"type": "refusal", "refusal": "a"}]);
    let part = json!([{"type": "input_text", "text": "a"}]);
    for (role, content, expected) in [
        ("user", json!("a"), Role::User),
        ("user", part.clone(), Role::User),
        ("system", json!("a"), Role::Developer),
        ("developer", part.clone(), Role::Developer),
        ("assistant", json!("a"), Role::Assistant),
        ("assistant", part, Role::Assistant),
        ("assistant", answer, Role::Assistant),
        ("assistant", refusal, Role::Assistant),
    ] {
        let typed = json!({"type": "message", "role": role, "content": content, "id": "msg_1", "status": "completed"});
        let untyped = json!({"role": role, "content": content});
        for message in [typed, untyped] {
            assert_eq!(
                history(&json!([message])),
                [says(expected, "a")],
                "{message}"
            );
        }
    }
}

#[test]
fn calls_their_outputs_and_reasoning_are_read_in_order() {
    let reasoning =
        json!({"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x"});
    let call = |id: &str, arguments: &str| json!({"type": "function_call", "id": "fc_1", "call_id": id, "name": "get", "arguments": arguments, "status": "completed"});
    let input = json!([
        {"role": "user", "content": "weather?"},
        reasoning,
        call("c1", "{\"city\":\"Paris\"}"),
        call("c2", ""),
        {"type": "function_call_output", "call_id": "c2", "output": "rain"},
        {"type": "function_call_output", "call_id": "c1", "output": [{"type": "input_text", "text": "sun"}]},
        {"role": "assistant", "content": ""},
    ]);
    let expected = [
        says(Role::User, "weather?"),
        calls("call_past_1", "get", "{\"city\":\"Paris\"}"),
        calls("call_past_2", "get", "{}"),
        returns("call_past_2", "rain"),
        returns("call_past_1", "sun"),
    ];
    assert_eq!(history(&input), expected);
}

#[test]
fn ids_that_clients_reuse_or_make_too_long_stay_apart() {
    let long = "a".repeat(500);
    let call = json!({"type": "function_call", "call_id": long, "name": "f", "arguments": "{}"});
    let output =
        |words: &str| json!({"type": "function_call_output", "call_id": long, "output": words});
    let expected = [
        calls("call_past_1", "f", "{}"),
        returns("call_past_1", "one"),
        calls("call_past_2", "f", "{}"),
        returns("call_past_2", "two"),
    ];
    let input = json!([call, output("one"), call, output("two")]);
    assert_eq!(history(&input), expected);
    let empty = "empty_string";
    let nameless = json!([{"type": "function_call", "call_id": "", "name": "f"}]);
    let orphan = json!([{"type": "function_call_output", "call_id": "", "output": "a"}]);
    assert_input_refused(&[
        (json!([call, call]), VALUE, "input[1].call_id"),
        (nameless, empty, "input[0].call_id"),
        (orphan, empty, "input[0].call_id"),
    ]);
}

#[test]
fn pictures_stay_in_their_place() {
    let url = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAAB";
    let image = |detail: Option<&str>| Part::Image {
        url: url.to_owned(),
        detail: detail.map(str::to_owned),
    };
    let content = json!([
        {"type": "input_text", "text": "this"},
        {"type": "input_image", "image_url": url, "detail": "low", "file_id": null},
        {"type": "input_image", "image_url": url},
        {"type": "input_image", "image_url": url, "detail": "original"},
    ]);
    let expected = Item::Message {
        role: Role::User,
        parts: vec![
            text("this"),
            image(Some("auto")),
            image(None),
            image(Some("original")),
        ],
    };
    assert_eq!(
        history(&json!([{"role": "user", "content": content}])),
        [expected]
    );
    let output = json!([{"type": "input_image", "image_url": url}]);
    let input = json!([
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": output},
    ]);
    let expected = Item::CallOutput {
        id: "call_past_1".to_owned(),
        parts: vec![image(None)],
    };
    assert_eq!(history(&input)[1], expected);
}

#[test]
fn a_call_without_an_output_after_it_or_with_two_is_refused() {
    let call =
        |id: &str| json!({"type": "function_call", "call_id": id, "name": "f", "arguments": "{}"});
    let output = |id: &str| json!({"type": "function_call_output", "call_id": id, "output": "out"});
    let said = json!({"role": "assistant", "content": "I look."});
    let user = json!({"role": "user", "content": "Well?"});
    let thought = json!({"type": "reasoning", "summary": []});
    let [first, second] = [call("c1"), call("c2")];
    let twice = json!([user, first, output("c1"), output("c1")]);
    assert_refusal(&json!({ "input": twice }), VALUE, "input[3].call_id");
    for (input, missing) in [
        (json!([user, first]), "c1"),
        (json!([user, first, second, user, output("c1")]), "c2"),
        (json!([first, output("c1"), second, said, user]), "c2"),
    ] {
        let body = json!({ "input": input });
        assert_refusal(&body, VALUE, "input");
        let request = parse(&body).expect("a request");
        let planned = request.into_plan(Target::default(), Memory::default());
        let told = planned.expect_err("a refusal").message.clone();
        assert_eq!(
            told,
            format!("No tool output found for function call {missing}.")
        );
    }
    history(&json!([
        user,
        thought,
        first,
        said,
        thought,
        second,
        user,
        output("c2"),
        output("c1")
    ]));
}

#[test]
fn the_prompts_tokens_are_estimated_from_all_that_is_said() {
    let body =
        json!({"instructions": "12345678", "input": "1234", "previous_response_id": "resp_1"});
    let call = [calls("c", "four", "{\"a\":1}"), returns("c", "")];
    let past = Memory {
        conversation: [&[says(Role::User, "12345")][..], &call].concat(),
        ..Memory::default()
    };
    let planned = parse(&body).and_then(|request| request.into_plan(Target::default(), past));
    // 8 + 4 + 5 + (4 + 7) bytes
    assert_eq!(planned.expect("a plan").1.prompt_tokens_estimate, 7);
}

#[test]
fn tools_of_all_kinds_are_part_of_the_estimate() {
    let estimate = |tools: Value| {
        let body = json!({"input": "hi", "tools": tools});
        let planned = parse(&body)
            .and_then(|request| request.into_plan(Target::default(), Memory::default()));
        planned.expect("a plan").1.prompt_tokens_estimate
    };
    let none = estimate(json!([]));
    let long = "x".repeat(400);
    let function =
        json!({"type": "function", "name": "f", "description": long, "parameters": null});
    let custom = json!({"type": "custom", "name": "f", "description": long});
    let namespace =
        json!({"type": "namespace", "name": "n", "description": "", "tools": [function]});
    for tools in [json!([function]), json!([custom]), json!([namespace])] {
        let found = estimate(tools.clone());
        assert!(
            (none + 100..none + 200).contains(&found),
            "{found}: {tools}"
        );
    }
    assert!(estimate(json!([{"type": "apply_patch"}])) > none + 20);
    let hosted = json!({"type": "web_search", "search_context_size": "low"});
    let alone = estimate(json!([function]));
    assert_eq!(estimate(json!([hosted, function])), alone, "it is left out");
}

#[test]
fn input_that_is_none_is_refused() {
    assert_refusal(&json!({}), VALUE, "input");
    assert_refusal(&json!({"input": null}), VALUE, "input");
    assert_refusal(&json!({"instructions": "a"}), VALUE, "input");
    let output =
        |output: Value| json!([{"type": "function_call_output", "call_id": "c", "output": output}]);
    let user = |content: Value| json!([{"role": "user", "content": content}]);
    assert_input_refused(&[
        (json!([]), VALUE, "input"),
        (json!(1), TYPE, "input"),
        (json!({"role": "user"}), TYPE, "input"),
        (
            json!([{"type": "reasoning", "id": "rs_1", "summary": []}]),
            VALUE,
            "input",
        ),
        (json!(["hi"]), TYPE, "input[0]"),
        (json!([{}]), MISSING, "input[0].role"),
        (
            json!([{"role": "tool", "content": "a"}]),
            VALUE,
            "input[0].role",
        ),
        (json!([{"role": "user"}]), MISSING, "input[0].content"),
        (user(json!(1)), TYPE, "input[0].content"),
        (
            json!([{"type": "telepathy_call", "id": "tp_1"}]),
            VALUE,
            "input[0].type",
        ),
        (json!([{"type": "item_reference"}]), MISSING, "input[0].id"),
        (
            json!([{"type": "function_call", "name": "f"}]),
            MISSING,
            "input[0].call_id",
        ),
        (
            json!([{"type": "function_call", "call_id": "c"}]),
            MISSING,
            "input[0].name",
        ),
        (output(json!("a")), VALUE, "input[0].call_id"),
        (
            json!([{"type": "function_call_output", "call_id": "c"}]),
            MISSING,
            "input[0].output",
        ),
        (
            output(json!([{"type": "input_file", "file_id": "f"}])),
            VALUE,
            "input[0].output[0].type",
        ),
    ]);
}

#[test]
fn parts_that_codex_cannot_take_are_refused() {
    for (role, part, code, at) in [
        (
            "user",
            json!({"type": "input_file", "file_data": "a"}),
            VALUE,
            ".type",
        ),
        ("user", json!({"type": "input_audio"}), VALUE, ".type"),
        (
            "user",
            json!({"type": "output_text", "text": "a"}),
            VALUE,
            ".type",
        ),
        ("user", json!({"type": "text", "text": "a"}), VALUE, ".type"),
        ("user", json!({"type": "input_text"}), MISSING, ".text"),
        (
            "user",
            json!({"type": "input_image"}),
            MISSING,
            ".image_url",
        ),
        (
            "user",
            json!({"type": "input_image", "file_id": "f"}),
            VALUE,
            ".file_id",
        ),
        (
            "user",
            json!({"type": "input_image", "image_url": {"url": "a"}}),
            TYPE,
            ".image_url",
        ),
        (
            "user",
            json!({"type": "input_image", "image_url": "https://a.org/b.png"}),
            "invalid_image_url",
            ".image_url",
        ),
        (
            "assistant",
            json!({"type": "input_image", "image_url": "a"}),
            VALUE,
            ".type",
        ),
        ("assistant", json!({"type": "refusal"}), MISSING, ".refusal"),
    ] {
        let content = json!([{"type": "input_text", "text": "a"}, part]);
        let param = format!("input[1].content[1]{at}");
        let input = json!([{"role": "user", "content": "a"}, {"role": role, "content": content}]);
        assert_input_refused(&[(input, code, &param)]);
    }
}

#[test]
fn what_the_operator_decided_holds_where_the_request_does_not_say() {
    let reading = Reading {
        ignore_instructions: true,
        response_max_tokens: Some(9),
        ..Reading::default()
    };
    let planned = |members: &Value| {
        let body = body_with(members).to_string();
        let request = ResponsesRequest::parse(body.as_bytes(), &reading).expect("a request");
        planned(request)
    };
    let (plan, rules, _) = planned(&json!({"instructions": "Be brief."}));
    assert_eq!(plan.history.len(), 1);
    assert_eq!(rules.max_tokens, Some(9));
    let (_, rules, _) = planned(&json!({"max_output_tokens": 20}));
    assert_eq!(rules.max_tokens, Some(20));
}
