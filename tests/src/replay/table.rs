//! The table of intended differences: the cases, the difference and the reason.

use std::path::Path;

/// One row.
#[derive(Debug)]
pub struct Row {
    cases: String,
    difference: String,
}

/// The rows of `differences.md`, in their order.
///
/// # Panics
/// If the file is malformed.
#[must_use]
pub fn rows() -> Vec<Row> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("differences.md");
    let text = std::fs::read_to_string(path).expect("differences.md");
    let lines = text.lines().filter(|line| line.starts_with("| `"));
    lines.map(row).collect()
}

fn row(line: &str) -> Row {
    let code = |cell: &str| cell.trim().trim_matches('`').to_owned();
    let cells: Vec<_> = line.trim_matches('|').split(" | ").collect();
    let [cases, difference, reason] = cells.as_slice() else {
        panic!("not three cells: {line}");
    };
    assert!(reason.trim().len() > 10, "no reason: {line}");
    Row {
        cases: code(cases),
        difference: code(difference),
    }
}

impl Row {
    /// The cases and the difference, as in the file.
    #[must_use]
    pub fn what(&self) -> String {
        format!("{} | {}", self.cases, self.difference)
    }

    /// The case that is not replayed, if the row is about one.
    #[must_use]
    pub fn left_out(&self) -> Option<&str> {
        (self.difference == "not replayed").then_some(self.cases.as_str())
    }

    /// Whether the row explains this difference.
    #[must_use]
    pub fn explains(&self, case: &str, difference: &str) -> bool {
        let mut cases = self.cases.split(' ');
        cases.any(|pattern| matches(pattern, case)) && matches(&self.difference, difference)
    }
}

/// Whether `text` matches `pattern`, in which `*` stands for any text.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(text) = text.strip_prefix(start) else {
        return false;
    };
    (0..=text.len()).any(|at| text.get(at..).is_some_and(|text| matches(rest, text)))
}
