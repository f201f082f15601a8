//! Every mistake in `policies.toml` is named with its line, table and member.

use super::*;

pub(in super::super) fn mistakes_of(text: &str) -> Vec<String> {
    parse(text).mistakes
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
        "line 13, [rate_limit]: expected one of [auth], [model], [rate-limit], [tool-stop], [rollout], found another name",
    ];
    assert_eq!(mistakes_of(text), expected);
}

#[test]
fn members_are_named_however_a_table_is_written() {
    for text in ["auth = { memory_mib = 500 }", "auth.memory_mib = 500"] {
        let said = mistakes_of(text).join("; ");
        assert!(said.starts_with("line 1, [auth] memory_mib: "), "{said}");
    }
    let said = mistakes_of("auth = 3").join("; ");
    assert_eq!(said, "line 1, auth: expected a table, `[auth]`, found 3");
    let said = mistakes_of("[auth]\nsettings = \"\"").join("; ");
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
        let said = mistakes_of(text).join("; ");
        assert!(
            said.starts_with(&format!("{place}: expected TOML")),
            "{said}"
        );
    }
    let said = parse_bytes(b"\xff\xfe[\0a\0]\0").mistakes;
    assert!(said[0].contains("UTF-16"), "{said:?}");
    let said = parse_bytes(b"[auth]\n# \xe9\n").mistakes;
    assert!(
        said[0].starts_with("line 2: expected text in UTF-8"),
        "{said:?}"
    );
    assert!(mistakes_of("\u{feff}[auth]\n").is_empty());
}

#[test]
fn a_component_cannot_be_named_and_built_in() {
    let said = mistakes_of("[auth]\nbuilt_in = true\ncomponent = \"x.wasm\"").join("; ");
    assert!(said.starts_with("line 3, [auth] component: "), "{said}");
}

#[test]
fn the_schema_judges_the_tables_of_slots_alike() {
    let schema = schema(false);
    let validator = jsonschema::validator_for(&schema).unwrap();
    for (text, is_good) in [
        ("", true),
        (
            "[auth]\n[model]\n[rate-limit]\n[tool-stop]\n[rollout]",
            true,
        ),
        (
            "[auth]\ncomponent = \"a.wasm\"\nsettings = \"..data.json\"\ninstances = \"warm\"",
            true,
        ),
        (
            "[auth]\ngrants = [\"credential\"]\nmemory_mib = 128\ndeadline_ms = 10000",
            true,
        ),
        (
            "[auth]\ngrants = []\nbuilt_in = true\nsettings = \"a.json\"",
            true,
        ),
        ("[auth]\nbuilt_in = false\ncomponent = \"a.wasm\"", true),
        ("[auth]\nbuilt_in = true\ncomponent = \"a.wasm\"", false),
        ("[auth]\ncomponent = \"sub/a.wasm\"", false),
        ("[auth]\nsettings = \"..\"", false),
        ("[auth]\nsettings = \"\"", false),
        ("[auth]\nsettings = 3", false),
        ("[auth]\ninstances = \"hot\"", false),
        ("[auth]\ngrants = [\"all\"]", false),
        ("[auth]\nmemory_mib = 0", false),
        ("[auth]\nmemory_mib = 129", false),
        ("[auth]\ndeadline_ms = 1", false),
        ("[auth]\nfrozen = true", false),
        ("[rate_limit]", false),
        ("auth = 3", false),
    ] {
        let mistakes = mistakes_of(text);
        assert_eq!(mistakes.is_empty(), is_good, "{text}: {mistakes:?}");
        let document: Value = toml::from_str(text).unwrap();
        assert_eq!(validator.is_valid(&document), is_good, "{text}");
    }
}

#[test]
fn files_outside_the_folder_cannot_be_named() {
    for name in ["/etc/passwd", "../x.json", "..", ".", "a/b.json", ""] {
        let said = mistakes_of(&format!("[auth]\nsettings = \"{name}\"")).join("; ");
        let expected =
            "line 2, [auth] settings: expected the name of a file in the same folder, found ";
        assert!(said.starts_with(expected), "{said}");
    }
    assert!(mistakes_of("[auth]\nsettings = \"..data.json\"").is_empty());
}

#[test]
fn the_rules_for_new_generations_are_read_with_all_their_mistakes() {
    let text = "[rollout]\nprobation = \"90s\"\nmax_denials = 10\naccept = [\"9c1e41ab02f3\"]\n";
    let Parsed {
        rollout, mistakes, ..
    } = parse(text);
    assert_eq!(mistakes, [""; 0]);
    assert_eq!(rollout.probation, Duration::from_secs(90));
    assert_eq!(rollout.accept, ["9c1e41ab02f3"]);
    assert_eq!(rollout.max_denials, Some(10));
    assert_eq!(parse("").rollout, Rules::default());
    let text = "rollout.probation = 600\n[auth]\n";
    let expected = "line 1, [rollout] probation: expected a time as \"10m\", at most \"7d\", or \"0s\" for none, found 600";
    assert_eq!(mistakes_of(text), [expected]);
    for (member, place) in [
        ("probation = \"8d\"", "[rollout] probation: "),
        ("probation = \"soon\"", "[rollout] probation: "),
        ("max_denials = -1", "[rollout] max_denials: "),
        ("accept = [\"9c1e\"]", "[rollout] accept: "),
        ("accept = [\"9C1E41AB02F3\"]", "[rollout] accept: "),
        ("accept = \"9c1e41ab02f3\"", "[rollout] accept: "),
        (
            "keep = 3",
            "[rollout] keep: expected one of shadow, canary, promote, probation, max_denials, accept",
        ),
    ] {
        let said = mistakes_of(&format!("[rollout]\n{member}")).join("; ");
        assert!(said.starts_with(&format!("line 2, {place}")), "{said}");
    }
    let said = mistakes_of("rollout = true").join("; ");
    assert_eq!(
        said,
        "line 1, rollout: expected a table, `[rollout]`, found true"
    );
}
