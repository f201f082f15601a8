//! The output of `codex-gateway history`: one line for each activation of policies, the newest last.

use codex_gateway::policy::{Activated, Digest};

use super::text::harmless;

const DIGITS: usize = Digest::SHOWN;

/// As a table for people.
pub(super) fn table(entries: &[Activated]) -> String {
    let mut text = format!(
        "{:>6}  {:<20}  {:<10}  {:<DIGITS$}  {}\n",
        "NUMBER", "SINCE", "BY", "DIGEST", "FILES"
    );
    for entry in entries {
        let since = entry.since();
        let digest = entry.digest.get(..DIGITS).unwrap_or(&entry.digest);
        let files = match entry.files.is_empty() {
            true => "built-in".to_owned(),
            false => harmless(&entry.files.join(", ")),
        };
        let why = entry.why.as_ref().zip(entry.taken_back.as_ref());
        let why = why.map(|(why, digest)| {
            let digest = digest.get(..DIGITS).unwrap_or(digest);
            format!("; {digest} was taken back: {}", harmless(why))
        });
        text.push_str(&format!(
            "{:>6}  {since:<20}  {:<10}  {digest:<DIGITS$}  {files}{}\n",
            entry.number,
            entry.door.name(),
            why.unwrap_or_default(),
        ));
    }
    text
}

/// As JSON, an entry a line, as the history has it.
pub(super) fn json(entries: &[Activated]) -> String {
    let lines = entries
        .iter()
        .filter_map(|entry| serde_json::to_string(entry).ok());
    lines.map(|line| line + "\n").collect()
}
