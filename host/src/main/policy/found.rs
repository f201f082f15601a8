//! Finds the cases in folders.

use std::path::{Path, PathBuf};

use codex_gateway::policy::CASE_ENDING;

/// The most cases of one run.
const MAX_CASES: usize = 10_000;
/// The most folders within each other.
pub(super) const MAX_DEPTH: usize = 8;

/// Adds the cases at a path, of a folder also those in folders below it, so many within each other.
///
/// # Errors
/// A line for a person.
pub(super) fn find(path: &Path, depth: usize, cases: &mut Vec<PathBuf>) -> Result<(), String> {
    let told = |error: std::io::Error| format!("{}: {error}", path.display());
    if !path.is_dir() {
        std::fs::metadata(path).map_err(told)?;
        cases.push(path.to_owned());
        return Ok(());
    }
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(path).map_err(told)? {
        entries.push(entry.map_err(told)?.path());
    }
    entries.sort();
    for entry in entries {
        let is_case = entry.to_string_lossy().ends_with(CASE_ENDING);
        if entry.is_dir() && depth > 0 || is_case {
            find(&entry, depth.saturating_sub(1), cases)?;
        }
        if cases.len() > MAX_CASES {
            let shown = path.display();
            return Err(format!(
                "{shown}: expected at most {MAX_CASES} cases, found more"
            ));
        }
    }
    Ok(())
}
