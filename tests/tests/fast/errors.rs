//! The page of errors holds what the gateway and its built-in policies answer, and other pages name no other codes.

use std::collections::{BTreeMap, BTreeSet};

use codex_gateway::openai::error::{ROWS, Retry};
use codex_gateway::policy::Slot;

use crate::docs::{assert_made, path, read, with_made};
use crate::layers::all;

const PAGE: &str = "docs/src/errors.md";

/// A line for each status, type and code; what happens in several cases has a sentence for each.
fn table() -> String {
    let mut lines: BTreeMap<_, Vec<&str>> = BTreeMap::new();
    for row in ROWS {
        let retry = match row.retry {
            Retry::Unsaid => String::new(),
            Retry::After(ms) => format!("`retry-after: {}`", ms.div_ceil(1_000)),
            Retry::Never => "`x-should-retry: false`".to_owned(),
        };
        let line = lines.entry((row.status, row.kind, row.code, retry));
        line.or_default().push(row.when.trim());
    }
    let mut text =
        "\n| status | `type` | `code` | when | says |\n|---|---|---|---|---|\n".to_owned();
    for ((status, kind, code, retry), when) in lines {
        let when = when.join(" ");
        text += &format!("| {status} | `{kind}` | `{code}` | {when} | {retry} |\n");
    }
    text
}

#[test]
fn the_page_of_errors_is_made_of_the_programs_own_table() {
    let is = read(PAGE);
    let made = with_made(&is, "host/src/openai/error/table.rs", &table());
    assert_made(PAGE, &is, &made);
}

/// The codes of a table's third column.
fn codes(text: &str) -> BTreeSet<&str> {
    let rows = text
        .lines()
        .filter(|line| line.starts_with("| ") && !line.contains("| `code` |"));
    let cells = rows.filter_map(|row| row.split('|').nth(3)?.trim().strip_prefix('`'));
    cells.filter_map(|cell| cell.strip_suffix('`')).collect()
}

/// The codes of the SDK's denials, by the name of their constructor; "" where the policy names the code.
fn constructors() -> BTreeMap<String, String> {
    let source = read("policies/sdk/src/denial.rs");
    let functions = source.split("    pub fn ").skip(1);
    let made = functions.filter_map(|function| {
        let (name, body) = function.split_once('(')?;
        let (_, arguments) = body.split_once("Self::new(")?;
        let code = arguments.split(',').nth(2)?.trim().trim_matches('"');
        Some((name.to_owned(), code.to_owned()))
    });
    let named = |(name, code): (String, String)| match code == "code" {
        true => (name, String::new()),
        false => (name, code),
    };
    made.map(named).collect()
}

#[test]
fn every_refusal_of_a_built_in_policy_is_on_the_page() {
    let page = read(PAGE);
    let (_, told) = page.split_once("\n## Of the built-in policies\n").unwrap();
    let constructors = constructors();
    assert_eq!(constructors["unauthorized"], "invalid_api_key");
    let mut found = BTreeSet::new();
    let mut sources: Vec<_> = Slot::ALL
        .map(|slot| all(&format!("policies/{slot}/src")))
        .concat();
    sources.push(path("policies/sdk/src/component.rs"));
    for file in sources {
        let is_test = |part: &std::ffi::OsStr| part == "tests" || part == "tests.rs";
        if file.iter().any(is_test) {
            continue;
        }
        let text = std::fs::read_to_string(&file).unwrap();
        for denial in text.split("Denial::").skip(1) {
            let (name, arguments) = denial.split_once('(').unwrap();
            let first = || arguments.trim_start().strip_prefix('"')?.split('"').next();
            match constructors.get(name) {
                Some(code) if code.is_empty() => found.insert(first().unwrap().to_owned()),
                Some(code) => found.insert(code.clone()),
                None => panic!("{}: the code of Denial::{name}", file.display()),
            };
        }
        // A code that depends on something is chosen by a `match`.
        let codes = text.split(".with_code(").skip(1);
        let codes = codes.filter_map(|code| code.split_once(')').map(|(code, _)| code));
        let chosen = text.split("let code = match ").skip(1);
        let chosen = chosen.filter_map(|code| code.split_once("};").map(|(code, _)| code));
        for code in codes.chain(chosen) {
            found.extend(code.split('"').skip(1).step_by(2).map(str::to_owned));
        }
    }
    let found: BTreeSet<&str> = found.iter().map(String::as_str).collect();
    assert_eq!(codes(told), found, "{PAGE} (left), policies/ (right)");
}

#[test]
fn every_code_of_the_troubleshooting_page_is_on_the_page_of_errors() {
    let (page, errors) = (read("docs/src/troubleshooting.md"), read(PAGE));
    let known = codes(&errors);
    let mut named = 0;
    // A status, then codes: "503 `starting`", "429 `rate_limited`, `concurrency_exceeded`".
    for row in page.lines().filter(|line| line.starts_with("| ")) {
        let symptom = row.split('|').nth(1).unwrap();
        let is_status = |word: &str| word.len() == 3 && word.parse::<u16>().is_ok();
        if !symptom.split([' ', '(']).any(is_status) {
            continue;
        }
        for code in symptom
            .split('`')
            .skip(1)
            .step_by(2)
            .filter(|code| code.contains('_'))
        {
            named += usize::from(known.contains(code));
            let is_known = known.contains(code) || code == "signed_in";
            assert!(is_known, "no such error: {code}");
        }
    }
    assert!(named > 20, "{named}");
}
