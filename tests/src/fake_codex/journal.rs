//! The fake's journal in `$CODEX_HOME/fake-log.ndjson`, for tests to read.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::sync::Mutex;

use serde_json::{Value, json};

/// The fake's `$CODEX_HOME`, if it has one.
#[expect(
    clippy::disallowed_methods,
    reason = "the fake has no configuration of its own"
)]
pub(crate) fn home() -> Option<PathBuf> {
    std::env::var_os("CODEX_HOME").map(PathBuf::from)
}

/// Writes one line per event.
pub(crate) struct Journal(Option<Mutex<File>>);

impl Journal {
    /// Opens the journal, and writes its first line about this process: its arguments and the names in its environment.
    pub(crate) fn open(arguments: &[String]) -> Self {
        let path = home().map(|home| home.join("fake-log.ndjson"));
        let file =
            path.and_then(|path| OpenOptions::new().create(true).append(true).open(path).ok());
        let journal = Self(file.map(Mutex::new));
        let mut names: Vec<_> = std::env::vars_os()
            .map(|(name, _)| name.to_string_lossy().into_owned())
            .collect();
        names.sort();
        let folder = std::env::current_dir().unwrap_or_default();
        journal.note(json!({"started": arguments, "env": names, "cwd": folder}));
        journal
    }

    /// Adds a line, with the process id.
    pub(crate) fn note(&self, mut event: Value) {
        if let Some(file) = &self.0 {
            event["pid"] = json!(std::process::id());
            let line = format!("{event}\n");
            file.lock().unwrap().write_all(line.as_bytes()).unwrap();
        }
    }
}
