//! The messages of a request, as the conversation for Codex.

use super::*;

const PNG: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg==";

fn history(messages: &Value) -> Vec<Item> {
    plan(&with(&json!({ "messages": messages }))).0.history
}

fn text(text: &str) -> Part {
    Part::Text(text.to_owned())
}

fn picture() -> Part {
    let url = format!("data:image/png;base64,{PNG}");
    Part::Image { url, detail: None }
}

fn image() -> Value {
    json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}})
}

fn tool_use(id: &str) -> Value {
    json!({"type": "tool_use", "id": id, "name": "f", "input": {"a": 1}})
}

fn call(at: u8) -> Item {
    Item::Call {
        id: format!("call_past_{at}"),
        name: "f".to_owned(),
        arguments: r#"{"a":1}"#.to_owned(),
    }
}

fn output(at: u8, parts: Vec<Part>) -> Item {
    let id = format!("call_past_{at}");
    Item::CallOutput { id, parts }
}

#[test]
fn content_is_text_or_blocks() {
    let blocks = json!([
        {"type": "text", "text": "one", "citations": null, "cache_control": {"type": "ephemeral"}},
        image(),
        {"type": "image", "source": {"type": "url", "url": format!("data:image/png;base64,{PNG}")}},
        {"type": "document", "title": "T", "context": "C", "source": {"type": "text", "media_type": "text/plain", "data": "doc"}},
        {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "part"}, image()]}},
        {"type": "search_result", "title": "S", "source": "https://a.example", "content": [{"type": "text", "text": "found"}]},
    ]);
    let messages = json!([{"role": "user", "content": blocks}, {"role": "assistant", "content": "ok"}, {"role": "user", "content": "go on"}]);
    let parts = [
        text("one"),
        picture(),
        picture(),
        text("T"),
        text("C"),
        text("doc"),
        text("part"),
        picture(),
        text("S\nhttps://a.example"),
        text("found"),
    ];
    let first = Item::Message {
        role: Role::User,
        parts: parts.to_vec(),
    };
    let expected = [
        first,
        said(Role::Assistant, "ok"),
        said(Role::User, "go on"),
    ];
    assert_eq!(history(&messages), expected);
}

#[test]
fn a_bill_for_anthropic_is_no_part_of_the_prompt() {
    let bill = json!({"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1.332.a1b; cch=00000;"});
    let rest = json!({"type": "text", "text": "You are Claude Code."});
    let (plan, _) = plan(&with(&json!({"system": [bill, rest]})));
    assert_eq!(
        plan.history[0],
        said(Role::Developer, "You are Claude Code.")
    );
}

#[test]
fn calls_and_results_are_paired_and_results_come_first() {
    let messages = json!([
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": [
            {"type": "thinking", "thinking": "hm", "signature": "s"},
            {"type": "redacted_thinking", "data": "x"},
            {"type": "text", "text": "I look."},
            tool_use("a"), tool_use("b"),
        ]},
        {"role": "user", "content": [
            {"type": "text", "text": "Here."},
            {"type": "tool_result", "tool_use_id": "b", "content": [{"type": "text", "text": "two"}, image()]},
            {"type": "tool_result", "tool_use_id": "a", "content": "no such city", "is_error": true},
        ]},
        {"role": "assistant", "content": [tool_use("a")]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a"}]},
    ]);
    let expected = [
        said(Role::User, "hi"),
        said(Role::Assistant, "I look."),
        call(1),
        call(2),
        output(2, vec![text("two"), picture()]),
        output(1, vec![text("Error: no such city")]),
        said(Role::User, "Here."),
        call(3),
        output(3, vec![text("")]),
    ];
    assert_eq!(history(&messages), expected);
}

#[test]
fn messages_of_one_author_that_follow_each_other_are_one() {
    let result = |id: &str| json!({"type": "tool_result", "tool_use_id": id, "content": id});
    let said_text = |text: &str| json!({"type": "text", "text": text});
    let user = |content: Value| json!({"role": "user", "content": content});
    let assistant = |content: Value| json!({"role": "assistant", "content": content});
    let messages = json!([
        user(json!("hi")),
        user(json!([said_text("there")])),
        assistant(json!([said_text("I look."), tool_use("a")])),
        assistant(json!("And there.")),
        assistant(json!([tool_use("b")])),
        user(json!([said_text("Here."), result("b")])),
        user(json!([result("a")])),
        user(json!("Go on.")),
        assistant(json!("One.")),
        assistant(json!([said_text("Two.")])),
        user(json!("Thanks.")),
    ]);
    let several = |role: Role, texts: [&str; 2]| Item::Message {
        role,
        parts: texts.map(text).to_vec(),
    };
    let expected = [
        several(Role::User, ["hi", "there"]),
        said(Role::Assistant, "I look."),
        call(1),
        said(Role::Assistant, "And there."),
        call(2),
        output(2, vec![text("b")]),
        output(1, vec![text("a")]),
        several(Role::User, ["Here.", "Go on."]),
        several(Role::Assistant, ["One.", "Two."]),
        said(Role::User, "Thanks."),
    ];
    assert_eq!(history(&messages), expected);
}

#[test]
fn instructions_may_be_between_messages_and_blocks_of_anthropics_tools_are_left_out() {
    let search = json!({"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}});
    let found = json!({"type": "web_search_tool_result", "tool_use_id": "s", "content": []});
    let addition =
        json!({"type": "tool_addition", "tool": {"type": "tool_reference", "name": "f"}});
    let messages = json!([
        {"role": "user", "content": "hi"},
        {"role": "system", "content": [{"type": "text", "text": "Be terse."}, addition]},
        {"role": "assistant", "content": [search, found, {"type": "text", "text": "Yes."}, {"type": "compaction", "content": "All of it."}]},
        {"role": "user", "content": [{"type": "text", "text": "more"}]},
        {"role": "system", "content": "Be kind."},
    ]);
    let answer = Item::Message {
        role: Role::Assistant,
        parts: vec![text("Yes."), text("All of it.")],
    };
    let expected = [
        said(Role::User, "hi"),
        said(Role::Developer, "Be terse."),
        answer,
        said(Role::User, "more"),
        said(Role::Developer, "Be kind."),
    ];
    assert_eq!(history(&messages), expected);
}

#[test]
fn messages_that_cannot_be_read_are_refused() {
    let user = |blocks: Value| json!({"messages": [{"role": "user", "content": blocks}]});
    let first = |message: Value| json!({"messages": [message]});
    let role = "messages[0].role";
    let kind = "messages[0].content[0].type";
    assert_refused(&[
        (first(json!("hi")), TYPE, "messages[0]"),
        (first(json!({"content": "hi"})), MISSING, role),
        (first(json!({"role": "tool", "content": "hi"})), VALUE, role),
        (
            first(json!({"role": "user"})),
            MISSING,
            "messages[0].content",
        ),
        (
            first(json!({"role": "system", "content": "hi"})),
            VALUE,
            "messages",
        ),
        (user(json!(1)), TYPE, "messages[0].content"),
        (user(json!([{"text": "a"}])), MISSING, kind),
        (user(json!([{"type": "audio"}])), VALUE, kind),
        (
            user(json!([{"type": "text"}])),
            MISSING,
            "messages[0].content[0].text",
        ),
    ]);
}

#[test]
fn pictures_and_documents_have_to_be_in_the_request() {
    let block = |kind: &str, source: Value| {
        let block = json!({"type": kind, "source": source});
        json!({"messages": [{"role": "user", "content": [block]}]})
    };
    let broken = json!({"type": "base64", "media_type": "image/png", "data": "%"});
    let elsewhere = json!({"type": "url", "url": "https://a.example/x.png"});
    let file = json!({"type": "file", "file_id": "f"});
    let pdf = json!({"type": "base64", "media_type": "application/pdf", "data": ""});
    for (kind, source, code, member) in [
        ("image", broken, "invalid_base64_image", "data"),
        ("image", elsewhere, "invalid_image_url", "url"),
        ("image", file, VALUE, "file_id"),
        ("document", pdf, VALUE, "type"),
    ] {
        let param = format!("messages[0].content[0].source.{member}");
        assert_refused(&[(block(kind, source), code, &param)]);
    }
}

#[test]
fn calls_without_results_and_results_without_calls_are_refused() {
    let hi = json!({"role": "user", "content": "hi"});
    let asked = |calls: Value, then: Value| {
        let calls = json!({"role": "assistant", "content": calls});
        json!({"messages": [hi, calls, then]})
    };
    let result = json!([{"type": "tool_result", "tool_use_id": "x", "content": ""}]);
    let twice = json!([tool_use("a"), tool_use("a")]);
    let of_a = json!({"type": "tool_result", "tool_use_id": "a", "content": "b"});
    let two = json!({"role": "user", "content": [of_a, of_a]});
    let am = json!({"role": "assistant", "content": "am"});
    assert_refused(&[
        (
            json!({"messages": [{"role": "user", "content": result}]}),
            VALUE,
            "messages[0].content[0].tool_use_id",
        ),
        (
            asked(json!([tool_use("a")]), hi.clone()),
            VALUE,
            "messages[1].content",
        ),
        (
            asked(json!([tool_use("a")]), two),
            VALUE,
            "messages[2].content[1].tool_use_id",
        ),
        (asked(twice, hi.clone()), VALUE, "messages[1].content[1].id"),
        (
            asked(json!([tool_use("")]), hi.clone()),
            "empty_string",
            "messages[1].content[0].id",
        ),
        (asked(json!("I "), am.clone()), VALUE, "messages[2].content"),
        // Messages that are one are checked as one.
        (
            json!({"messages": [hi, {"role": "assistant", "content": [tool_use("a")]}, am, hi]}),
            VALUE,
            "messages[1].content",
        ),
        (
            json!({"messages": [hi, {"role": "assistant", "content": [tool_use("a")]}, hi, am, hi]}),
            VALUE,
            "messages[1].content",
        ),
        (
            json!({"messages": [
                hi,
                {"role": "assistant", "content": [tool_use("a")]},
                {"role": "assistant", "content": [tool_use("a")]},
                hi,
            ]}),
            VALUE,
            "messages[2].content[0].id",
        ),
    ]);
}
