//! The differences of a report as a table for people.

use std::fmt::Write as _;

use codex_gateway::policy::{Difference, Report};

use super::super::text::harmless;

/// The widest column.
const WIDEST: usize = 60;

/// The groups of decisions that differ, after an empty line; empty if there are none.
pub(super) fn differences(report: &Report) -> String {
    let mut text = String::new();
    if !report.differences.is_empty() {
        text.push('\n');
        text.push_str(&aligned(&report.differences));
    }
    if report.ungrouped > 0 {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "and {} of further kinds", report.ungrouped);
    }
    text
}

fn aligned(differences: &[Difference]) -> String {
    let heads = [
        "COUNT", "SLOT", "QUESTION", "CALLER", "MODEL", "WAS", "WOULD BE", "REQUESTS",
    ];
    let mut rows = vec![heads.map(str::to_owned)];
    rows.extend(differences.iter().map(|difference| {
        let kind = &difference.kind;
        let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        [
            difference.count.to_string(),
            kind.slot.to_owned(),
            kind.question.to_owned(),
            or_none(&kind.caller),
            or_none(&kind.model),
            kind.from.clone(),
            kind.to.clone(),
            difference.examples.join(", "),
        ]
        .map(|cell| harmless(&cell))
    }));
    let width = |column: usize| {
        let widths = rows.iter().map(|row| row[column].chars().count());
        widths.max().unwrap_or_default().min(WIDEST)
    };
    let widths: Vec<usize> = (0..heads.len()).map(width).collect();
    let lines = rows.iter().map(|row| {
        let cells = row.iter().zip(&widths);
        let cells: Vec<_> = cells
            .map(|(cell, &width)| format!("{cell:width$}"))
            .collect();
        format!("{}\n", cells.join("  ").trim_end())
    });
    lines.collect()
}
