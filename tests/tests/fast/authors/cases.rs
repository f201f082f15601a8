//! `codex-gateway policy test`: cases of the built-in policies, and of the tests' own component.

use codex_gateway::policy::Slot;
use codex_gateway_tests::guests::foreign;
use serde_json::{Value, json};

use super::Desk;
use crate::docs;

#[test]
fn the_built_in_policies_pass_their_own_cases_and_meet_every_denial() {
    let desk = Desk::new();
    let folders = Slot::ALL.map(|slot| docs::path(&format!("policies/{slot}/cases")));
    let folders = folders.each_ref().map(|folder| folder.to_str().unwrap());
    let said = desk.policy(&[&["test"], &folders[..], &["--json"]].concat());
    let report = said.json();
    let failed: Vec<_> = report["cases"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|case| case["failures"] != json!([]))
        .collect();
    assert_eq!(said.code, Some(0), "{failed:#?}\n{}", said.err);
    for slot in report["coverage"].as_array().unwrap() {
        assert_eq!(
            (&slot["missing"], &slot["undeclared"]),
            (&json!([]), &json!([])),
            "{slot}"
        );
    }
    for slot in Slot::ALL.map(Slot::name) {
        let cases = report["cases"].as_array().unwrap().iter();
        let number = cases.filter(|case| case["slot"] == slot).count();
        assert!(number >= 12, "{slot}: {number}");
    }
    let filter = ["--filter", "auth/cases/known"];
    let said = desk.policy(&[&["test"], &folders[..], &filter].concat());
    assert!(
        said.out.contains("1 cases: 1 passed, 0 failed"),
        "{}",
        said.all()
    );
    assert!(
        said.out
            .contains("auth: 0 of 1 denial codes met; not met: invalid_api_key"),
        "{}",
        said.out
    );
}

#[test]
fn the_cases_of_the_built_in_policies_are_in_the_program() {
    let desk = Desk::new();
    let said = desk.policy(&["cases", "tool-stop", "--to", "kit"]);
    assert_eq!(said.code, Some(0), "{}", said.all());
    let names = |folder: &std::path::Path| {
        let entries = std::fs::read_dir(folder).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name());
        names.collect::<std::collections::BTreeSet<_>>()
    };
    let own = names(&docs::path("policies/tool-stop/cases"));
    assert_eq!(names(&desk.path("kit/tool-stop")), own);
    // Another policy differs from them, and is told where.
    let said = desk.policy(&["test", "kit", "--filter", "first", "--with", "every.wasm"]);
    assert_eq!(said.code, Some(1), "{}", said.all());
    let said = desk.policy(&["cases", "--to", "kit"]);
    assert_eq!(said.code, Some(78), "{}", said.all());
    assert!(said.err.contains("it is there already"), "{}", said.err);
}

#[test]
fn the_schema_of_cases_accepts_those_of_the_built_in_policies() {
    let desk = Desk::new();
    let schema = desk.policy(&["schema", "case"]).json();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let mut cases = 0;
    for slot in Slot::ALL.map(Slot::name) {
        for entry in std::fs::read_dir(docs::path(&format!("policies/{slot}/cases"))).unwrap() {
            let path = entry.unwrap().path();
            let case: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
            let mistakes: Vec<_> = validator
                .iter_errors(&case)
                .map(|error| error.to_string())
                .collect();
            assert!(mistakes.is_empty(), "{}: {mistakes:?}", path.display());
            cases += 1;
        }
    }
    assert!(cases > 50);
}

#[test]
fn a_decision_that_is_not_pure_fails_its_case() {
    let desk = Desk::new();
    let call = |how: &str, id: &str| json!({"input": {"headers": [["x-hostile", how]]}, "expect": {"ok": {"id": id}}});
    desk.write(
        "cases/pure.case.json",
        &json!({"slot": "auth", "calls": [call("none", "anybody"), call("print", "anybody")]}),
    );
    desk.write(
        "cases/counts.case.json",
        &json!({"slot": "auth", "calls": [call("none", "anybody"), call("count", "call-1")]}),
    );
    desk.write(
        "cases/differs.case.json",
        &json!({"slot": "auth", "calls": [call("print", "somebody")]}),
    );
    let said = desk.policy(&["test", "cases", "--with", "every.wasm"]);
    assert_eq!(said.code, Some(1), "{}", said.all());
    for words in [
        "ok    cases/pure.case.json\n",
        "FAIL  cases/counts.case.json\n      calls[1]: the decision is no pure function of its input: in the same instance for the second time, the \
         policy answers {\"ok\":{\"groups\":[\"null\"],\"id\":\"call-2\"",
        "FAIL  cases/differs.case.json\n      calls[0]: ok.id: expected \"somebody\", found \"anybody\"\n",
        "      it printed:\n        told to print\\u{1b}[2J\n        forged=line\n",
        "3 cases: 1 passed, 2 failed",
    ] {
        assert!(said.out.contains(words), "{words}\n{}", said.all());
    }

    // A case that is wrong is told with its place, before another runs.
    desk.write(
        "cases/wrong.case.json",
        &json!({"slot": "auth", "calls": [{"expcet": {}}]}),
    );
    let said = desk.policy(&["test", "cases", "--with", "auth=every.wasm"]);
    assert_eq!(said.code, Some(78), "{}", said.all());
    assert!(
        said.err.contains("wrong.case.json: unknown field `expcet`")
            && said.err.contains("line 1 column"),
        "{}",
        said.err
    );
    assert!(!said.out.contains("pure.case.json"), "{}", said.out);
    let said = desk.policy(&["test", "cases", "--filter", "nothing"]);
    assert_eq!(said.code, Some(78), "{}", said.all());
    assert!(
        said.err
            .contains("whose paths contain `nothing`, found none"),
        "{}",
        said.err
    );
}

#[test]
fn a_fault_fails_its_case_unless_it_is_expected() {
    let desk = Desk::new();
    let case = |expect: Value| {
        let input = json!({"headers": [["x-hostile", "panic"]]});
        json!({"slot": "auth", "calls": [{"input": input, "expect": expect}]})
    };
    for (name, expect) in [
        ("any", json!({})),
        ("no-denial", json!({"denied": null})),
        ("none", json!({"fault": null})),
        ("trap", json!({"fault": {"kind": "trap"}})),
        ("fault", json!({"fault": {}})),
    ] {
        desk.write(&format!("cases/{name}.case.json"), &case(expect));
    }
    let said = desk.policy(&["test", "cases", "--with", "auth=every.wasm"]);
    assert_eq!(said.code, Some(1), "{}", said.all());
    for (verdict, name) in [
        ("FAIL", "any"),
        ("FAIL", "no-denial"),
        ("FAIL", "none"),
        ("ok  ", "trap"),
        ("ok  ", "fault"),
    ] {
        let line = format!("{verdict}  cases/{name}.case.json\n");
        assert!(said.out.contains(&line), "{line}{}", said.all());
    }
    let problem = "calls[0]: the policy could not answer (trap), and `expect` names no `fault`";
    assert!(said.out.contains(problem), "{}", said.out);
}

#[test]
fn mistakes_of_cases_and_components_are_told_before_anything_runs() {
    let desk = Desk::new();
    let call = |more: Value| {
        let mut call = json!({"input": {}, "expect": {"ok": {}}});
        call.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        json!([call])
    };
    desk.write(
        "fine.case.json",
        &json!({"slot": "auth", "calls": call(json!({}))}),
    );
    for (name, case, words) in [
        (
            "input",
            json!({"slot": "auth", "calls": call(json!({"input": {"methdo": "GET"}}))}),
            "calls[0].input: there is no member `methdo`; did you mean `method`?",
        ),
        (
            "call",
            json!({"slot": "auth", "calls": call(json!({"call": "resolve"}))}),
            "calls[0].call: expected authenticate or verify of the auth slot, found `resolve`",
        ),
        (
            "slot",
            json!({"calls": call(json!({}))}),
            "slot: expected the member `slot`",
        ),
    ] {
        let path = desk.write("wrong.case.json", &case);
        let said = desk.policy(&["test", "."]);
        assert_eq!(said.code, Some(78), "{name}: {}", said.all());
        let told = said.err.matches("wrong.case.json: ").count();
        assert!(told == 1 && said.err.contains(words), "{}", said.err);
        assert!(!said.out.contains("fine.case.json"), "{}", said.out);
        std::fs::remove_file(path).unwrap();
    }
    std::fs::write(desk.path("none.wasm"), "text").unwrap();
    std::fs::write(desk.path("foreign.wasm"), foreign()).unwrap();
    for with in [
        "none.wasm",
        "auth=none.wasm",
        "model=foreign.wasm",
        "auth=foreign.wasm",
        "foreign.wasm",
    ] {
        let said = desk.policy(&["test", "fine.case.json", "--with", with]);
        assert_eq!(said.code, Some(78), "{with}: {}", said.all());
        assert_eq!(
            (said.err.lines().count(), &*said.out),
            (1, ""),
            "{}",
            said.all()
        );
    }
}

#[test]
fn cases_run_again_when_one_changes() {
    use std::io::{BufRead, BufReader};

    let desk = Desk::new();
    let case = |code: &str| json!({"slot": "auth", "calls": [{"input": {}, "expect": {"denied": {"code": code}}}]});
    desk.write("a.case.json", &case("x"));
    let mut command = desk.command(&["test", ".", "--watch"]);
    let mut child = command
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut until = |words: &str| {
        let mut found = lines.by_ref().map(Result::unwrap);
        assert!(found.any(|line| line.contains(words)), "{words}");
    };
    until("0 passed, 1 failed");
    desk.write("a.case.json", &case("invalid_api_key"));
    until("1 passed, 0 failed");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn the_case_of_the_book_passes_and_its_table_has_all_members() {
    let desk = Desk::new();
    let page = docs::read("docs/src/policies/authors.md");
    let (_, rest) = page.split_once("```json\n").unwrap();
    let (example, _) = rest.split_once("```").unwrap();
    std::fs::write(desk.path("book.case.json"), example).unwrap();
    let said = desk.policy(&["test", "book.case.json"]);
    assert_eq!(said.code, Some(0), "{}", said.all());

    let schema = desk.policy(&["schema", "case"]).json();
    let names = |object: &Value| {
        object
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect::<Vec<_>>()
    };
    let members = names(&schema["properties"]);
    let of_calls = names(&schema["$defs"]["call"]["properties"]);
    let lacks = |name: &String| !page.contains(&format!("`{name}`"));
    let lacks_of_calls = |name: &String| {
        let forms = [format!("`calls[].{name}`"), format!("`.{name}`")];
        !forms.iter().any(|form| page.contains(form))
    };
    let missing = members
        .into_iter()
        .filter(|name| name != "$schema" && lacks(name));
    let missing = missing.chain(of_calls.into_iter().filter(lacks_of_calls));
    assert_eq!(missing.collect::<Vec<_>>(), Vec::<String>::new());
}
