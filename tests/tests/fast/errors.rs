//! The page of errors holds what the gateway and its built-in policies answer, and other pages name no other codes.

use std::collections::{BTreeMap, BTreeSet};

use codex_gateway::openai::error::{ROWS, Retry};
use codex_gateway::policy::Slot;

use crate::docs::{assert_made, read, with_made};
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

#[test]
fn every_refusal_of_a_built_in_policy_is_on_the_page() {
    let page = read(PAGE);
    let (_, told) = page.split_once("\n## Of the built-in policies\n").unwrap();
    let mut found = BTreeSet::new();
    let sources = Slot::ALL.map(|slot| all(&format!("policies/{slot}/src")));
    for file in sources.iter().flatten() {
        let is_test = |part: &std::ffi::OsStr| part == "tests" || part == "tests.rs";
        if file.iter().any(is_test) {
            continue;
        }
        let text = std::fs::read_to_string(file).unwrap();
        // A code that depends on something is chosen by a `match`.
        for member in text.split("    code: ").skip(1) {
            let end = if member.starts_with("match ") {
                "},"
            } else {
                ","
            };
            let (value, _) = member.split_once(end).unwrap();
            found.extend(value.split('"').skip(1).step_by(2).map(str::to_owned));
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
