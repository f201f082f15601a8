//! Logs a worker's stderr, and keeps its last line as the reason for its death.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio_util::task::AbortOnDropHandle;

use super::complaints::Complaints;

/// The longest line that is kept in one piece.
const MAX_LINE: u64 = 4096;

/// The number of lines that are logged in ten seconds.
const MAX_LOGGED: u32 = 1_000;

/// The longest kept text, in characters.
const MAX_REASON: usize = 300;

/// Reads a worker's stderr, and keeps the last line of it.
#[derive(Debug)]
pub(super) struct LastWords {
    said: Arc<Mutex<Option<String>>>,
    listener: AbortOnDropHandle<()>,
}

impl LastWords {
    /// Logs every line from now to the end of the pipe.
    pub(super) fn listen<R: AsyncRead + Unpin + Send + 'static>(stderr: R) -> Self {
        let said = Arc::default();
        let listener = AbortOnDropHandle::new(tokio::spawn(listen(stderr, Arc::clone(&said))));
        Self { said, listener }
    }

    /// Forgets the line kept so far: the worker has started well, so it explains no later failure.
    pub(super) fn forget(&self) {
        *self.said.lock() = None;
    }

    /// The kept line, once the pipe has reached its end; `patience` is the timeout for that.
    pub(super) async fn read_rest(mut self, patience: Duration) -> Option<String> {
        let _ = tokio::time::timeout(patience, &mut self.listener).await;
        self.said.lock().take()
    }
}

async fn listen<R: AsyncRead + Unpin>(stderr: R, said: Arc<Mutex<Option<String>>>) {
    let mut input = BufReader::new(stderr);
    let mut line = Vec::new();
    let logged = Complaints::at_most(MAX_LOGGED);
    loop {
        line.clear();
        // A child that never stops writing must not block the thread for other tasks.
        tokio::task::coop::consume_budget().await;
        match (&mut input)
            .take(MAX_LINE)
            .read_until(b'\n', &mut line)
            .await
        {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let text = plain(&String::from_utf8_lossy(&line));
        if text.is_empty() {
            continue;
        }
        if let Some(left_out) = logged.admit("stderr") {
            let left_out = Some(left_out).filter(|left_out| *left_out > 0);
            tracing::debug!(target: "codex::stderr", left_out, "{text}");
        }
        let mut said = said.lock();
        // The lines after an error only say where it happened.
        if !said
            .as_deref()
            .is_some_and(|last| last.starts_with("Error: "))
        {
            *said = Some(text.chars().take(MAX_REASON).collect());
        }
    }
}

/// The text without colours and other control characters.
fn plain(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    let mut characters = line.trim_end().chars();
    while let Some(character) = characters.next() {
        match character {
            // ESC [ … letter
            '\u{1b}' => drop(characters.find(char::is_ascii_alphabetic)),
            character if character.is_control() && character != '\t' => {}
            character => text.push(character),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn last_words(output: &'static str) -> Option<String> {
        LastWords::listen(output.as_bytes())
            .read_rest(Duration::from_secs(5))
            .await
    }

    #[tokio::test]
    async fn the_last_line_is_kept_without_its_colours() {
        let words =
            last_words("one\n\u{1b}[2m2026\u{1b}[0m \u{1b}[31mERROR\u{1b}[0m no such folder\n\n")
                .await;
        assert_eq!(words.as_deref(), Some("2026 ERROR no such folder"));
    }

    #[tokio::test]
    async fn an_error_outlives_the_lines_that_explain_it() {
        let words = last_words("WARNING: x\nError: unknown variant `x`\nin `sandbox_mode`\n").await;
        assert_eq!(words.as_deref(), Some("Error: unknown variant `x`"));
    }

    #[tokio::test]
    async fn silence_is_no_reason_and_a_flood_is_cut() {
        assert_eq!(last_words("").await, None);
        let flood: &'static str = "x".repeat(100_000).leak();
        assert_eq!(
            last_words(flood).await.map(|words| words.len()),
            Some(MAX_REASON)
        );
    }
}
