//! Text for a person at a terminal: aligned tables, relative times, colours, and nothing that a terminal obeys.

use std::time::{Duration, SystemTime};

use codex_gateway::policy::Digest;
use serde_json::Value;

/// How text is written.
pub(super) struct Style {
    pub(super) is_coloured: bool,
    pub(super) now: SystemTime,
}

/// The meaning of a colour.
#[derive(Clone, Copy)]
pub(super) enum Tone {
    Good,
    Doubtful,
    Bad,
    Head,
}

impl Style {
    pub(super) fn tone(&self, tone: Tone, text: &str) -> String {
        if !self.is_coloured {
            return text.to_owned();
        }
        let code = match tone {
            Tone::Good => 32,
            Tone::Doubtful => 33,
            Tone::Bad => 31,
            Tone::Head => 1,
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }

    /// How long ago a time was, as RFC 3339; empty if it is none.
    pub(super) fn age(&self, time: &Value) -> String {
        let passed = parse(time).map(|time| self.now.duration_since(time).unwrap_or_default());
        passed.map_or_else(String::new, span)
    }

    /// How long it is until a time.
    pub(super) fn until(&self, time: &Value) -> Option<String> {
        let left = parse(time)?.duration_since(self.now).unwrap_or_default();
        Some(span(left))
    }
}

fn parse(time: &Value) -> Option<SystemTime> {
    humantime::parse_rfc3339(time.as_str()?).ok()
}

/// A length of time in one or two units: `12 min`, `3 d 4 h`.
pub(super) fn span(length: Duration) -> String {
    let seconds = length.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min"),
        (0, _, _) => format!("{hours} h {} min", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
    }
}

/// A table whose columns are as wide as their widest cell; `numbers` names the columns that are aligned to the right. The first
/// row is the head.
pub(super) fn table(style: &Style, rows: &[Vec<String>], numbers: &[usize]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or_default()
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).enumerate();
        let cells = cells.map(|(column, (cell, width))| match numbers.contains(&column) {
            true => format!("{cell:>width$}"),
            false => format!("{cell:<width$}"),
        });
        let cells: Vec<String> = cells.collect();
        cells.join("  ").trim_end().to_owned()
    };
    let mut text = String::new();
    for (index, row) in rows.iter().enumerate() {
        let line = line(row);
        text += &match index {
            0 => style.tone(Tone::Head, &line),
            _ => line,
        };
        text.push('\n');
    }
    text
}

/// A text of an answer, without characters that a terminal obeys; `-` if there is none.
pub(super) fn plain(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    };
    harmless(&text)
}

/// A text without characters that a terminal obeys.
pub(super) fn harmless(text: &str) -> String {
    text.replace(char::is_control, "\u{fffd}")
}

/// A list of texts in one line.
pub(super) fn joined(value: &Value) -> String {
    let items = value.as_array().into_iter().flatten();
    items.map(plain).collect::<Vec<_>>().join(", ")
}

/// The digits of a digest that are shown, as in `x-codex-policy`.
pub(super) fn short(digest: &Value) -> String {
    plain(digest).chars().take(Digest::SHOWN).collect()
}

/// A share as whole per cent; `-` if there is none.
pub(super) fn share(value: &Value) -> String {
    match value.as_f64() {
        Some(share) if share > 0.0 && share < 0.01 => "<1 %".to_owned(),
        Some(share) => format!("{:.0} %", share * 100.0),
        None => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_have_at_most_two_units() {
        for (seconds, told) in [
            (0, "0 s"),
            (59, "59 s"),
            (60 * 12 + 5, "12 min"),
            (3_600 * 4, "4 h 0 min"),
            (86_400 * 3 + 3_600 * 4, "3 d 4 h"),
        ] {
            assert_eq!(span(Duration::from_secs(seconds)), told);
        }
    }

    #[test]
    fn columns_are_aligned_and_colours_are_not_counted() {
        let rows = [["SLOT", "N"], ["auth", "412"], ["é", "-"]];
        let rows = rows.map(|row| row.map(str::to_owned).to_vec());
        let style = |is_coloured| Style {
            is_coloured,
            now: SystemTime::UNIX_EPOCH,
        };
        let plain = table(&style(false), &rows, &[1]);
        assert_eq!(plain, "SLOT    N\nauth  412\né       -\n");
        let coloured = table(&style(true), &rows, &[1]);
        assert_eq!(
            coloured,
            plain.replace("SLOT    N", "\u{1b}[1mSLOT    N\u{1b}[0m")
        );
    }

    #[test]
    fn a_text_moves_no_cursor() {
        assert_eq!(plain(&"a\u{1b}[2Jb\n".into()), "a\u{fffd}[2Jb\u{fffd}");
    }
}
