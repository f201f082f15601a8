//! Every mistake in `policies.toml` is named with its line, table and member.

use super::*;

fn mistakes(text: &str) -> Vec<String> {
    parse(text).1
}

#[test]
fn all_mistakes_are_named_with_line_table_and_member() {
    let text = "# x\n[auth]\nmemory_mib = 4096\nfrozen = true\nsettings = \"sub/x.json\"\n\n[model]\n\
                deadline_ms = 0\ngrants = [\"all\"]\ninstances = \"hot\"\ncomponent = 3\nbuilt_in = \"yes\"\n\
                [rate_limit]\n";
    let expected = [
        "line 3, [auth] memory_mib: expected a whole number from 1 to 128, found 4096",
        "line 4, [auth] frozen: expected one of component, settings, built_in, instances, grants, memory_mib, \
         deadline_ms, found another name",
        "line 5, [auth] settings: expected the name of a file in the same folder, found \"sub/x.json\"",
        "line 8, [model] deadline_ms: expected a whole number from 2 to 10000, found 0",
        "line 9, [model] grants: expected a list, of which \"credential\" is the only word, found a list of \"all\"",
        "line 10, [model] instances: expected \"frozen\" or \"warm\", found \"hot\"",
        "line 11, [model] component: expected the name of a file, in quotes, found 3",
        "line 12, [model] built_in: expected true or false, found \"yes\"",
        "line 13, [rate_limit]: expected one of [auth], [model], [rate-limit], [tool-stop], found another name",
    ];
    assert_eq!(mistakes(text), expected);
}

#[test]
fn members_are_named_however_a_table_is_written() {
    for text in ["auth = { memory_mib = 500 }", "auth.memory_mib = 500"] {
        let said = mistakes(text).join("; ");
        assert!(said.starts_with("line 1, [auth] memory_mib: "), "{said}");
    }
    let said = mistakes("auth = 3").join("; ");
    assert_eq!(said, "line 1, auth: expected a table, `[auth]`, found 3");
    let said = mistakes("[auth]\nsettings = \"\"").join("; ");
    assert!(said.starts_with("line 2, [auth] settings: "), "{said}");
}

#[test]
fn a_text_that_is_no_toml_is_told_by_its_line() {
    for (text, place) in [
        ("[auth\n", "line 1"),
        ("x\n", "line 1"),
        (
            "[auth]\nsettings = callers.json\n",
            "line 2, [auth] settings",
        ),
        (
            "[auth]\nbuilt_in = true\nbuilt_in = true",
            "line 3, [auth] built_in",
        ),
    ] {
        let said = mistakes(text).join("; ");
        assert!(
            said.starts_with(&format!("{place}: expected TOML")),
            "{said}"
        );
    }
    let (_, said) = parse_bytes(b"\xff\xfe[\0a\0]\0");
    assert!(said[0].contains("UTF-16"), "{said:?}");
    let (_, said) = parse_bytes(b"[auth]\n# \xe9\n");
    assert!(
        said[0].starts_with("line 2: expected text in UTF-8"),
        "{said:?}"
    );
    assert!(mistakes("\u{feff}[auth]\n").is_empty());
}

#[test]
fn a_component_cannot_be_named_and_built_in() {
    let said = mistakes("[auth]\nbuilt_in = true\ncomponent = \"x.wasm\"").join("; ");
    assert!(said.starts_with("line 3, [auth] component: "), "{said}");
}

#[test]
fn files_outside_the_folder_cannot_be_named() {
    for name in ["/etc/passwd", "../x.json", "..", ".", "a/b.json", ""] {
        let said = mistakes(&format!("[auth]\nsettings = \"{name}\"")).join("; ");
        let expected =
            "line 2, [auth] settings: expected the name of a file in the same folder, found ";
        assert!(said.starts_with(expected), "{said}");
    }
    assert!(mistakes("[auth]\nsettings = \"..data.json\"").is_empty());
}
