//! Messages: their translation for Codex, and the messages that are refused.

use super::*;

pub(super) fn history(messages: &Value) -> Vec<Item> {
    plan(parse(&json!({ "messages": messages }))).history
}

pub(super) fn assert_messages_refused(cases: &[(Value, &str, &str)]) {
    for (messages, code, param) in cases {
        assert_refusal(&json!({ "messages": messages }), code, param);
    }
}

#[test]
fn each_role_is_told_as_codex_knows_it() {
    let refused = json!([{"type": "refusal", "refusal": "no"}]);
    for (message, role, words) in [
        (
            json!({"role": "system", "content": "a"}),
            Role::Developer,
            "a",
        ),
        (
            json!({"role": "developer", "content": "a"}),
            Role::Developer,
            "a",
        ),
        (
            json!({"role": "user", "content": "a", "name": ""}),
            Role::User,
            "a",
        ),
        (json!({"role": "user", "content": ""}), Role::User, ""),
        (
            json!({"role": "assistant", "content": "a", "audio": null}),
            Role::Assistant,
            "a",
        ),
        (
            json!({"role": "assistant", "refusal": "no"}),
            Role::Assistant,
            "no",
        ),
        (
            json!({"role": "assistant", "content": refused}),
            Role::Assistant,
            "no",
        ),
    ] {
        assert_eq!(history(&json!([message])), [says(role, words)], "{message}");
    }
}

#[test]
fn the_author_is_named_before_what_is_said() {
    let image = json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAAB"}});
    let both = json!([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]);
    let messages = json!([
        {"role": "system", "content": "a", "name": "example_user"},
        {"role": "user", "content": both, "name": "Ann"},
        {"role": "user", "content": [image], "name": "Bob"},
        {"role": "user", "content": "", "name": "Ann"},
        {"role": "assistant", "content": "b", "name": "Bot"},
        {"role": "assistant", "content": "", "name": "Bot"},
        {"role": "user", "content": [{"type": "text", "text": ""}, {"type": "text", "text": "a"}], "name": "Ann"},
    ]);
    let said: Vec<_> = history(&messages)
        .into_iter()
        .map(|item| match item {
            Item::Message { parts, .. } => parts,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(said[0], [text("example_user: a")]);
    assert_eq!(said[1], [text("Ann: a"), text("b")]);
    assert_eq!((said[2].len(), &said[2][0]), (2, &text("Bob:")));
    assert_eq!(
        (&said[3], &said[4]),
        (&vec![text("")], &vec![text("Bot: b")])
    );
    assert_eq!(said[5], [text(""), text("Ann: a")]);
    assert_eq!(said.len(), 6);
    let named = |name: Value| json!([{"role": "user", "content": "a", "name": name}]);
    assert_messages_refused(&[
        (named(json!(1)), TYPE, "messages[0].name"),
        (
            named(json!("a".repeat(257))),
            "string_above_max_length",
            "messages[0].name",
        ),
        (named(json!("Ann\nBob")), VALUE, "messages[0].name"),
        (named(json!("Ann\u{2028}Bob")), VALUE, "messages[0].name"),
    ]);
}

#[test]
fn messages_without_content_are_left_out() {
    let messages = json!([
        {"role": "user", "content": null},
        {"role": "user", "content": []},
        {"role": "assistant", "content": ""},
        {"role": "assistant", "content": null, "tool_calls": []},
        {"role": "assistant"},
        {"role": "user", "content": "a"},
    ]);
    assert_eq!(history(&messages), [says(Role::User, "a")]);
}

#[test]
fn pictures_stay_in_their_place() {
    let (one, two) = (
        "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAAB",
        "DATA:IMAGE/webp;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAAB",
    );
    let content = json!([
        {"type": "text", "text": "this"},
        {"type": "image_url", "image_url": {"url": one}},
        {"type": "image_url", "image_url": {"url": two, "detail": "low"}},
        {"type": "text", "text": "or that?"},
    ]);
    let image = |url: &str, detail: Option<&str>| Part::Image {
        url: url.to_owned(),
        detail: detail.map(str::to_owned),
    };
    let expected = Item::Message {
        role: Role::User,
        parts: vec![
            text("this"),
            image(one, None),
            image(two, Some("auto")),
            text("or that?"),
        ],
    };
    let messages = json!([{"role": "user", "content": content}]);
    assert_eq!(history(&messages), [expected]);
}

#[test]
fn the_prompts_tokens_are_estimated_from_its_text() {
    let call = json!({"id": "c", "function": {"name": "four", "arguments": "{\"a\":1}"}});
    let image = json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAAB"}});
    let messages = json!([
        {"role": "system", "content": "12345678"},
        {"role": "user", "content": [{"type": "text", "text": "1234"}, image]},
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": "日本"},
    ]);
    // 8 + 4 + 4 * 765 for the image + (4 + 7) + 2 characters
    let request = parse(&json!({ "messages": messages }));
    let (_, rules) = request.into_plan(Target::default());
    assert_eq!(rules.prompt_tokens_estimate, 772);
}

#[test]
fn tools_and_schemas_are_part_of_the_estimate() {
    let estimate = |members: &Value| {
        let (_, rules) = parse(&body_with(members)).into_plan(Target::default());
        rules.prompt_tokens_estimate
    };
    let none = estimate(&json!({}));
    let schema = json!({"type": "object", "properties": {"a": {"type": "string", "description": "x".repeat(400)}},
        "required": ["a"], "additionalProperties": false});
    let function =
        json!({"name": "f".repeat(40), "description": "日".repeat(400), "parameters": schema});
    let rest = json!({"type": "object", "properties": {"a": {"type": "string", "description": ""}},
        "required": ["a"], "additionalProperties": false});
    let rest = rest.to_string().len() as u64;
    let expected = none + (40 + 400 + 400 + rest) / 4;
    let tool = json!({"type": "function", "function": function});
    for members in [json!({"tools": [tool]}), json!({"functions": [function]})] {
        let found = estimate(&members);
        assert!(found.abs_diff(expected) <= 1, "{found}, not {expected}");
    }
    let forbidden = json!({"tools": [tool], "tool_choice": "none"});
    assert_eq!(estimate(&forbidden), none, "the model gets none of them");
    let format = json!({"type": "json_schema", "json_schema": {"name": "s", "strict": true, "schema": schema}});
    let found = estimate(&json!({"response_format": format}));
    assert!(found > none + 100, "{found}");
}

#[test]
fn messages_that_are_none_are_refused() {
    assert_refusal(&json!({}), MISSING, "messages");
    let user = |content: Value| json!([{"role": "user", "content": content}]);
    assert_messages_refused(&[
        (json!(null), MISSING, "messages"),
        (json!("hi"), TYPE, "messages"),
        (json!([]), "empty_array", "messages"),
        (user(json!(null)), VALUE, "messages"),
        (json!([null]), TYPE, "messages[0]"),
        (json!(["hi"]), TYPE, "messages[0]"),
        (json!([{}]), MISSING, "messages[0].role"),
        (json!([{"role": 1}]), TYPE, "messages[0].role"),
        (
            json!([{"role": "robot", "content": "a"}]),
            VALUE,
            "messages[0].role",
        ),
        (json!([{"role": "user"}]), MISSING, "messages[0].content"),
        (user(json!(1)), TYPE, "messages[0].content"),
        (user(json!({"type": "text"})), TYPE, "messages[0].content"),
    ]);
}

#[test]
fn content_parts_that_codex_cannot_take_are_refused() {
    let image = |image: Value| json!({"type": "image_url", "image_url": image});
    let bare = json!("data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAAB");
    for (role, part, code, at) in [
        ("user", json!("text"), TYPE, ""),
        ("user", json!({}), MISSING, ".type"),
        ("user", json!({"type": 1}), TYPE, ".type"),
        ("user", json!({"type": "video"}), VALUE, ".type"),
        (
            "user",
            json!({"type": "refusal", "refusal": "no"}),
            VALUE,
            ".type",
        ),
        (
            "user",
            json!({"type": "input_audio", "input_audio": {}}),
            VALUE,
            ".type",
        ),
        ("user", json!({"type": "file", "file": {}}), VALUE, ".type"),
        ("user", json!({"type": "text"}), MISSING, ".text"),
        ("user", json!({"type": "text", "text": 1}), TYPE, ".text"),
        ("user", image(json!(null)), MISSING, ".image_url"),
        ("user", image(bare), TYPE, ".image_url"),
        ("user", image(json!({})), MISSING, ".image_url.url"),
        ("user", image(json!({"url": 1})), TYPE, ".image_url.url"),
        ("system", image(json!({})), VALUE, ".type"),
        ("assistant", image(json!({})), VALUE, ".type"),
    ] {
        let messages = json!([
            {"role": "user", "content": "a"},
            {"role": role, "content": [{"type": "text", "text": "b"}, part]},
        ]);
        let param = format!("messages[1].content[1]{at}");
        assert_messages_refused(&[(messages, code, &param)]);
    }
}

#[test]
fn pictures_that_would_have_to_be_fetched_are_refused() {
    let with = |image: Value| {
        let part = json!({"type": "image_url", "image_url": image});
        json!([{"role": "user", "content": [part]}])
    };
    let accents = "é".repeat(9);
    for url in [
        "https://a.org/b.png",
        "HTTP://x",
        "file:///etc/passwd",
        "",
        "data:",
        &accents,
    ] {
        let messages = with(json!({ "url": url }));
        let param = "messages[0].content[0].image_url";
        assert_messages_refused(&[(messages, "invalid_image_url", param)]);
    }
    let messages = with(
        json!({"url": "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAAB", "detail": "ultra"}),
    );
    let param = "messages[0].content[0].image_url.detail";
    assert_messages_refused(&[(messages, VALUE, param)]);
}

#[test]
fn instructions_are_left_out_if_the_operator_says_so_and_something_else_is_said() {
    let reading = Reading {
        ignore_instructions: true,
        ..Reading::default()
    };
    let history = |messages: Value| {
        let body = json!({"messages": messages, "response_format": {"type": "json_object"}});
        let request = ChatRequest::parse(body.to_string().as_bytes(), &reading);
        let (plan, rules) = request.expect("a request").into_plan(Target::default());
        (plan.history, rules.prompt_tokens_estimate)
    };
    let both = history(json!([
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "hi"},
        {"role": "developer", "content": "Be kind."},
    ]));
    let without = history(json!([{"role": "user", "content": "hi"}]));
    assert_eq!(both, without);
    assert_eq!(without.0.len(), 2, "what we add ourselves stays");
    let alone = history(json!([{"role": "system", "content": "Be brief."}])).0;
    assert_eq!(alone.first(), Some(&says(Role::Developer, "Be brief.")));
}

#[test]
fn a_request_that_does_not_say_is_streamed_if_the_operator_says_so() {
    let reading = Reading {
        stream: true,
        ..Reading::default()
    };
    let stream = |members: &Value| {
        let body = body_with(members).to_string();
        let request = ChatRequest::parse(body.as_bytes(), &reading);
        request.expect("a request").form.stream
    };
    assert!(stream(&json!({})));
    assert!(!stream(&json!({"stream": false})));
}
